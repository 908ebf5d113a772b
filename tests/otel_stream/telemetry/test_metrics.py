"""Measurements: what is recorded, of what, and that exemplars lead to the trace."""

import gc
import time
from contextvars import copy_context
from typing import NamedTuple

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from engine import START, StateGraph
from otel_stream import events as e
from otel_stream.config import StreamConfig
from otel_stream.events import End, Resumption, Run
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.statistics import ModeStatistics, ReceiverStatistics
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from tests.engine.samples import State, say


def _run(scene, end=End.OK, error=None):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    scene.attempt(task)
    scene.attempt_end(task, error=error)
    scene.finish(task, end, error=error)
    scene.step_end(run, end)
    scene.end(run, end, error)
    return run


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF])
def test_durations_are_in_seconds_whether_or_not_the_run_is_sampled(make_scene, sampler):
    scene = make_scene(sampler=sampler)
    _run(scene)
    points = scene.points()
    assert {name: [(a, round(v, 9), n) for a, v, n in found] for name, found in points.items()} == {
        "gen_ai.invoke_workflow.duration": [
            (
                {
                    "gen_ai.operation.name": "invoke_workflow",
                    "gen_ai.workflow.name": "triage",
                    "graph.name": "triage",
                    "graph.run.end": "ok",
                },
                0.007,
                1,
            )
        ],
        # Of an unsampled run nobody tells the start of a superstep, which here is a tick before its task's.
        "graph.superstep.duration": [({"graph.name": "triage"}, 0.004 if sampler else 0.005, 1)],
        "graph.node.duration": [({"graph.name": "triage", "gen_ai.node.name": "plan"}, 0.003, 1)],
        "graph.run.supersteps": [({"graph.name": "triage", "graph.run.end": "ok"}, 1, 1)],
        "graph.run.active": [({"graph.name": "triage"}, 0, None)],
        "graph.node.active": [({"graph.name": "triage", "gen_ai.node.name": "plan"}, 0, None)],
    }


@pytest.mark.parametrize("end", End)
def test_only_failures_have_an_error_type(scene, end):
    error = LookupError() if end.failed else None
    _run(scene, end, error)
    points = scene.points()
    types = {
        name: found[0][0].get("error.type") for name, found in points.items() if name.endswith(".duration")
    }
    assert set(types.values()) == {"LookupError" if end.failed else None}
    assert points["gen_ai.invoke_workflow.duration"][0][0]["graph.run.end"] == end.value


def test_a_run_is_active_while_it_lasts(scene):
    first, second = scene.run(), scene.run()
    assert scene.points()["graph.run.active"] == [({"graph.name": "triage"}, 2, None)]
    scene.end(first)
    scene.end(second, End.ABANDONED)
    assert scene.points()["graph.run.active"] == [({"graph.name": "triage"}, 0, None)]


def test_retries_are_counted_by_what_failed(scene):
    run = scene.run()
    (task,) = scene.step(run, "flaky")
    scene.start(task)
    for number in (1, 2):
        scene.attempt(task, number, retryable=True)
        scene.attempt_end(task, number, ValueError("canary"), retry_after=0.1)
    scene.attempt(task, 3, retryable=True)
    scene.attempt_end(task, 3)
    scene.finish(task)
    assert scene.points()["graph.node.retries"] == [
        ({"graph.name": "triage", "gen_ai.node.name": "flaky", "error.type": "ValueError"}, 2, None)
    ]


def test_every_attempt_of_a_retried_node_is_measured_and_of_other_nodes_none(scene):
    run = scene.run()
    flaky, plain = scene.step(run, "flaky", "plain")
    scene.do(plain)
    scene.start(flaky)
    scene.attempt(flaky, 1, retryable=True)
    scene.attempt_end(flaky, 1, ValueError("canary"), retry_after=0.1)
    scene.attempt(flaky, 2, retryable=True)
    scene.attempt_end(flaky, 2)
    scene.finish(flaky)
    about = {"graph.name": "triage", "gen_ai.node.name": "flaky"}
    assert [(a, round(v, 9), n) for a, v, n in scene.points()["graph.attempt.duration"]] == [
        ({**about, "error.type": "ValueError"}, 0.001, 1),
        (about, 0.001, 1),
    ]


def test_tasks_are_active_while_they_last_and_failures_are_counted_by_type(scene):
    run = scene.run()
    tasks = scene.step(run, "a", "a", "b")
    for task in tasks:
        scene.start(task)
    active = {a["gen_ai.node.name"]: v for a, v, _ in scene.points()["graph.node.active"]}
    assert active == {"a": 2, "b": 1}
    for task in tasks:
        scene.finish(task, End.ERROR, error=KeyError())
    points = scene.points()
    assert {a["gen_ai.node.name"]: v for a, v, _ in points["graph.node.active"]} == {"a": 0, "b": 0}
    assert {a["gen_ai.node.name"]: (v, a["error.type"]) for a, v, _ in points["graph.node.errors"]} == {
        "a": (2, "KeyError"),
        "b": (1, "KeyError"),
    }


def test_the_width_of_a_fan_out_is_measured_and_a_chain_is_none(scene):
    run = scene.run()
    scene.step(run, "plan")
    scene.step_end(run)
    scene.step(run, "a", "b", "c", number=2)
    scene.step_end(run)
    scene.end(run, End.ERROR, KeyError())
    points = scene.points()
    assert points["graph.superstep.tasks"] == [({"graph.name": "triage"}, 3, 1)]
    ended = {"graph.name": "triage", "graph.run.end": "error"}
    assert points["graph.run.supersteps"] == [(ended, 2, 1)]
    assert points["graph.run.errors"] == [({**ended, "error.type": "KeyError"}, 1, None)]


def test_an_interrupt_waits_until_a_run_of_this_process_answers_it(scene):
    first = scene.run()
    scene.end(first, End.INTERRUPTED, interrupts=(Interrupt("a"), Interrupt("b")))
    assert scene.points()["graph.interrupt.waiting"] == [({"graph.name": "triage"}, 2, None)]
    assert scene.points()["graph.interrupt.raised"] == [({"graph.name": "triage"}, 2, None)]
    assert scene.points()["graph.interrupt.age"][0][1] > 0
    raised = scene._time
    second = scene.run(resumed=True, resumes=Resumption("checkpoint", interrupts=("a", "b", "unknown")))
    points = scene.points()
    seconds = (scene._time - raised) * 1e-9
    assert [(round(v, 9), n) for _, v, n in points["graph.interrupt.duration"]] == [(2 * seconds, 2)]
    assert points["graph.interrupt.waiting"] == [({"graph.name": "triage"}, 0, None)]
    assert points["graph.interrupt.age"] == [({"graph.name": "triage"}, 0, None)]
    scene.end(second)


def test_new_options_share_the_gauges_of_the_provider(scene):
    scene.run()
    again = consumer_for_run(meter_provider=scene.meters, options=TelemetryOptions(span_content=True))
    again.on_event(e.RunStarted(Run("run-2", "triage", context=copy_context()), {}, False, 1))
    assert scene.points()["graph.run.active"] == [({"graph.name": "triage"}, 2, None)]


class Interrupt(NamedTuple):
    id: str


def test_the_time_of_checkpoints_is_measured(scene):
    run = scene.run()
    scene.emit(e.CheckpointWritten(run, 1, 0.25, scene.now()))
    assert scene.points()["graph.checkpoint.duration"] == [({"graph.name": "triage"}, 0.25, 1)]


def test_the_size_of_checkpoints_is_measured_where_it_is_known(scene):
    run = scene.run()
    scene.emit(e.CheckpointWritten(run, 1, 0.25, scene.now(), 1000))
    scene.emit(e.CheckpointWritten(run, 2, 0.25, scene.now()))
    assert scene.points()["graph.checkpoint.size"] == [({"graph.name": "triage"}, 1000, 1)]


def test_a_clock_that_is_set_back_loses_no_measurement(scene, caplog):
    run = scene.run()
    scene._time -= 3_600_000_000_000
    scene.end(run)
    assert [(v, n) for _, v, n in scene.points()["gen_ai.invoke_workflow.duration"]] == [(0, 1)]
    assert caplog.records == []


def test_exemplars_carry_the_ids_of_the_span_that_was_measured(scene):
    _run(scene)
    (resource,) = scene.reader.get_metrics_data().resource_metrics
    exemplars = {
        metric.name: [x.span_id for point in metric.data.data_points for x in point.exemplars]
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.endswith(".duration")
    }
    assert exemplars == {
        "gen_ai.invoke_workflow.duration": [scene.span("invoke_workflow triage").context.span_id],
        "graph.superstep.duration": [scene.span("superstep").context.span_id],
        "graph.node.duration": [scene.span("invoke_node plan").context.span_id],
    }


def test_buckets_are_fit_for_seconds(scene):
    _run(scene)
    (resource,) = scene.reader.get_metrics_data().resource_metrics
    bounds = {
        metric.name: (point.explicit_bounds[0], point.explicit_bounds[-1])
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if metric.name.endswith(".duration")
    }
    assert bounds == {
        "gen_ai.invoke_workflow.duration": (0.01, 7200),
        "graph.superstep.duration": (0.001, 300),
        "graph.node.duration": (0.001, 300),
    }


def test_every_instrument_has_a_unit_and_a_description(scene):
    _run(scene)
    (resource,) = scene.reader.get_metrics_data().resource_metrics
    assert all(metric.unit and metric.description for metric in resource.scope_metrics[0].metrics)


class Receiver:
    config = StreamConfig(modes="values", overflow="drop_oldest")


def _statistics(**modes):
    return ReceiverStatistics(0, 0, 0, 0, 0, 0, 0, modes, {})


@pytest.mark.clause("S-ACC-5")
def test_the_parts_of_receivers_are_counted_by_mode_and_only_once(scene):
    run, receiver = scene.run(), Receiver()
    scene.consumer.on_receiver_statistics(
        receiver, _statistics(values=ModeStatistics(10, 8, 2), updates=ModeStatistics(5, 5, 0))
    )
    scene.consumer.on_receiver_statistics(
        receiver, _statistics(values=ModeStatistics(11, 8, 3), updates=ModeStatistics(5, 5, 0))
    )
    scene.consumer.on_receiver_statistics(Receiver(), _statistics(values=ModeStatistics(1, 1, 0)))
    scene.end(run)
    about = {"graph.name": "triage", "graph.stream.policy": "drop_oldest"}
    values = {**about, "graph.stream.mode": "values"}
    updates = {**about, "graph.stream.mode": "updates"}
    points = scene.points()
    assert {
        name: {(a["graph.stream.mode"], v) for a, v, _ in points[name]}
        for name in points
        if name.startswith("graph.stream.parts.")
    } == {
        "graph.stream.parts.offered": {("values", 12), ("updates", 5)},
        "graph.stream.parts.delivered": {("values", 9), ("updates", 5)},
        "graph.stream.parts.sampled_out": {("values", 0), ("updates", 0)},
        "graph.stream.parts.filtered": {("values", 0), ("updates", 0)},
        "graph.stream.parts.dropped": {("values", 3), ("updates", 0)},
    }
    assert sorted(points["graph.stream.parts.dropped"], key=lambda p: p[1]) == [
        (updates, 0, None),
        (values, 3, None),
    ]


def test_dropped_parts_are_counted_by_what_they_were_dropped_for(scene):
    run, receiver = (
        scene.run(),
        StreamReceiver(StreamConfig(modes="values", overflow="drop_oldest", buffer_size=1)),
    )
    for seq in range(3):
        receiver.offer(StreamPart("values", (), {}, seq, 1))
    scene.consumer.on_receiver_statistics(receiver, receiver.statistics())
    receiver.close()
    scene.consumer.on_receiver_statistics(receiver, receiver.statistics())
    scene.end(run)
    points = scene.points()["graph.stream.parts.dropped"]
    assert {(a.get("graph.stream.drop_reason"), v) for a, v, _ in points} == {
        (None, 0),
        ("drop_oldest", 2),
        ("closed", 1),
    }


def test_statistics_before_the_run_or_without_metrics_are_ignored(make_scene):
    scene = make_scene()
    scene.consumer.on_receiver_statistics(Receiver(), _statistics(values=ModeStatistics(1)))
    assert scene.points() == {}
    scene = make_scene(signals=("traces",))
    scene.run()
    scene.consumer.on_receiver_statistics(Receiver(), _statistics(values=ModeStatistics(1)))
    assert scene.consumer.failures == 0


def test_attribute_sets_of_graphs_made_on_the_fly_do_not_pile_up(make_scene, monkeypatch):
    monkeypatch.setattr("otel_stream.telemetry.metrics.instruments._MAX_KEPT", 2)
    scene = make_scene()
    for number in range(5):
        scene.end(scene.run(f"graph-{number}"))
    instruments = scene.consumer._metrics._instruments
    assert len(instruments.gauges.runs) == 3
    points = scene.points()
    for name in ("gen_ai.invoke_workflow.duration", "graph.run.active", "graph.run.supersteps"):
        told = {about.get("graph.name", about.get("gen_ai.workflow.name")) for about, *_ in points[name]}
        assert told == {"graph-0", "graph-1", "other"}


def test_who_listens_and_how_far_they_are_behind_can_be_seen_while_they_are(scene):
    config = StreamConfig(modes="values", overflow="drop_oldest", buffer_size=2)
    early, late = StreamReceiver(config), StreamReceiver(config)
    scene.consumer.on_receiver(early)
    run = scene.run()
    scene.consumer.on_receiver(late)
    for seq in range(3):
        early.offer(StreamPart("values", (), {}, seq, time.time_ns() - 1_000_000_000))
    about = {"graph.name": "triage", "graph.stream.policy": "drop_oldest"}

    def shown(name):
        ((attributes, value, _),) = scene.points()[f"graph.stream.{name}"]
        assert attributes == about
        return value

    assert (shown("receivers"), shown("buffer.depth")) == (2, 2)
    assert shown("lag") >= 1
    early.close()
    late.close()
    assert (shown("receivers"), shown("buffer.depth"), shown("lag")) == (0, 0, 0)
    scene.end(run)
    del early, late
    gc.collect()
    assert (shown("receivers"), shown("buffer.depth"), shown("lag")) == (0, 0, 0)


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF])
def test_supersteps_are_measured_the_same_whether_or_not_their_starts_are_told(otel_globals, sampler):
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    trace.set_tracer_provider(TracerProvider(sampler=sampler, shutdown_on_exit=False))
    wide = StateGraph(State).add_node("a", say("a")).add_node("b", say("b")).add_node("c", say("c"))
    wide = wide.add_edge(START, "a").add_edge(START, "b").add_edge("a", "c").add_edge("b", "c")
    wide.compile(name="wide").invoke({"log": []})
    (resource,) = reader.get_metrics_data().resource_metrics
    found = {
        metric.name: [(point.count, point.sum) for point in metric.data.data_points]
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name in ("graph.superstep.tasks", "graph.run.supersteps", "graph.superstep.duration")
    }
    assert found["graph.superstep.tasks"] == [(1, 2)]
    assert found["graph.run.supersteps"] == [(1, 2)]
    assert [count for count, _ in found["graph.superstep.duration"]] == [2]
