"""Measurements: what is recorded, of what, and that exemplars lead to the trace."""

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_stream import events as e
from otel_stream.events import End
from otel_stream.statistics import ModeStatistics, ReceiverStatistics


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
        "graph.superstep.duration": [({"graph.name": "triage"}, 0.005, 1)],
        "graph.node.duration": [({"graph.name": "triage", "gen_ai.node.name": "plan"}, 0.003, 1)],
        "graph.run.active": [({"graph.name": "triage"}, 0, None)],
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


def test_the_time_of_checkpoints_is_measured(scene):
    run = scene.run()
    scene.emit(e.CheckpointWritten(run, 1, 0.25, scene.now()))
    assert scene.points()["graph.checkpoint.duration"] == [({"graph.name": "triage"}, 0.25, 1)]


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
        for metric in resource.scope_metrics[0].metrics
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
        for metric in resource.scope_metrics[0].metrics
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
    pass


def _statistics(**modes):
    return ReceiverStatistics(0, 0, 0, 0, 0, 0, 0, modes, {})


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
    values = {"graph.name": "triage", "graph.stream.mode": "values"}
    updates = {"graph.name": "triage", "graph.stream.mode": "updates"}
    points = scene.points()
    assert {
        name: {(a["graph.stream.mode"], v) for a, v, _ in points[name]}
        for name in ("graph.stream.parts.offered", "graph.stream.parts.dropped")
    } == {
        "graph.stream.parts.offered": {("values", 12), ("updates", 5)},
        "graph.stream.parts.dropped": {("values", 3), ("updates", 0)},
    }
    assert sorted(points["graph.stream.parts.dropped"], key=lambda p: p[1]) == [
        (updates, 0, None),
        (values, 3, None),
    ]


def test_statistics_before_the_run_or_without_metrics_are_ignored(make_scene):
    scene = make_scene()
    scene.consumer.on_receiver_statistics(Receiver(), _statistics(values=ModeStatistics(1)))
    assert scene.points() == {}
    scene = make_scene(signals=("traces",))
    scene.run()
    scene.consumer.on_receiver_statistics(Receiver(), _statistics(values=ModeStatistics(1)))
    assert scene.consumer.failures == 0


def test_attribute_sets_of_graphs_made_on_the_fly_do_not_pile_up(make_scene, monkeypatch):
    monkeypatch.setattr("otel_stream.telemetry.metrics._MAX_KEPT", 2)
    scene = make_scene()
    for number in range(5):
        scene.end(scene.run(f"graph-{number}"))
    instruments = scene.consumer._metrics._instruments
    assert len(instruments._of_graph) == 2
    assert len(scene.points()["gen_ai.invoke_workflow.duration"]) == 5
