"""The environment wins, typing errors are harmless or say what is wrong."""

import pytest

from otel_stream.telemetry import TelemetryOptions, get_options, resolve, set_options
from otel_stream.telemetry.options import (
    CAPTURE_CONTENT,
    EXPORT_MESSAGES,
    EXPORT_MODES,
    OPT_IN,
    RECORD_AS,
    REDACT_PATHS,
    REDACT_PATTERN,
)
from otel_stream.telemetry.redaction import MASK, Redaction


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("false", (False, False)),
        ("NO_CONTENT", (False, False)),
        ("true", (True, True)),
        ("True", (True, True)),
        ("SPAN_ONLY", (True, False)),
        ("event_only", (False, True)),
        ("SPAN_AND_EVENT", (True, True)),
    ],
)
@pytest.mark.parametrize("wish", [None, True, False])
def test_the_environment_decides_about_content(value, content, wish):
    options = resolve(capture_content=wish, environ={CAPTURE_CONTENT: value})
    assert (options.span_content, options.event_content) == content


@pytest.mark.parametrize(("wish", "content"), [(None, False), (False, False), (True, True)])
@pytest.mark.parametrize("environ", [{}, {CAPTURE_CONTENT: ""}, {CAPTURE_CONTENT: " "}])
def test_without_it_the_program_does(wish, content, environ):
    options = resolve(capture_content=wish, environ=environ)
    assert (options.span_content, options.event_content) == (content, content)


def test_a_typing_error_exports_no_content_and_says_so(caplog):
    options = resolve(capture_content=True, environ={CAPTURE_CONTENT: "SPANS"})
    assert (options.span_content, options.event_content) == (False, False)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT='SPANS' is not understood, so no content is "
        "exported; use one of FALSE, NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT, TRUE."
    )


@pytest.mark.parametrize(
    ("environ", "modes", "chosen"),
    [
        ({}, None, {"values", "updates", "custom", "messages"}),
        ({}, "debug, tasks", {"debug", "tasks"}),
        ({}, ["debug", "routes"], {"debug", "routes"}),
        ({}, "none", set()),
        ({}, (), set()),
        ({EXPORT_MODES: "updates"}, "debug", {"updates"}),
        ({EXPORT_MODES: "none"}, "debug", set()),
    ],
)
def test_modes(environ, modes, chosen):
    assert resolve(modes=modes, environ=environ).modes == chosen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_body_bytes": 0}, "max_body_bytes=0 is no size: give a number of bytes, 1 or more."),
        ({"record_as": "spans"}, "record_as='spans' is not known: use one of log_events, span_events, both."),
        ({"messages": "tokens"}, "messages='tokens' is not known: use one of joined, chunks."),
        (
            {"modes": ["values", 3]},
            "modes contains 3: name stream modes, such as custom, messages, updates, values.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(ValueError) as caught:
        resolve(**arguments, environ={})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, ("joined", "log_events")),
        ({EXPORT_MESSAGES: "Chunks", RECORD_AS: " both "}, ("chunks", "both")),
        ({EXPORT_MESSAGES: "", RECORD_AS: ""}, ("joined", "log_events")),
    ],
)
def test_the_environment_chooses_how_parts_are_recorded(environ, chosen):
    options = resolve(environ=environ)
    assert (options.messages, options.record_as) == chosen
    assert (
        resolve(messages="chunks", record_as="both", environ={EXPORT_MESSAGES: "joined"}).messages == "joined"
    )


def test_the_environment_hides_more_and_never_less():
    environ = {REDACT_PATHS: "user.email, *.token", REDACT_PATTERN: "canary"}
    for given in (None, Redaction("name")):
        rules = resolve(redaction=given, environ=environ).redaction
        assert rules.data({"user": {"email": 1}, "a": {"token": 2}, "b": "canary", "name": "n"}) == {
            "user": {"email": MASK}, "a": {"token": MASK}, "b": MASK, "name": MASK if given else "n"
        }  # fmt: skip
    assert resolve(environ={}).redaction is None


def test_a_pattern_of_the_environment_that_cannot_be_meant_is_refused():
    with pytest.raises(
        ValueError,
        match=r"OTEL_STREAM_REDACT_HASH_PATHS or OTEL_STREAM_REDACT_PATTERN: '\(' is no",
    ):
        resolve(environ={REDACT_PATTERN: "("})


@pytest.mark.parametrize("word", ["valeus", "Updates", "mesages"])
def test_a_mode_with_a_typing_error_is_an_error_with_the_word_that_was_meant(word):
    with pytest.raises(ValueError, match=f"contains {word!r}, which is no mode: did you mean"):
        resolve(environ={EXPORT_MODES: word})


def test_options_are_read_once_until_they_are_set(monkeypatch):
    set_options(None)
    first = get_options()
    monkeypatch.setenv(OPT_IN, "gen_ai_latest_experimental")
    assert get_options() is first
    set_options(None)
    assert get_options().names.graph_attribute == "gen_ai.agent.name"
    mine = TelemetryOptions()
    set_options(mine)
    assert get_options() is mine
    set_options(None)


def test_a_variable_that_is_nearly_one_of_ours_is_told(caplog):
    resolve(
        environ={"OTEL_STREAM_EXPORT_MODE": "values", "OTEL_STREAM_VIEW_TOKEN": "x", "OTEL_STREAM_SHOP": "y"}
    )
    assert [record.getMessage() for record in caplog.records] == [
        "OTEL_STREAM_EXPORT_MODE is no variable of ours, and ignored: did you mean OTEL_STREAM_EXPORT_MODES?"
    ]
