"""What can be asked of a stream, and the one sentence one gets for asking the impossible."""

import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from otel_stream.config import MODES, ConfigError, Custom, OverflowPolicy, StreamConfig, parse_modes
from otel_stream.events import TaskEnded

KNOWN = "values, updates, messages, custom, tasks, checkpoints, debug, tools"


class Sampler:
    def should_sample(self, *args, **kwargs):
        raise NotImplementedError


def test_the_defaults_lose_nothing_and_tell_everything():
    assert asdict(StreamConfig(modes="updates")) == {
        "modes": ("updates",),
        "buffer_size": 1024,
        "include_metadata": True,
        "overflow": OverflowPolicy.BLOCK,
        "filter": None,
        "sampler": None,
        "sample_per": "part",
        "aggregate": None,
        "ttl": None,
        "subgraphs": False,
        "include_end": False,
        "name": None,
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("values", ("values",)),
        (["updates", "values"], ("updates", "values")),
        (("updates", "values"), ("updates", "values")),
        ({"debug", "values", "custom"}, ("values", "custom", "debug")),
        (frozenset(MODES), MODES),
        (["values", "updates", "values"], ("values", "updates")),
    ],
)
def test_modes_come_as_one_string_a_sequence_or_a_set(given, meant):
    assert StreamConfig(modes=given).modes == meant
    assert parse_modes(given) == meant


def test_a_custom_mode_stands_beside_the_seven():
    custom = Custom(lambda event: event, "events")
    assert parse_modes(custom) == (custom,)
    assert parse_modes({custom, "debug", "values"}) == ("values", "debug", custom)
    assert Custom(print, "ends", events=(TaskEnded,)).events == (TaskEnded,)


@pytest.mark.parametrize("policy", list(OverflowPolicy))
def test_a_policy_comes_as_a_member_or_as_its_name(policy):
    assert StreamConfig(modes="values", overflow=policy).overflow is policy
    assert StreamConfig(modes="values", overflow=policy.value).overflow is policy


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"modes": "updtes"},
            f"StreamConfig.modes: unknown stream mode 'updtes'; did you mean 'updates'? Known modes: {KNOWN}",
        ),
        ({"modes": ["values", 3]}, f"StreamConfig.modes: unknown stream mode 3. Known modes: {KNOWN}"),
        ({"modes": ()}, f"StreamConfig.modes: no stream mode is given; give at least one of {KNOWN}"),
        ({"modes": 3}, f"StreamConfig.modes: 3 is no stream mode; give one of {KNOWN}, or a list of them"),
        (
            {"modes": None},
            f"StreamConfig.modes: None is no stream mode; give one of {KNOWN}, or a list of them",
        ),
        (
            {"modes": "values", "buffer_size": 0},
            "StreamConfig.buffer_size: 0 is no size; give a whole number, 1 or more",
        ),
        (
            {"modes": "values", "buffer_size": True},
            "StreamConfig.buffer_size: True is no size; give a whole number, 1 or more",
        ),
        (
            {"modes": "values", "overflow": "dropoldest"},
            (
                "StreamConfig.overflow: unknown overflow policy 'dropoldest'; did you mean 'drop_oldest'? "
                "Known policies: block, drop_oldest, drop_newest, coalesce, error"
            ),
        ),
        (
            {"modes": "values", "subgraphs": 1},
            "StreamConfig.subgraphs: 1 is neither True nor False; give one",
        ),
        (
            {"modes": "values", "filter": 3},
            "StreamConfig.filter: 3 can't filter; give a StreamFilter or a function of one part",
        ),
        (
            {"modes": "values", "sampler": 0.1},
            "StreamConfig.sampler: 0.1 has no should_sample method; give an OpenTelemetry Sampler",
        ),
        (
            {"modes": "values", "sample_per": "trace"},
            "StreamConfig.sample_per: 'trace' can't be sampled; give 'part' or 'run'",
        ),
        (
            {"modes": "values", "ttl": 0},
            "StreamConfig.ttl: 0 is no time to live; give seconds, more than 0, or leave it out",
        ),
        (
            {"modes": "values", "ttl": True},
            "StreamConfig.ttl: True is no time to live; give seconds, more than 0, or leave it out",
        ),
        (
            {"modes": "values", "name": ""},
            "StreamConfig.name: '' is no name; give a non-empty string, or leave it out",
        ),
        (
            {"modes": "values", "bufer_size": 3},
            (
                "StreamConfig.bufer_size: no such setting; did you mean 'buffer_size'? Settings: modes, "
                "buffer_size, include_metadata, overflow, filter, sampler, sample_per, aggregate, ttl, "
                "subgraphs, include_end, name"
            ),
        ),
    ],
)
def test_a_bad_setting_gets_one_sentence_with_field_value_and_remedy(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        StreamConfig(**settings)
    assert str(caught.value) == sentence


def test_parse_modes_blames_the_argument_it_was_given_for():
    with pytest.raises(ConfigError) as caught:
        parse_modes("nope")
    assert str(caught.value) == f"stream_mode: unknown stream mode 'nope'. Known modes: {KNOWN}"


@pytest.mark.parametrize(
    ("fn", "name", "sentence"),
    [
        (3, "mine", "Custom.fn: 3 is not callable; give a function of one event"),
        (print, "", "Custom.name: '' is no name; give a non-empty string"),
        (print, None, "Custom.name: None is no name; give a non-empty string"),
        (print, "debug", "Custom.name: 'debug' already means something; choose another name"),
        (print, "gap", "Custom.name: 'gap' already means something; choose another name"),
    ],
)
def test_a_custom_mode_needs_a_function_and_a_name_of_its_own(fn, name, sentence):
    with pytest.raises(ConfigError) as caught:
        Custom(fn, name)
    assert str(caught.value) == sentence


def test_a_config_never_changes():
    config = StreamConfig(modes="values", filter=bool, sampler=Sampler())
    with pytest.raises(FrozenInstanceError):
        config.buffer_size = 3


def test_a_changed_config_is_another_one_and_as_well_checked():
    config = StreamConfig(modes="values", name="mine")
    assert replace(config, buffer_size=3) == StreamConfig(modes="values", name="mine", buffer_size=3)
    with pytest.raises(ConfigError, match=r"StreamConfig.buffer_size: 0 is no size"):
        replace(config, buffer_size=0)


def test_configs_with_the_same_settings_are_equal_and_one_entry_of_a_set():
    one, other = StreamConfig(modes="values"), StreamConfig(modes=["values"], buffer_size=1024)
    assert one == other
    assert len({one, other, StreamConfig(modes="updates")}) == 2
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_config_shows_its_settings_and_help_its_parameters():
    shown = repr(StreamConfig(modes="values", overflow="drop_newest"))
    assert shown.startswith(
        "StreamConfig(modes=('values',), buffer_size=1024, include_metadata=True, overflow="
    )
    parameters = inspect.signature(StreamConfig).parameters
    assert list(parameters) == list(asdict(StreamConfig(modes="values")))
    assert parameters["buffer_size"].default == 1024
    assert parameters["modes"].default == ("updates",)
