"""Measurements: what is recorded, of what, and that exemplars lead to the trace."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
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
from otel_stream.config import Custom, StreamConfig
from otel_stream.events import End, Resumption, Run
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from otel_stream.telemetry.metrics.names import ERRORS, GRAPHS, LONGEST, MODES, NODES
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


def _listening(*modes, **more):
    return StreamReceiver(StreamConfig(modes=modes or "values", **more))


def _offer(receiver, mode, number):
    for seq in range(number):
        receiver.offer(StreamPart(mode, (), {}, seq, 1))


def _parts(scene):
    """{metric: {(mode, reason): number}} of what became of parts."""
    return {
        name.removeprefix("graph.stream.parts."): {
            (about["graph.stream.mode"], about.get("graph.stream.drop_reason")): value
            for about, value, _ in found
        }
        for name, found in scene.points().items()
        if name.startswith("graph.stream.parts.")
    }


@pytest.mark.clause("S-ACC-5")
def test_what_became_of_parts_is_what_the_accounts_of_receivers_say_whenever_metrics_are_asked(scene):
    one = _listening("values", "updates", overflow="drop_oldest", buffer_size=2)
    scene.consumer.on_receiver(one)
    run = scene.run()
    other = _listening(overflow="drop_oldest")
    scene.consumer.on_receiver(other)
    _offer(one, "values", 5)
    _offer(other, "values", 1)
    nothing = {("values", None): 0}
    shown = {
        "offered": {("values", None): 6},
        "delivered": nothing,
        "dropped": {("values", None): 0, ("values", "drop_oldest"): 3},
        "sampled_out": nothing,
        "filtered": nothing,
    }
    assert _parts(scene) == shown
    assert _parts(scene) == shown
    assert [part.seq for part in iter(one.take_nowait, None) if part.type == "values"] == [3, 4]
    _offer(one, "updates", 1)
    scene.end(run)
    assert _parts(scene) == {
        "offered": {("values", None): 6, ("updates", None): 1},
        "delivered": {("values", None): 2, ("updates", None): 0},
        "dropped": {("values", None): 0, ("values", "drop_oldest"): 3, ("updates", None): 0},
        "sampled_out": {**nothing, ("updates", None): 0},
        "filtered": {**nothing, ("updates", None): 0},
    }
    about = {"graph.name": "triage", "graph.stream.policy": "drop_oldest", "graph.stream.mode": "values"}
    assert (about, 6, None) in scene.points()["graph.stream.parts.offered"]


@pytest.mark.clause("S-ACC-5")
def test_parts_of_a_receiver_that_is_gone_stay_in_the_sums_and_what_it_held_is_dropped(scene):
    run, receivers = scene.run(), []
    for _ in range(3):
        receivers.append(_listening(overflow="drop_newest"))
        scene.consumer.on_receiver(receivers[-1])
        _offer(receivers[-1], "values", 4)
    receivers[0].take_nowait()
    receivers[1].close()
    scene.end(run)
    del receivers
    gc.collect()
    for _ in range(2):
        found = _parts(scene)
        assert (found["offered"], found["delivered"]) == ({("values", None): 12}, {("values", None): 1})
        assert found["dropped"] == {("values", None): 0, ("values", "closed"): 11}
    assert scene.consumer._metrics._instruments.gauges.receivers._known == {}


def test_a_lasting_receivers_parts_are_those_of_the_graph_that_it_listens_to(make_scene):
    scene, receiver = make_scene(), StreamReceiver(StreamConfig(modes="values"), lasting=True)
    for graph, number in (("a", 2), ("b", 3)):
        scene.consumer = consumer_for_run(meter_provider=scene.meters, options=scene.options)
        scene.consumer.on_receiver(receiver)
        run = scene.run(graph)
        _offer(receiver, "values", number)
        scene.end(run)
    points = scene.points()["graph.stream.parts.offered"]
    assert {(about["graph.name"], value) for about, value, _ in points} == {("a", 2), ("b", 3)}


def test_accounts_are_added_up_once_however_many_threads_ask(scene):
    run, receiver = scene.run(), _listening()
    scene.consumer.on_receiver(receiver)
    _offer(receiver, "values", 100)
    receivers = scene.consumer._metrics._instruments.gauges.receivers
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: receivers.sums(), range(200)))
    assert _parts(scene)["offered"] == {("values", None): 100}
    scene.end(run)


def test_receivers_before_the_run_or_without_metrics_are_not_asked(make_scene):
    for signals in (("metrics",), ("traces",)):
        scene = make_scene(signals=signals)
        scene.consumer.on_receiver(_listening())
        assert scene.points() == {}
        assert scene.consumer.failures == 0


def test_what_a_users_input_can_vary_fills_no_metric(scene):
    """Names of graphs and nodes, classes of errors, modes of one's own: the first are told apart, briefly."""
    most = {"graph.name": GRAPHS, "gen_ai.node.name": NODES, "error.type": ERRORS, "graph.stream.mode": MODES}
    runs = max(most.values()) + 10
    for number in range(runs):
        tail = f"{number}\udce9{'x' * LONGEST}"
        mode = Custom(repr, f"mode-{tail}", (e.RunStarted,))
        error = type(f"Error{tail}".replace("\udce9", ""), (Exception,), {})()
        run = scene.run(f"graph-{tail}")
        receiver = _listening(mode)
        scene.consumer.on_receiver(receiver)
        _offer(receiver, mode.name, 1)
        (task,) = scene.step(run, f"node-{tail}")
        scene.start(task)
        scene.finish(task, End.ERROR, error=error)
        scene.step_end(run, End.ERROR)
        scene.end(run, End.ERROR, error)
    points = scene.points()
    for attribute, number in most.items():
        told = {about.get(attribute) for found in points.values() for about, *_ in found} - {None}
        assert (len(told), "other" in told) == (number + 1, True)
        assert max(map(len, told)) <= LONGEST
        assert all(one == one.encode(errors="replace").decode() for one in told)
    assert sum(value for _, value, _ in points["graph.stream.parts.offered"]) == runs
    assert sum(value for _, value, _ in points["graph.run.errors"]) == runs
    assert sum(count for _, _, count in points["graph.node.duration"]) == runs
    gauges = scene.consumer._metrics._instruments.gauges
    assert len(gauges.runs) == GRAPHS + 1
    assert len(gauges.nodes) <= 2 * NODES + 1


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
