"""Properties of whole runs that the SDK's traps would break; ``test_traps.py`` has the table."""

import ast
import json
import socket
import threading
import tomllib
from pathlib import Path

import anyio
import pytest
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from packaging.requirements import Requirement

from engine import START, StateGraph
from otel_stream.config import StreamConfig
from otel_stream.sdk import EventToSpanEventBridge, configure
from otel_stream.sdk.configure import setup
from otel_stream.sdk.sampling.samplers import RecordOnlySampler
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, set_options

ROOT = Path(__file__).parents[2]
MODES = ("values", "updates", "custom", "tasks", "checkpoints", "debug")


@pytest.fixture(autouse=True)
def _fresh(otel_globals):
    yield
    if setup._State.handle is not None:
        setup._State.handle.shutdown(1)
    setup._State.handle = setup._State.arguments = None
    set_options(None)


class Providers:
    """The program's own global providers, with exporters in memory."""

    def __init__(self, *log_processors, sampler=None):
        self.spans = InMemorySpanExporter()
        self.logs = InMemoryLogRecordExporter()
        tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        trace.set_tracer_provider(tracers)
        loggers = LoggerProvider(shutdown_on_exit=False)
        for processor in log_processors or [SimpleLogRecordProcessor(self.logs)]:
            loggers.add_log_record_processor(processor)
        _logs.set_logger_provider(loggers)


def plan(state, writer):
    writer({"half": "way"})
    return {"x": 1}


def graph(**nodes):
    made = StateGraph(dict)
    above = START
    for name, node in (nodes or {"plan": plan, "act": lambda state: {"x": state["x"] + 1}}).items():
        made.add_node(name, node).add_edge(above, name)
        above = name
    return made.compile(name="triage")


def shown(parts):
    return [(part.seq, part.type, part.node, part.data) for part in parts if part.type != "debug"]


# -- 1: sampled out -------------------------------------------------------------------------------


async def _parts():
    async with graph().open_stream({"x": 0}, StreamConfig(modes=MODES, include_end=True)) as stream:
        return [part async for part in stream]


def _comparable(parts: list[StreamPart]):
    """Parts without what differs from run to run: times and random ids."""
    return [
        (part.seq, part.type, part.step, part.node, sorted(part.data))
        for part in parts
        if isinstance(part.data, dict)
    ]


@pytest.mark.clause("S-SAM-6")
async def test_an_unsampled_run_loses_no_part(otel_globals):
    bare = await _parts()
    providers = Providers(sampler=ALWAYS_OFF)
    unsampled = await _parts()
    assert _comparable(unsampled) == _comparable(bare)
    assert [part.data for part in unsampled if part.type in ("values", "updates", "custom")] == [
        part.data for part in bare if part.type in ("values", "updates", "custom")
    ]
    assert (providers.spans.get_finished_spans(), providers.logs.get_finished_logs()) == ((), ())
    assert len({part.trace_id for part in unsampled}) == 1
    assert unsampled[0].trace_id is not None


# -- 2: live --------------------------------------------------------------------------------------


async def test_a_part_is_received_and_logged_while_its_span_is_open():
    providers = Providers()
    received = anyio.Event()

    async def waits(state, writer):
        writer("half way")
        await received.wait()  # the part gets through, or this never ends
        return {"x": 1}

    async with graph(waits=waits).open_stream({"x": 0}, StreamConfig(modes="custom")) as stream:
        part = await anext(aiter(stream))
        assert part.data == "half way"
        (log,) = [
            one.log_record
            for one in providers.logs.get_finished_logs()
            if one.log_record.event_name == "graph.custom"
        ]
        assert (f"{log.trace_id:032x}", f"{log.span_id:016x}") == (part.trace_id, part.span_id)
        assert providers.spans.get_finished_spans() == ()
        received.set()
    await anyio.lowlevel.checkpoint()
    assert part.span_id in {f"{span.context.span_id:016x}" for span in providers.spans.get_finished_spans()}


# -- 3: span events -------------------------------------------------------------------------------


async def test_log_events_of_a_run_can_be_had_as_span_events():
    set_options(TelemetryOptions(modes=frozenset({"custom"}), event_content=True))
    providers = Providers(EventToSpanEventBridge(body_attribute="body"))
    await graph().ainvoke({"x": 0})
    events = {
        span.name: [
            (event.name, event.attributes["body"]) for event in span.events
        ]  # of the run, too: its end
        for span in providers.spans.get_finished_spans()
        if span.events
    }
    assert events["invoke_node plan"] == [("graph.custom", '{"half":"way"}')]


async def test_updates_can_be_had_as_span_events_too():
    set_options(TelemetryOptions(modes=frozenset({"updates"})))
    providers = Providers(EventToSpanEventBridge())
    await graph().ainvoke({"x": 0})
    events = [
        (span.name, event.name)
        for span in providers.spans.get_finished_spans()
        for event in span.events
        if event.name == "graph.updates"
    ]
    assert events == [("invoke_node plan", "graph.updates"), ("invoke_node act", "graph.updates")]


# -- 4, 5: samplers -------------------------------------------------------------------------------


async def test_start_attributes_survive_recording_only():
    ended = []

    class Tap(SpanProcessor):
        def on_end(self, span):
            ended.append((span.name, span.context.trace_flags.sampled, dict(span.attributes)))

    Providers(sampler=RecordOnlySampler(ParentBased(ALWAYS_OFF)))
    trace.get_tracer_provider().add_span_processor(Tap())
    await graph().ainvoke({"x": 0})
    by_name = {name: (sampled, about) for name, sampled, about in ended}
    assert by_name["invoke_node plan"][0] is False
    assert by_name["invoke_node plan"][1]["gen_ai.node.name"] == "plan"
    assert by_name["superstep"][1]["graph.superstep.width"] == 1


async def test_the_tracestate_of_the_caller_is_carried_to_every_span():
    providers = Providers()
    state = TraceState([("ot", "th:8;rv:ffffffffffffff"), ("vendor", "abc")])
    caller = SpanContext(0xA, 0xB, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    with trace.use_span(NonRecordingSpan(caller)):
        await graph().ainvoke({"x": 0})
    spans = providers.spans.get_finished_spans()
    assert [span.context.trace_state for span in spans] == [state] * 5
    assert {span.context.trace_id for span in spans} == {0xA}


# -- 8: processors --------------------------------------------------------------------------------


class Raises(SpanProcessor, LogRecordProcessor):
    def on_start(self, span, parent_context=None):
        raise RuntimeError("on_start")

    def on_end(self, span):
        raise RuntimeError("on_end")

    def on_emit(self, log_record):
        raise RuntimeError("on_emit")

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30_000):
        return True


@pytest.mark.parametrize("way", ["ainvoke", "invoke", "stream"])
async def test_processors_that_raise_never_reach_the_run(way, caplog):
    Providers(Raises(), sampler=ALWAYS_ON)
    trace.get_tracer_provider().add_span_processor(Raises())
    if way == "ainvoke":
        assert await graph().ainvoke({"x": 0}) == {"x": 2}
    elif way == "invoke":
        assert await anyio.to_thread.run_sync(graph().invoke, {"x": 0}) == {"x": 2}
    else:
        async with graph().open_stream({"x": 0}, StreamConfig(modes="values")) as stream:
            assert [part.data["x"] async for part in stream] == [0, 1, 2]
    assert len(caplog.records) == 1


# -- 9: bodies ------------------------------------------------------------------------------------


class Unencodable:
    def __repr__(self):
        raise RuntimeError("not even this")


def _written(path, kind, of):
    found = []
    for line in path.read_text().splitlines():
        for resource in json.loads(line).get(f"resource{kind}", ()):
            for scope in resource[f"scope{kind}"]:
                found += of(scope)
    return found


def _parts_of(path):
    names = _written(path, "Logs", lambda scope: [record.get("eventName") for record in scope["logRecords"]])
    return [name for name in names if name in ("graph.custom", "graph.updates")]


async def test_a_value_that_cannot_be_encoded_costs_no_other_record(tmp_path):
    handle = configure(path=tmp_path / "t.jsonl", capture_content=True, modes="custom,updates")

    def odd(state, writer):
        for data in ("before", Unencodable(), {"deep": [Unencodable()]}, "\ud800", "after"):
            writer(data)
        return {"x": 1, "odd": Unencodable()}

    await graph(odd=odd).ainvoke({"x": 0})
    assert await anyio.to_thread.run_sync(handle.shutdown) is True
    assert _parts_of(tmp_path / "t.jsonl") == ["graph.custom"] * 5 + ["graph.updates"]
    assert handle.counts()["logs"].lost == 0


FOREIGN = {
    "object": {"body": object()},
    "nested": {"body": {"a": [object()]}},
    "big": {"body": 1 << 70},
    "surrogate": {"body": "\ud800"},
}


@pytest.mark.parametrize(
    "odd",
    [
        *(pytest.param(about, id=name) for name, about in FOREIGN.items()),
        pytest.param({"attributes": {"a": "\ud800"}}, id="attribute"),
    ],
)
async def test_a_foreign_record_that_cannot_be_encoded_costs_no_neighbour_its_place(tmp_path, odd):
    handle = configure(path=tmp_path / "t.jsonl", modes="custom,updates")
    _logs.get_logger("a library").emit(event_name="odd", **odd)
    await graph().ainvoke({"x": 0})
    await anyio.to_thread.run_sync(handle.shutdown)
    assert _parts_of(tmp_path / "t.jsonl") == ["graph.custom", "graph.updates", "graph.updates"]


@pytest.mark.parametrize("value", ["\ud800", 1 << 70], ids=["surrogate", "big"])
async def test_a_foreign_attribute_that_cannot_be_encoded_costs_no_other_span_its_place(tmp_path, value):
    handle = configure(path=tmp_path / "t.jsonl")
    trace.get_tracer("a library").start_span("odd", attributes={"a": value}).end()
    await graph().ainvoke({"x": 0})
    await anyio.to_thread.run_sync(handle.shutdown)
    names = _written(tmp_path / "t.jsonl", "Spans", lambda scope: [span["name"] for span in scope["spans"]])
    expected = ["invoke_node act", "invoke_node plan", "invoke_workflow triage", "superstep", "superstep"]
    assert sorted(name for name in names if name != "odd") == expected


# -- 11: flushing ---------------------------------------------------------------------------------


async def test_no_run_flushes_anything():
    flushed = []

    class Tap(Raises):
        on_start = on_end = on_emit = lambda *_: None

        def force_flush(self, timeout_millis=30_000):
            flushed.append(threading.current_thread())
            return True

    Providers(Tap())
    trace.get_tracer_provider().add_span_processor(Tap())
    await graph().ainvoke({"x": 0})
    async with graph().open_stream({"x": 0}, StreamConfig(modes="values")) as stream:
        async for _ in stream:
            break
    assert flushed == []


def _calls(tree):
    return (
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )


def test_no_coroutine_of_ours_flushes_or_shuts_down_a_provider():
    """Both export on the caller's thread, and take as long as they like."""
    found = []
    for package in ("engine", "otel_stream"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            coroutines = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
            found += [
                f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(call)}"
                for coroutine in coroutines
                for call in _calls(coroutine)
                if call.func.attr in ("force_flush", "flush", "shutdown")
                and ast.unparse(call.func.value) not in ("out", "sys.stdout", "super()")
            ]
    assert found == []


def test_a_flush_ends_in_time_whatever_the_endpoint_does():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never says a word
        handle = configure(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        trace.get_tracer("x").start_span("s").end()
        assert handle.flush(timeout=0.2) is False
        assert handle.shutdown(timeout=0.2) is False
        assert handle.counts()["spans"].lost == 1


# -- 13: versions ---------------------------------------------------------------------------------


def test_ranges_of_opentelemetry_go_together_and_what_is_tested_is_of_one_release():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in (*project["dependencies"], *extras["otlp"], *extras["grpc"])]
    ours = {one.name: str(one.specifier) for one in asked if one.name.startswith("opentelemetry-")}
    assert set(ours.values()) == {"<2,>=1.37"}
    constrained = dict(
        line.partition(" ")[0].split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line
    )
    # Their betas have numbers of their own: one of each release.
    theirs = {name: version for name, version in constrained.items() if name.startswith("opentelemetry-")}
    assert theirs.keys() >= ours.keys()
    assert len({version for version in theirs.values() if "b" not in version}) == 1
    assert len({version for version in theirs.values() if "b" in version}) == 1
