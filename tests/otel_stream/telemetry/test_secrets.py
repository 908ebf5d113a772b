"""What is the user's does not leave unless it may, and what a rule names does not leave at all."""

import asyncio
import base64
import json
import logging
import stat
import traceback
from contextlib import suppress
from importlib import import_module
from typing import TypedDict

import pytest
from langchain_core.messages import AIMessageChunk
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from engine import START, Command, InMemorySaver, Send, StateGraph, emit_message, entrypoint, interrupt, task
from otel_stream import events as e
from otel_stream import semconv
from otel_stream.aggregate import Aggregate
from otel_stream.config import Custom, StreamConfig
from otel_stream.sdk import configure
from otel_stream.sdk.configure import setup
from otel_stream.stream.copying import snapshot
from otel_stream.telemetry import Redaction, set_options
from otel_stream.telemetry.identity import shown_id
from otel_stream.telemetry.options import resolve
from otel_stream.telemetry.run import version

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


def _spans(path):
    return [
        span
        for line in path.read_text().splitlines()
        for resource in json.loads(line).get("resourceSpans", ())
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _span_events(path):
    return [json.dumps(event) for span in _spans(path) for event in span.get("events", ())]


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


@pytest.mark.parametrize("id", ["4915112345678", "555-123-4567", "4111.1111.1111", "10.0.10.20", "a b"])
def test_an_id_in_which_somebody_can_be_recognised_is_a_hash(id):
    options = resolve(environ={})
    assert shown_id(id, "thread_id", options, content=False) == options.pseudonym(id)
    assert shown_id(id, "thread_id", options, content=True) == id


@pytest.mark.parametrize("id", ["7", "123456", "thread-1234567", "0b3c2f1e-77aa-4c1b-9d7e-0123456789ab"])
def test_an_id_of_a_programs_own_is_shown(id):
    assert shown_id(id, "thread_id", resolve(environ={}), content=False) == id


def _raising(*_):
    raise ValueError(f"no such user {SECRET}")


def _broken_consumers():
    settings = (
        {"filter": _raising},
        {"modes": Custom(_raising, "mine", (e.TaskEnded,))},
        {"modes": "updates", "aggregate": Aggregate(every=1, reduce=_raising)},
        {"modes": "custom", "buffer_size": 1, "overflow": "error", "name": "full"},
    )

    async def main():
        def write(state, writer):
            writer({SECRET: SECRET})
            writer(SECRET)
            return {"x": SECRET}

        configs = [StreamConfig(**one) for one in settings]
        async with graph(write).open_stream({"x": SECRET}, *configs) as stream:
            await stream.wait()
            return [type(one.failed).__name__ for one in stream.receivers]

    return asyncio.run(main())


class _Uncopied:
    def __deepcopy__(self, memo):
        _raising()


class _BrokenProcessor(SpanProcessor):
    def on_start(self, span, parent_context=None):
        _raising()


class _NoExporter(SpanExporter):
    def export(self, spans):
        _raising()


def _broken_redaction(path):
    configure(path=path, capture_content=True, redaction=Redaction(call=_raising))
    graph(lambda s: {"x": {SECRET: 1}}).invoke({"x": 1})


def _broken_telemetry(path):
    handle = configure(path=path)
    trace.get_tracer_provider().add_span_processor(_BrokenProcessor())
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(_NoExporter()))
    graph(lambda s: {"x": 1}).invoke({"x": 1})
    handle.flush()


@pytest.mark.parametrize("broken", [_broken_redaction, _broken_telemetry])
def test_what_is_said_of_telemetry_that_fails_is_no_data(tmp_path, caplog, broken):
    broken(tmp_path / "t.jsonl")
    ours = [record for record in caplog.records if record.name.startswith("otel_stream")]
    assert any("ValueError in _raising (test_secrets.py:" in record.getMessage() for record in ours)
    formatter = logging.Formatter()
    assert [one for record in ours if SECRET in (one := formatter.format(record))] == []


@pytest.mark.clause("S-ERR-9")
def test_what_is_said_of_a_receiver_that_is_cut_off_is_no_data(caplog):
    assert _broken_consumers() == ["ValueError", "ValueError", "ValueError", "ReceiverOverflowError"]
    snapshot(_Uncopied())
    formatter = logging.Formatter()
    said = [formatter.format(record) for record in caplog.records]
    assert len([line for line in said if "is cut off from its stream: ValueError in _raising (" in line]) == 3
    assert any("'full' is cut off from its stream: its buffer of 1 parts is full" in line for line in said)
    assert any("_Uncopied can't be copied" in line for line in said)
    assert [line for line in said if SECRET in line] == []


HALVES = ("mail quux", "zorr@example.com now")
SPLIT = {
    "mappings": [{"id": "m", "content": half} for half in HALVES],
    "mappings that name no message": [{"content": half} for half in HALVES],
    "mappings of blocks": [{"id": "m", "content": [{"type": "text", "text": half}]} for half in HALVES],
    "what is thought aloud": [{"id": "m", "content": "", "reasoning": half} for half in HALVES],
    "arguments of tools": [
        {"id": "m", "content": None, "tool_calls": [{"index": 0, "function": {"arguments": half}}]}
        for half in ('{"to": "quux', 'zorr@example.com"}')
    ],
    "LangChain's": [AIMessageChunk(half, id="m") for half in HALVES],
    "LangChain's blocks": [AIMessageChunk([{"type": "text", "text": half}], id="m") for half in HALVES],
    "LangChain's that name no message": [AIMessageChunk(half) for half in HALVES],
}


@pytest.mark.parametrize("chunks", SPLIT)
def test_a_secret_that_is_split_over_chunks_of_a_message_is_found(tmp_path, chunks):
    path = tmp_path / "t.jsonl"
    rules = Redaction(patterns=[r"\w+@[\w.]+"])
    handle = configure(path=path, capture_content=True, redaction=rules, modes="messages")

    def talk(state):
        for chunk in SPLIT[chunks]:
            emit_message(chunk)
        return {"x": 1}

    graph(talk).invoke({"x": 0})
    assert handle.shutdown()
    (message,) = _bodies(path, "graph.messages")
    assert "[redacted]" in json.dumps(message)
    assert [half for half in ("quux", "zorr@", "example.com") if half in json.dumps(message)] == []


def _bodies(path, name):
    return [
        json.loads(record["body"]["stringValue"])
        for line in path.read_text().splitlines()
        for resource in json.loads(line).get("resourceLogs", ())
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
        if record["eventName"] == name
    ]


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["ali", "ce@b.c", "!"], ["[redacted]", "[redacted]", "!"]),
        (["a@b.c", "d"], ["[redacted]", "[redacted]"]),
        (["a@b.c ", "d"], ["[redacted] ", "d"]),
        (["x", "", "y"], ["x", "", "y"]),
    ],
)
def test_a_pattern_sees_blocks_of_text_as_one_text(texts, shown):
    blocks = [{"type": "text", "text": text} for text in texts]
    found = Redaction(patterns=[r"\w+@[\w.]+"]).data({"content": blocks})
    assert [block["text"] for block in found["content"]] == shown


@pytest.mark.parametrize("rules", [{"patterns": [SECRET]}, {"paths": ["exception.message", "log"]}])
def test_the_rules_hold_for_pythons_logging_too(tmp_path, rules):
    path = tmp_path / "t.jsonl"
    handle = configure(path=path, logging=True, redaction=Redaction(**rules))

    def fails(state):
        try:
            _raising()
        except ValueError:
            logging.getLogger("app").exception("looked for %s", SECRET)
        return {"x": 1}

    graph(fails).invoke({"x": 0})
    assert handle.shutdown()
    assert "exception.stacktrace" in path.read_text()
    assert SECRET not in path.read_text()


def test_scope_version_and_schema_are_those_of_this_package_on_all_signals(tmp_path):
    path = tmp_path / "t.jsonl"
    handle = configure(path=path, capture_content=True)
    graph(lambda s: {"x": 1}).invoke({"x": 0})
    assert handle.force_flush(5000)
    assert handle.shutdown()
    scopes = {
        (kind, scope["scope"]["name"], scope["scope"].get("version"), scope.get("schemaUrl"))
        for line in path.read_text().splitlines()
        for kind, resources in json.loads(line).items()
        for resource in resources
        for scope in resource[kind.replace("resource", "scope")]
    }
    ours = (semconv.SCOPE, version(), semconv.SCHEMA_URL)
    scopes = {
        scope for scope in scopes if scope[1] != "opentelemetry-sdk"
    }  # 1.40 counts what it exports itself
    assert scopes == {(kind, *ours) for kind in ("resourceSpans", "resourceLogs", "resourceMetrics")}
    assert all(ours)


@pytest.mark.parametrize("library", ["engine", "langgraph"])
def test_where_a_command_goes_is_told_only_if_the_graph_has_it(tmp_path, library):
    pytest.importorskip(library, exc_type=ImportError)
    graphs = import_module("engine" if library == "engine" else "langgraph.graph")
    command = import_module("engine" if library == "engine" else "langgraph.types").Command
    path = tmp_path / "t.jsonl"
    handle = configure(path=path, modes=ALL, langgraph=library == "langgraph")

    def hand_off(state):
        return command(goto=[SECRET, "n"], graph=command.PARENT)

    inner = (
        graphs.StateGraph(State).add_node("inner", hand_off).add_edge(START, "inner").compile(name="inner")
    )
    built = graphs.StateGraph(State).add_node("agent", inner).add_node("n", lambda state: {})
    built.add_node("last", lambda state: command(goto=(SECRET, "__end__"))).add_edge("n", "last")
    built.add_edge(START, "agent").compile(name="g").invoke({"x": 1})
    assert handle.shutdown()
    routes = {
        span["name"]: [value["stringValue"] for value in one["value"]["arrayValue"]["values"]]
        for span in _spans(path)
        for one in span["attributes"]
        if one["key"] == "graph.route.targets"
    }
    assert routes["invoke_node agent"] == ["n"]
    assert routes["invoke_node last"] == ["__end__"]
    assert SECRET not in path.read_text()
