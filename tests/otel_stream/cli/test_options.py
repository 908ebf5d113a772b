"""What cannot be meant is refused in one sentence that names the option, the value and the remedy."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stream.cli.options import DemoOptions, UsageError
from otel_stream.cli.share import Share
from otel_stream.config import MODES, OverflowPolicy


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"modes": "value"},
            "--modes: unknown stream mode 'value'; did you mean 'values'? Known modes: " + ", ".join(MODES),
        ),
        ({"modes": " , "}, "--modes: no stream mode is given; give at least one of " + ", ".join(MODES)),
        (
            {"overflow": "drop"},
            (
                "--overflow: unknown overflow policy 'drop'; did you mean 'drop_oldest'? "
                "Known policies: block, drop_oldest, drop_newest, coalesce, error"
            ),
        ),
        (
            {"buffer": 0},
            "--buffer: 0 is too small; give the parts that may wait for the consumer, 1 or more",
        ),
        (
            {"sample": 1.5},
            "--sample: 1.5 is not between 0 and 1; give the share of parts that is kept, such as 0.2",
        ),
        (
            {"chaos": -1},
            "--chaos: -1 is not between 0 and 1; give the share of attempts that fail, such as 0.2",
        ),
        (
            {"chaos": math.nan},
            "--chaos: nan is not between 0 and 1; give the share of attempts that fail, such as 0.2",
        ),
        (
            {"budget": -1},
            "--budget: -1 is too small; give the functions to inspect more closely, 0 or more",
        ),
        ({"limit": 0}, "--limit: 0 is too small; give the files to audit, 1 or more"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_meant_gets_its_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        DemoOptions(**options)
    assert str(caught.value).startswith(sentence[:40])
    assert str(caught.value) == sentence


def test_options_become_what_the_stream_is_asked_for() -> None:
    config = DemoOptions(modes="updates, debug", buffer=3, overflow="coalesce", sample=0.5).stream_config()
    assert (config.modes, config.buffer_size, config.overflow) == (
        ("updates", "debug"),
        3,
        OverflowPolicy.COALESCE,
    )
    assert (config.sampler.ratio, config.subgraphs) == (0.5, True)


def test_without_sampling_nobody_is_asked() -> None:
    assert DemoOptions().stream_config().sampler is None


@given(st.floats(0, 1), st.integers(0, 2**128 - 1))
def test_what_a_smaller_share_keeps_a_larger_one_keeps_too(ratio: float, part_id: int) -> None:
    def kept(share: float) -> bool:
        return bool(Share(share).should_sample({}, part_id, "graph.values").decision.is_sampled())

    assert (kept(0), kept(1)) == (False, True)
    assert not kept(ratio / 2) or kept(ratio)
