"""Log events: one per exported part, on the right span, with content only where asked for."""

import hashlib
import json

import pytest
from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_stream import events as e
from otel_stream.events import End
from otel_stream.telemetry import TelemetryOptions
from otel_stream.telemetry.logs.deltas import digest

CONTENT = TelemetryOptions(event_content=True)


def records(scene):
    """The log events of parts; the one of the end of the run is a matter of its own."""
    return [record for record in scene.records() if record.event_name != "graph.run_end"]


def _run_with_parts(scene, update, values):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.part("updates", {"plan": update}, scene.do(task, update))
    scene.step_end(run)
    scene.part("values", values, e.ValuesChanged(run, 1, values, scene.now()))
    scene.end(run)
    return run, task


def test_a_part_becomes_a_log_event_on_the_span_it_belongs_to(make_scene):
    scene = make_scene(options=CONTENT)
    _run_with_parts(scene, {"x": 1}, {"x": 1, "y": [1, 2]})
    node, run = scene.span("invoke_node plan").context, scene.span("invoke_workflow triage").context
    known = {"graph.run.id": "run-1", "graph.name": "triage", "graph.superstep": 1}
    assert [
        (r.event_name, r.severity_number, r.trace_id, r.span_id, dict(r.attributes), json.loads(r.body))
        for r in records(scene)
    ] == [
        (
            "graph.updates",
            SeverityNumber.INFO,
            node.trace_id,
            node.span_id,
            {
                **known,
                "graph.stream.mode": "updates",
                "graph.stream.seq": 0,
                "graph.log.seq": 0,
                "gen_ai.node.name": "plan",
                "graph.task.id": "task-1",
            },
            {"plan": {"x": 1}},
        ),
        (
            "graph.values",
            SeverityNumber.INFO,
            run.trace_id,
            run.span_id,
            {
                **known,
                "graph.stream.mode": "values",
                "graph.stream.seq": 1,
                "graph.log.seq": 1,
                "graph.values.encoding": "keyframe",
                "graph.values.digest": f"{digest({'x': 1, 'y': [1, 2]}):08x}",
            },
            {"x": 1, "y": [1, 2]},
        ),
    ]


def test_a_log_event_has_the_time_of_its_event(make_scene):
    scene = make_scene(options=CONTENT)
    run = scene.run()
    event = e.ValuesChanged(run, 1, {}, scene.now())
    scene.part("values", {}, event)
    (record,) = records(scene)
    assert (record.timestamp, record.observed_timestamp >= record.timestamp) == (event.time, True)


def test_without_content_a_body_has_keys_and_sizes_and_no_values(scene):
    _run_with_parts(scene, {"secret": "canary", "n": 5}, {"messages": ["canary"] * 3, "n": 5})
    assert [json.loads(record.body) for record in records(scene)] == [
        {"node": "plan", "type": "dict", "keys": ["secret", "n"], "sizes": [6, None]},
        {"type": "dict", "keys": ["messages", "n"], "sizes": [3, None]},
    ]


class Explosive:
    def __len__(self):
        raise RuntimeError("no")

    def __repr__(self):
        raise RuntimeError("no")


class Message:
    def __init__(self, content):
        self.content = content


@pytest.mark.parametrize(
    ("mode", "data", "body"),
    [
        ("custom", {"canary": 1}, {"type": "dict", "size": 1}),
        ("custom", "canary", {"type": "str", "size": 6}),
        ("custom", 17, {"type": "int", "size": None}),
        ("messages", (Message("canary"), {"canary": 1}), {"type": "Message", "size": 6}),
        ("values", ["canary"], {"type": "list", "size": 1}),
        ("updates", {"plan": None}, {"type": "dict", "keys": ["plan"], "sizes": [None]}),
        ("updates", {"plan": [{"canary": 1}]}, {"type": "dict", "keys": ["plan"], "sizes": [1]}),
        ("values", {f"k{i}": i for i in range(100)}, {"type": "dict", "size": 100}),
        ("values", {3: "x"}, {"type": "dict", "size": 1}),
        ("values", {"n": 1, "canary@x": 2}, {"type": "dict", "size": 2}),
        ("updates", {"plan": {"canary@x": 2}}, {"type": "dict", "size": 1}),
        ("custom", Explosive(), {}),
        ("values", {"x": Explosive()}, {}),
    ],
)
def test_a_summary_shows_shapes_of_any_data(scene, mode, data, body):
    run = scene.run()
    scene.part(mode, data, e.ValuesChanged(run, 1, data, scene.now()))
    assert [json.loads(record.body) for record in records(scene)] == [body]


class Odd:
    pass


def _cycle():
    loop = {}
    loop["self"] = loop
    return loop


@pytest.mark.parametrize(
    "data", [Odd(), {"x": Odd()}, {1: {2}}, _cycle(), Explosive(), {"x": b"\xff"}, 2**80]
)
def test_any_data_makes_a_body_that_is_a_string_of_json(make_scene, data):
    scene = make_scene(options=CONTENT)
    run = scene.run()
    scene.part("values", data, e.ValuesChanged(run, 1, data, scene.now()))
    (record,) = records(scene)
    assert isinstance(record.body, str)
    json.loads(record.body)
    assert scene.consumer.failures == 0


@pytest.mark.parametrize("length", [98, 99])
def test_a_long_body_is_cut_and_says_how_long_it_was(make_scene, length):
    scene = make_scene(options=TelemetryOptions(event_content=True, max_body_bytes=100))
    run = scene.run()
    scene.part("custom", "x" * length, e.ValuesChanged(run, 1, "", scene.now()))
    (record,) = records(scene)
    whole = '"' + "x" * length + '"'
    about = [record.attributes.get(f"graph.stream.body.{name}") for name in ("form", "size", "sha256")]
    cut = ["cut", 101, hashlib.sha256(whole.encode()).hexdigest()]
    assert (record.body, about) == (whole[:100], cut if len(whole) > 100 else [None] * 3)


def test_a_body_is_never_cut_inside_a_character(make_scene):
    scene = make_scene(options=TelemetryOptions(event_content=True, max_body_bytes=4))
    run = scene.run()
    scene.part("custom", "€€", e.ValuesChanged(run, 1, "", scene.now()))
    assert [record.body for record in records(scene)] == ['"€']


def test_modes_that_are_not_exported_make_no_log_event(make_scene):
    scene = make_scene(options=TelemetryOptions(modes=frozenset({"updates"})))
    _run_with_parts(scene, {"x": 1}, {"x": 1})
    assert [record.event_name for record in records(scene)] == ["graph.updates"]


def test_debug_is_of_debug_severity(make_scene):
    scene = make_scene(options=TelemetryOptions(modes=frozenset({"debug"})))
    run = scene.run()
    scene.part("debug", {"type": "task"}, e.ValuesChanged(run, 1, "", scene.now()))
    (record,) = records(scene)
    assert (record.event_name, record.severity_number, record.severity_text) == (
        "graph.debug",
        SeverityNumber.DEBUG,
        "DEBUG",
    )


def test_a_mode_of_the_program_has_a_static_event_name_and_its_own_in_an_attribute(make_scene):
    scene = make_scene(options=TelemetryOptions(modes=frozenset({"routes"})))
    run = scene.run()
    scene.part("routes", [1], e.ValuesChanged(run, 1, "", scene.now()))
    (record,) = records(scene)
    assert (record.event_name, record.attributes["graph.stream.mode"]) == ("graph.custom_mode", "routes")


def test_parts_of_a_subgraph_and_of_later_attempts_say_so(make_scene):
    scene = make_scene(options=CONTENT)
    run = scene.run()
    (task,) = scene.step(run, "audit")
    scene.start(task)
    inner = scene.run("inner", parent=task)
    (leaf,) = scene.step(inner, "leaf")
    scene.start(leaf)
    scene.attempt(leaf, 2, retryable=True)
    scene.part("custom", 1, e.CustomWritten(leaf, 1, scene.now()))
    scene.end(run, End.CANCELLED)
    (record,) = records(scene)
    assert dict(record.attributes) == {
        "graph.run.id": "run-1",
        "graph.name": "inner",
        "graph.ns": "audit:task-1",
        "gen_ai.node.name": "leaf",
        "graph.task.id": "task-2",
        "graph.task.attempt": 2,
        "graph.stream.mode": "custom",
        "graph.stream.seq": 0,
        "graph.log.seq": 0,
        "graph.superstep": 1,
    }
    assert record.span_id == scene.span("invoke_node leaf").context.span_id


def test_without_a_tracer_log_events_are_on_the_span_of_the_caller(make_scene):
    scene = make_scene(signals=("logs",))
    with scene.tracer.start_as_current_span("request") as span:
        run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.part("custom", 1, e.CustomWritten(task, 1, scene.now()))
    (record,) = records(scene)
    assert record.span_id == span.get_span_context().span_id
    assert record.attributes["gen_ai.node.name"] == "plan"


@pytest.mark.parametrize("signals", [("logs",), ("traces", "logs"), ("logs", "metrics")])
def test_a_log_event_never_falls_back_to_what_is_current_where_it_is_emitted(make_scene, signals):
    # An empty context is falsy, and Logger.emit takes it for none.
    scene = make_scene(signals=signals)
    run = scene.run()
    with scene.tracer.start_as_current_span("elsewhere") as span:
        scene.part("custom", 1, e.CustomWritten(scene.step(run, "plan")[0], 1, scene.now()))
    (record,) = records(scene)
    assert record.trace_id != span.get_span_context().trace_id


def test_nothing_is_emitted_for_an_unsampled_run(make_scene):
    scene = make_scene(sampler=ALWAYS_OFF)
    _run_with_parts(scene, {"x": 1}, {"x": 1})
    assert records(scene) == []


class Gate(LogRecordProcessor):
    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.seen = []

    def enabled(self, **about):
        self.asked.append((about["event_name"], about["severity_number"].name))
        return self.answer

    def on_emit(self, log_record):
        self.seen.append(log_record.log_record.event_name)
        raise RuntimeError("broken log processor")

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30_000):
        return True


def _scene_with_gate(make_scene, answer):
    scene = make_scene(signals=("traces", "logs"))
    gate = Gate(answer)
    # The SDK's own processor says yes always, so the gate stands alone.
    scene.loggers._multi_log_record_processor._log_record_processors = (gate,)
    run = scene.run()
    for _ in range(3):
        scene.part("values", {}, e.ValuesChanged(run, 1, {}, scene.now()))
    return scene, gate


@pytest.mark.skipif(not hasattr(Logger, "enabled"), reason="loggers can be asked since 1.45")
def test_the_logger_is_asked_once_per_mode_whether_it_is_enabled(make_scene):
    _, gate = _scene_with_gate(make_scene, answer=False)
    assert (gate.asked, gate.seen) == ([("graph.values", "INFO")], [])


def test_a_log_processor_that_raises_is_reported_once(make_scene, caplog):
    scene, gate = _scene_with_gate(make_scene, answer=True)
    assert gate.seen == ["graph.values"] * 3
    assert scene.consumer.failures == 3
    assert len(caplog.records) == 1
