"""Log events of what is no stream part: where a run turns, and what it waits for."""

from typing import NamedTuple

from otel_stream import events as e
from otel_stream.telemetry import TelemetryOptions


class Interrupt(NamedTuple):
    id: str


def _shown(scene):
    return [(one.event_name, one.span_id, dict(one.attributes)) for one in scene.records()]


def test_a_route_is_a_log_event_on_the_span_of_the_task_that_chose_it_if_asked_for(make_scene):
    scene = make_scene(options=TelemetryOptions(modes=frozenset({"updates", "graph.route"})))
    assert scene.consumer.modes == {"updates"}
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    scene.emit(e.RouteChosen(task, "should_continue", ("tools", "__end__"), scene.now()))
    scene.finish(task)
    scene.end(run)
    about = {"graph.name": "triage", "graph.run.id": "run-1", "graph.superstep": 1}
    assert _shown(scene)[0] == (
        "graph.route",
        scene.span("invoke_node plan").context.span_id,
        {
            **about,
            "gen_ai.node.name": "plan",
            "graph.task.id": "task-1",
            "graph.route.source": "should_continue",
            "graph.route.targets": ("tools", "__end__"),
        },
    )


def test_an_interrupt_is_a_log_event_on_the_span_of_the_run(scene):
    run = scene.run()
    scene.emit(e.RunInterrupted(run, 2, (Interrupt("a"),), scene.now()))
    scene.emit(e.RunInterrupted(run, 3, (), scene.now()))
    scene.end(run)
    about = {"graph.name": "triage", "graph.run.id": "run-1"}
    span = scene.span("invoke_workflow triage").context.span_id
    assert _shown(scene)[:2] == [
        ("graph.interrupt", span, {**about, "graph.superstep": 2, "graph.interrupt.ids": ("a",)}),
        ("graph.interrupt", span, {**about, "graph.superstep": 3}),
    ]


def test_who_exports_no_log_events_gets_none_of_these(make_scene):
    scene = make_scene(options=TelemetryOptions(modes=frozenset()))
    run = scene.run()
    scene.emit(e.RunInterrupted(run, 2, (), scene.now()))
    scene.end(run)
    assert scene.records() == []


def test_a_node_says_where_its_edges_and_commands_went(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    scene.emit(e.RouteChosen(task, "should_continue", ("tools",), scene.now()))
    scene.emit(e.RouteChosen(task, "plan", ("__end__",), scene.now()))
    scene.finish(task)
    scene.end(run)
    assert scene.span("invoke_node plan").attributes["graph.route.targets"] == ("tools", "__end__")
    assert "graph.route" not in [one.event_name for one in scene.records()]
