"""Nodes that are too short for a span become events of their superstep, unless somebody needs the span."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_stream.events import End
from otel_stream.sdk.lean import LeanLoggerProvider, LeanTracerProvider
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from tests.otel_stream.telemetry.conftest import Scene

LONG = 10_000_000


@pytest.fixture
def scene():
    scene = Scene(options=TelemetryOptions(min_span_duration=0.005))
    scene.tracers = LeanTracerProvider(shutdown_on_exit=False)
    scene.loggers = LeanLoggerProvider(shutdown_on_exit=False)
    scene.spans, scene.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    scene.tracers.add_span_processor(SimpleSpanProcessor(scene.spans))
    scene.loggers.add_log_record_processor(SimpleLogRecordProcessor(scene.logs))
    scene.tracer = scene.tracers.get_tracer("the program")
    scene.consumer = consumer_for_run(
        tracer_provider=scene.tracers, logger_provider=scene.loggers, options=scene.options
    )
    return scene


def _names(scene):
    return [(name, parent) for name, parent, *_ in scene.tree()]


def _events(scene):
    return [(one.span_id, dict(one.attributes)) for one in scene.records() if one.event_name == "graph.node"]


def test_a_short_node_is_an_event_of_its_superstep_and_a_long_one_a_span(scene):
    run = scene.run()
    short, long = scene.step(run, "short", "long")
    scene.start(short)
    scene.start(long)
    scene.part("updates", {"short": {}}, scene.finish(short))
    scene._time += LONG
    scene.finish(long)
    scene.step_end(run)
    scene.end(run)
    assert _names(scene) == [
        ("invoke_workflow triage", None),
        ("superstep", "invoke_workflow triage"),
        ("invoke_node long", "superstep"),
    ]
    superstep = scene.span("superstep")
    assert superstep.attributes["graph.superstep.folded"] == 1
    assert _events(scene) == [
        (
            superstep.context.span_id,
            {
                "graph.name": "triage",
                "graph.run.id": "run-1",
                "graph.superstep": 1,
                "gen_ai.node.name": "short",
                "graph.task.id": short.id,
                "graph.task.duration": pytest.approx(0.002),
                "graph.task.triggers": (),
                "graph.task.triggered_by": (),
            },
        )
    ]
    assert {one.span_id for one in scene.records()} <= {
        s.context.span_id for s in scene.spans.get_finished_spans()
    }


def test_a_link_to_a_folded_task_leads_to_where_it_is_told_of(scene):
    run = scene.run()
    (short,) = scene.step(run, "short")
    scene.do(short)
    scene.step_end(run)
    (after,) = scene.step(run, "after", number=2, sources=(("branch:to:after", short),))
    scene.start(after)
    scene._time += LONG
    scene.finish(after)
    scene.end(run)
    (link,) = scene.span("invoke_node after").links
    steps = [s for s in scene.spans.get_finished_spans() if s.name == "superstep"]
    assert link.context.span_id == min(steps, key=lambda span: span.start_time).context.span_id
    assert link.attributes["graph.task.id"] == short.id


def _child(scene, context):
    context.run(lambda: scene.tracer.start_span("inside").end())


def _event(scene, context):
    context.run(lambda: trace.get_current_span().add_event("x"))


def _attributes(scene, context):
    context.run(lambda: trace.get_current_span().set_attributes({"mine": 1}))


def _attribute(scene, context):
    context.run(lambda: trace.get_current_span().set_attribute("mine", 1))


@pytest.mark.parametrize("use", [_child, _event, _attribute, _attributes])
def test_a_span_that_somebody_needs_is_exported_however_short(scene, use):
    run = scene.run()
    (task,) = scene.step(run, "short")
    scene.start(task)
    use(scene, scene.attempt(task))
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    assert ("invoke_node short", "superstep") in _names(scene)
    assert _events(scene) == []


def test_what_went_wrong_is_never_folded(scene):
    run = scene.run()
    failed, cached = scene.step(run, "failed", "cached")
    scene.start(failed)
    scene.finish(failed, End.ERROR, error=ValueError("x"))
    scene.start(cached)
    scene.finish(cached, cached=True)
    scene.end(run, End.ERROR, ValueError("x"))
    assert [name for name, *_ in scene.tree()[2:]] == ["invoke_node failed", "invoke_node cached"]
