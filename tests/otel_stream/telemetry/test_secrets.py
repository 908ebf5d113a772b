"""What is the user's does not leave unless it may, and what a rule names does not leave at all."""

import base64
import json
import stat
import traceback
from contextlib import suppress
from typing import TypedDict

import pytest

from engine import START, Command, InMemorySaver, Send, StateGraph, entrypoint, interrupt, task
from otel_stream.sdk import configure
from otel_stream.sdk.configure import setup
from otel_stream.telemetry import Redaction, set_options
from otel_stream.telemetry.options import resolve

SECRET = "alice@example.com"
ALL = "values,updates,custom,messages,tasks,checkpoints,debug,graph.route"


@pytest.fixture(autouse=True)
def _fresh(otel_globals):
    yield
    if setup._State.handle is not None:
        setup._State.handle.shutdown(5)
    setup._State.handle = setup._State.arguments = None
    set_options(None)


class State(TypedDict, total=False):
    x: object


def graph(node, schema=State, **options):
    return StateGraph(schema).add_node("n", node).add_edge(START, "n").compile(name="g", **options)


def _raises(state):
    raise ValueError(f"no such user {SECRET}")


@task
def _answer():
    return {SECRET: 7}


@entrypoint()
def _flow(given):
    return {SECRET: _answer().result()}


def _fan():
    built = (
        StateGraph(State).add_node("a", lambda s: {}).add_node("n", lambda s: {"x": 1}).add_edge(START, "a")
    )
    built.add_conditional_edges("a", lambda s: [Send("n", {SECRET: SECRET})], ["n"])
    return built.compile(name="g").invoke({"x": 0})


def _ask():
    asking = graph(lambda s: {"x": interrupt({"mail": SECRET})}, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": SECRET}}
    asking.invoke({"x": 1}, config)
    return asking.invoke(Command(resume=SECRET), config)


PROGRAMS = {
    "a value": lambda: graph(lambda s: {"x": {SECRET: [SECRET]}}).invoke({"x": SECRET}),
    "keys of a state that is a dict": lambda: graph(lambda s: {SECRET: 1}, dict).invoke({SECRET: 1}),
    "answers of the functional API": lambda: _flow.invoke({SECRET: 1}),
    "an exception": lambda: graph(_raises).invoke({"x": 1}),
    "an interrupt, its answer and its thread": _ask,
    "tags and metadata": lambda: graph(lambda s: {"x": 1}).invoke(
        {"x": 1}, {"tags": [SECRET], "metadata": {"user": SECRET}}
    ),
    "an argument of Send": _fan,
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("record_as", ["log_events", "both"])
def test_without_content_nothing_of_the_users_leaves(tmp_path, capfd, caplog, program, record_as):
    path = tmp_path / "t.jsonl"
    handle = configure(path=path, modes=ALL, record_as=record_as)
    with suppress(ValueError):
        PROGRAMS[program]()
    assert handle.shutdown()
    said = "".join(record.getMessage() for record in caplog.records)
    assert SECRET not in path.read_text() + "".join(capfd.readouterr()) + said


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_pattern_names_leaves_nowhere_even_with_content(tmp_path, program):
    path = tmp_path / "t.jsonl"
    rules = Redaction(patterns=[r"[\w.]+@[\w.]+"])
    handle = configure(path=path, modes=ALL, capture_content=True, redaction=rules, record_as="both")
    with suppress(ValueError):
        PROGRAMS[program]()
    assert handle.shutdown()
    assert SECRET not in path.read_text()


def _span_events(path):
    return [
        json.dumps(event)
        for line in path.read_text().splitlines()
        for resource in json.loads(line).get("resourceSpans", ())
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        for event in span.get("events", ())
    ]


def _log_events(path):
    return [line for line in path.read_text().splitlines() if "resourceLogs" in line]


@pytest.mark.parametrize(
    ("capture", "record_as", "on_spans", "in_logs"),
    [
        ("SPAN_ONLY", "both", True, False),
        ("EVENT_ONLY", "both", False, True),
        ("SPAN_AND_EVENT", "both", True, True),
        ("NO_CONTENT", "both", False, False),
        ("SPAN_ONLY", "span_events", True, False),
        ("EVENT_ONLY", "span_events", False, False),
    ],
)
def test_content_is_where_the_variable_wants_it(tmp_path, monkeypatch, capture, record_as, on_spans, in_logs):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", capture)
    path = tmp_path / "t.jsonl"
    handle = configure(path=path, record_as=record_as)
    graph(lambda s: {"x": SECRET}).invoke({"x": SECRET}, {"tags": [SECRET]})
    assert handle.shutdown()
    assert any(SECRET in event for event in _span_events(path)) is on_spans
    assert any(SECRET in line for line in _log_events(path)) is in_logs


def test_a_file_of_telemetry_is_its_owners(tmp_path):
    configure(path=tmp_path / "t.jsonl")
    assert stat.S_IMODE((tmp_path / "t.jsonl").stat().st_mode) == 0o600


def test_an_id_that_names_somebody_is_a_hash_the_same_in_every_process_with_the_key():
    options = resolve(environ={"OTEL_STREAM_REDACT_KEY": "k"})
    assert options.pseudonym(SECRET) == resolve(environ={"OTEL_STREAM_REDACT_KEY": "k"}).pseudonym(SECRET)
    assert options.pseudonym(SECRET) != resolve(environ={}).pseudonym(SECRET)
    assert SECRET not in options.pseudonym(SECRET)


def test_a_rule_may_hash_instead_of_mask():
    rules = Redaction(hashed=["user.id"], key="k")
    one, same, other = (rules.data({"user": {"id": value}})["user"]["id"] for value in ("a", "a", "b"))
    assert one == same != other
    assert one.startswith("hash:")


@pytest.mark.parametrize(
    "value",
    [
        {"user.email": SECRET},
        {"user": {"email": SECRET}},
        {"deep": {"user.email": {"work": SECRET}}},
    ],
)
def test_a_path_names_flat_keys_with_dots_too(value):
    assert SECRET not in json.dumps(Redaction(paths=["user.email"]).data(value))


BYTES = [SECRET.encode(), {"a": [SECRET.encode()]}, base64.b64encode(SECRET.encode()).decode()]


@pytest.mark.parametrize("value", BYTES)
def test_a_pattern_sees_what_bytes_say(value):
    shown = json.dumps(Redaction(patterns=[SECRET]).data(value))
    assert base64.b64encode(SECRET.encode()).decode() not in shown


def test_the_stack_trace_keeps_what_the_message_may_not_say():
    from otel_stream.telemetry.exceptions import describe

    def fails():
        try:
            raise KeyError(f"row of {SECRET}")
        except KeyError as error:
            error.add_note(f"asked by {SECRET}")
            raise ValueError(f"first\nno {SECRET}") from error

    with pytest.raises(ValueError) as caught:
        fails()
    assert SECRET in "".join(traceback.format_exception(caught.value))
    options = resolve(capture_content=True, redaction=Redaction(paths=["exception.message"]), environ={})
    shown = describe(caught.value, options, with_text=True)
    assert shown["exception.message"] == "[redacted]"
    lines = [line for line in shown["exception.stacktrace"].splitlines() if not line.startswith("    ")]
    assert SECRET not in "".join(lines)
    assert "test_the_stack_trace" in shown["exception.stacktrace"]


def test_keys_of_large_states_are_masked(tmp_path):
    path = tmp_path / "t.jsonl"
    handle = configure(path=path, capture_content=True, redaction=Redaction(patterns=[SECRET]))
    graph(lambda s: {SECRET: 1}, dict).invoke({"filler": "x" * 5000})
    assert handle.shutdown()
    assert SECRET not in path.read_text()


def test_chunks_are_joined_where_a_pattern_could_be_split_over_them(caplog):
    options = resolve(messages="chunks", redaction=Redaction(patterns=["secret"]), environ={})
    assert options.messages == "joined"
    assert "joined" in caplog.text
