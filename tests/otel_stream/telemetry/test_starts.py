"""Log events of what has begun: on the span that has, in the order in which it does, before anything ends."""

import json
import sys
import threading
import time
from contextvars import ContextVar

import pytest
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from engine import END, START, StateGraph
from otel_stream.events import Structure
from otel_stream.sdk.versions import InMemoryLogRecordExporter
from otel_stream.telemetry import TelemetryOptions, set_options
from otel_stream.telemetry import run as run_telemetry
from otel_stream.telemetry.logs import starts
from otel_stream.telemetry.logs import still_open as still_open_module
from otel_stream.telemetry.logs.still_open import StillOpen
from tests.emitted import Emitted

#: At once, each of them.
ON = TelemetryOptions(starts="spans")
ABOUT = {"graph.name": "triage", "graph.run.id": "run-1"}


def _begun(records):
    """(event, span, what the body says, attributes) of every log event."""
    return [
        (one.event_name, f"{one.span_id:016x}", json.loads(one.body), dict(one.attributes)) for one in records
    ]


def _id(span):
    return f"{span.context.span_id:016x}"


def test_what_begins_is_told_on_its_span_with_the_one_above(make_scene):
    scene = make_scene(options=ON)
    run = scene.run(thread_id="T-1", resumed=True)
    (task,) = scene.step(run, "plan")
    scene.start(task)
    told = _begun(scene.records())  # nothing has ended yet
    assert scene.spans.get_finished_spans() == ()
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    above, step, node = (
        _id(scene.span(name)) for name in ("invoke_workflow triage", "superstep", "invoke_node plan")
    )
    about = {**ABOUT, "gen_ai.conversation.id": "T-1"}
    assert told == [
        (
            "graph.run_start",
            above,
            {"spanId": above, "name": "invoke_workflow triage"},
            {**about, "graph.run.resumed": True},
        ),
        (
            "graph.superstep_start",
            step,
            {"spanId": step, "parentSpanId": above, "name": "superstep"},
            {**about, "graph.superstep": 1, "graph.superstep.width": 1},
        ),
        (
            "graph.node_start",
            node,
            {"spanId": node, "parentSpanId": step, "name": "invoke_node plan"},
            {**about, "graph.superstep": 1, "gen_ai.node.name": "plan", "graph.task.id": "task-1"},
        ),
    ]


def test_a_run_below_a_span_of_the_programs_names_it(make_scene):
    scene = make_scene(options=ON)
    with scene.tracer.start_as_current_span("request") as span:
        scene.end(scene.run())
    (begun, _, body, _), *_ = _begun(scene.records()[:1])
    assert (begun, body["parentSpanId"]) == ("graph.run_start", f"{span.get_span_context().span_id:016x}")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("none", []),
        ("runs", ["graph.run_start"]),
        ("nodes", ["graph.run_start"]),
        ("spans", ["graph.run_start", "graph.superstep_start", "graph.node_start"]),
    ],
)
def test_only_beginnings_that_are_wanted_are_told(make_scene, wanted, told):
    scene = make_scene(options=TelemetryOptions(starts=wanted))
    run = scene.run()
    scene.do(*scene.step(run, "plan"))
    assert [one.event_name for one in scene.records()] == told


def test_what_is_not_sampled_does_not_begin_either(make_scene):
    scene = make_scene(options=ON, sampler=ALWAYS_OFF)
    run = scene.run()
    scene.do(*scene.step(run, "plan"))
    scene.end(run)
    assert scene.records() == []


def test_without_a_tracer_only_the_name_is_known(make_scene):
    scene = make_scene(options=ON, signals=("logs",))
    scene.do(*scene.step(scene.run(), "plan"))
    assert [(name, body) for name, _, body, _ in _begun(scene.records())] == [
        ("graph.run_start", {"name": "invoke_workflow triage"}),
        ("graph.superstep_start", {"name": "superstep"}),
        ("graph.node_start", {"name": "invoke_node plan"}),
    ]


def test_what_goes_on_for_long_is_told_of_once_and_what_is_over_is_not(make_scene, monkeypatch):
    still_open = StillOpen(least=1.0)
    monkeypatch.setattr(still_open, "_start", lambda: None)  # its thread: here the test says what time it is
    monkeypatch.setattr(run_telemetry, "STILL_OPEN", still_open)
    scene = make_scene(options=TelemetryOptions(starts="nodes"))
    run = scene.run()
    quick, slow = scene.step(run, "quick", "slow")
    scene.start(quick)
    scene.start(slow)
    began = scene.now()
    seen = []
    for seconds, over in ((0.5, quick), (1.1, None), (3, slow), (9, None)):
        still_open.tell_due(began + int(seconds * 1e9))
        seen.append([(name, body["name"]) for name, _, body, _ in _begun(scene.records())[1:]])
        if over is not None:
            scene.finish(over)
    assert seen == [
        [],
        *[[("graph.superstep_start", "superstep"), ("graph.node_start", "invoke_node slow")]] * 3,
    ]
    assert all(one.timestamp < began for one in scene.records())


def test_whoever_begins_something_tells_of_what_has_gone_on_for_long(make_scene, monkeypatch):
    still_open = StillOpen(least=1.0)
    monkeypatch.setattr(still_open, "_start", lambda: None)
    told = []
    for key, seconds in (("a", 1.0), ("b", 1.5), ("over", 1.6), ("c", 2.1), ("d", 2.9), ("e", 3.1)):
        still_open.began(key, int(seconds * 1e9), told.append, (key, len(told)))
        told.append(f"began {key}")
        still_open.over("over")
    assert [one if isinstance(one, str) else f"told of {one[0]}" for one in told] == [
        *("began a", "began b", "began over", "told of a", "began c", "began d", "told of b", "told of c"),
        "began e",
    ]


def test_whoever_looks_tells_of_others_in_no_context_of_its_own(monkeypatch):
    still_open, of_whom = StillOpen(least=1.0), ContextVar("of_whom", default=None)
    monkeypatch.setattr(still_open, "_start", lambda: None)
    seen = []
    of_whom.set("bob")
    still_open.began("alices", 10**9, lambda: seen.append(of_whom.get()))
    still_open.began("bobs", 3 * 10**9, pytest.fail)
    assert seen == [None]


def test_the_thread_sleeps_longer_while_others_look(monkeypatch):
    still_open = StillOpen(least=1.0)
    monkeypatch.setattr(still_open, "_start", lambda: None)
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        match len(pauses):
            case 2 | 3:
                still_open.began("lasting", time.time_ns() + len(pauses) * 10**12, pytest.fail)
            case 5:
                still_open.over("lasting")

    monkeypatch.setattr(still_open_module, "sleep", sleep)
    still_open.began("lasting", time.time_ns() + 10**12, pytest.fail)
    still_open._work()
    assert pauses == [1.0, 1.0, 1.0, 3.0, 1.0]


def test_what_is_told_late_is_about_what_began_then(make_scene, monkeypatch):
    still_open, late = StillOpen(least=60), []
    monkeypatch.setattr(still_open, "_start", lambda: None)
    monkeypatch.setattr(run_telemetry, "STILL_OPEN", still_open)
    scene = make_scene(options=TelemetryOptions(starts="nodes"))
    run = scene.run()
    for number, node in ((1, "first"), (2, "second")):
        (task,) = scene.step(run, node, number=number)
        scene.start(task)
        # As the thread takes them out.
        late += [(tell, about) for _, tell, about in still_open._open.values()]
        task.attempt = 2
        scene.finish(task)
        scene.step_end(run, number=number)
    scene.end(run)
    before = len(scene.records())
    for tell, about in late:
        tell(*about)
    names = {_id(span): span.name for span in scene.spans.get_finished_spans()}
    steps = {
        _id(span): span.attributes["graph.superstep"]
        for span in scene.spans.get_finished_spans()
        if "graph.superstep" in span.attributes
    }
    told = [
        (name, names[span], names[body["parentSpanId"]], steps[span], about)
        for name, span, body, about in _begun(scene.records()[before:])
    ]
    assert told == [
        line
        for number, node in ((1, "first"), (2, "second"))
        for line in (
            (
                "graph.superstep_start",
                "superstep",
                "invoke_workflow triage",
                number,
                {**ABOUT, "graph.superstep": number, "graph.superstep.width": 1},
            ),
            (
                "graph.node_start",
                f"invoke_node {node}",
                "superstep",
                number,
                {
                    **ABOUT,
                    "graph.superstep": number,
                    "gen_ai.node.name": node,
                    "graph.task.id": f"task-{number}",
                },
            ),
        )
    ]


def test_the_thread_that_tells_lasts_as_long_as_anything_goes_on():
    still_open, told = StillOpen(least=0.001), threading.Event()
    for key in ("first", "second"):
        still_open.began(key, 0, told.set)
        worker = still_open._worker
        assert told.wait(60)
        if worker is not None:
            worker.join(60)
            assert not worker.is_alive()
        told.clear()


def test_whatever_a_processor_raises_costs_no_other_beginning(make_scene, monkeypatch):
    class Raises(InMemoryLogRecordExporter):
        def export(self, batch):
            if any(one.log_record.event_name == "graph.superstep_start" for one in batch):
                sys.exit("a processor's idea")
            return super().export(batch)

    still_open = StillOpen(least=0)
    monkeypatch.setattr(still_open, "_start", lambda: None)
    monkeypatch.setattr(run_telemetry, "STILL_OPEN", still_open)
    scene = make_scene(options=TelemetryOptions(starts="nodes"))
    scene.loggers.add_log_record_processor(SimpleLogRecordProcessor(Raises()))
    (task,) = scene.step(scene.run(), "plan")
    scene.start(task)
    still_open.tell_due(scene.now())
    assert [one.event_name for one in scene.records()][1:] == ["graph.superstep_start", "graph.node_start"]
    assert scene.consumer.failures == 1


def test_a_node_that_waits_is_told_of_while_it_does(otel_globals, monkeypatch):
    told = threading.Event()
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)  # as tests of programs do, who count their own

    class Listening(InMemoryLogRecordExporter):
        def export(self, batch):
            if any(one.log_record.event_name == "graph.node_start" for one in batch):
                told.set()
            return super().export(batch)

    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(Listening()))
    _logs.set_logger_provider(loggers)
    set_options(TelemetryOptions(starts="nodes"))
    try:
        graph = StateGraph(dict).add_node("waits", lambda state: {"heard": told.wait(60)})
        assert graph.add_edge(START, "waits").compile(name="g").invoke({}) == {"heard": True}
        assert slept == []
    finally:
        set_options(None)


def _told(told, *digests):
    return [told.is_new(digest) for digest in digests]


def test_a_structure_is_told_once_and_again_for_who_comes_much_later(monkeypatch):
    told, clock = starts.ToldStructures(), [0.0]
    monkeypatch.setattr(starts, "monotonic", lambda: clock[0])
    assert _told(told, "a", "b", "a") == [True, True, False]
    clock[0] = starts.TELL_AGAIN - 1
    assert _told(told, "a") == [False]
    clock[0] = starts.TELL_AGAIN
    assert _told(told, "a", "a") == [True, False]


def test_a_structure_that_can_not_be_described_costs_nothing_else(make_scene):
    def fail():
        raise ValueError("no drawing")

    scene = make_scene(options=ON)
    run = scene.run(declared=Structure(fail))
    scene.end(run)
    assert [one.event_name for one in scene.records()] == ["graph.run_start", "graph.run_end"]


def _triage(kind):
    inner = kind(dict).add_node("look", lambda state: state).add_edge(START, "look").compile(name="inner")
    made = kind(dict).add_node("plan", lambda state: state).add_node("search", inner)
    made.add_edge(START, "plan")
    made.add_conditional_edges("plan", lambda state: "yes", {"yes": "search", "no": END})
    return made.add_edge("search", END).compile(name="triage", interrupt_before=["search"])


@pytest.fixture(params=["engine", "langgraph.graph"])
def kind(request):
    """The class of graphs of either engine; LangGraph's, where it is installed, under our eyes."""
    found = pytest.importorskip(request.param, exc_type=ImportError).StateGraph
    if found is StateGraph:
        yield found
        return
    adapter = pytest.importorskip("otel_stream.adapters.langgraph", exc_type=ImportError)
    adapter.LangGraphInstrumentor().instrument()
    yield found
    adapter.LangGraphInstrumentor().uninstrument()


def test_the_graph_as_declared_is_told_once_with_its_subgraphs(otel_globals, kind):
    emitted = Emitted()
    emitted.install()
    set_options(ON)
    try:
        graph = _triage(kind)
        graph.invoke({})
        graph.with_config(tags=["again"]).invoke({})
    finally:
        set_options(None)
    records = [one.log_record for one in emitted.logs.get_finished_logs()]
    (structure,) = [one for one in records if one.event_name == "graph.structure"]
    digests = {
        one.attributes["graph.structure.digest"]
        for one in records
        if one.event_name in {"graph.structure", "graph.run_start"}
    }
    assert digests == {structure.attributes["graph.structure.digest"]}
    told = json.loads(structure.body)
    told["edges"].sort(key=json.dumps)
    assert told == {
        "name": "triage",
        "nodes": [
            {"id": "__start__"},
            {"id": "plan"},
            {"id": "search", "interrupt": "before"},
            {"id": "__end__"},
        ],
        "edges": [
            {"conditional": True, "data": "no", "source": "plan", "target": "__end__"},
            {"conditional": True, "data": "yes", "source": "plan", "target": "search"},
            {"source": "__start__", "target": "plan"},
            {"source": "search", "target": "__end__"},
        ],
        "subgraphs": {
            "search": {
                "name": "inner",
                "nodes": [{"id": "__start__"}, {"id": "look"}, {"id": "__end__"}],
                "edges": [{"source": "__start__", "target": "look"}, {"source": "look", "target": "__end__"}],
            }
        },
    }
