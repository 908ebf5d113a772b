"""Span trees: names, parents, status and ends, of whole runs."""

import asyncio
from contextvars import copy_context

import pytest
from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import get_current_span

from otel_stream import events as e
from otel_stream import semconv
from otel_stream.events import ALL, End
from otel_stream.telemetry import TelemetryOptions

MS = 1_000_000


def test_a_run_is_a_tree_of_run_superstep_and_nodes(scene):
    run = scene.run(thread_id="t1", tags=("a", "b"))
    for number in (1, 2):
        plan, act = scene.step(run, "plan", "act", number=number)
        scene.do(plan)
        scene.do(act)
        scene.step_end(run, number=number)
    scene.end(run)
    step = [
        ("superstep", "invoke_workflow triage", "UNSET", None),
        ("invoke_node plan", "superstep", "UNSET", None),
        ("invoke_node act", "superstep", "UNSET", None),
    ]
    assert scene.tree() == [("invoke_workflow triage", None, "UNSET", "ok"), *step, *step]


def test_spans_have_the_times_of_their_events(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.do(task)
    scene.step_end(run)
    scene.end(run)
    start = scene.span("invoke_workflow triage").start_time
    assert {
        span.name: (span.start_time - start, span.end_time - start)
        for span in scene.spans.get_finished_spans()
    } == {
        "invoke_node plan": (2 * MS, 5 * MS),
        "superstep": (1 * MS, 6 * MS),
        "invoke_workflow triage": (0, 7 * MS),
    }


def test_attributes_name_the_graph_the_thread_and_the_task(scene):
    run = scene.run(thread_id="t1", tags=("a", "b"), resumed=True)
    (task,) = scene.step(run, "plan", number=4)
    scene.do(task)
    scene.step_end(run, number=4)
    scene.end(run)
    assert dict(scene.span("invoke_workflow triage").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "triage",
        "gen_ai.conversation.id": "t1",
        "graph.run.id": "run-1",
        "graph.run.resumed": True,
        "graph.run.end": "ok",
    }
    assert dict(scene.span("superstep").attributes) == {
        "gen_ai.conversation.id": "t1",
        "graph.superstep": 4,
        "graph.superstep.width": 1,
    }
    assert dict(scene.span("invoke_node plan").attributes) == {
        "gen_ai.operation.name": "invoke_node",
        "gen_ai.node.name": "plan",
        "gen_ai.conversation.id": "t1",
        "graph.task.id": "task-1",
        "graph.superstep": 4,
    }


def test_the_newest_conventions_call_the_graph_an_agent(make_scene):
    scene = make_scene(options=TelemetryOptions(names=semconv.genai_names("http,gen_ai_latest_experimental")))
    scene.end(scene.run())
    attributes = scene.span("invoke_workflow triage").attributes
    assert attributes["gen_ai.agent.name"] == "triage"
    assert "gen_ai.workflow.name" not in attributes
    assert "gen_ai.invoke_agent.duration" in scene.points()


def test_ids_are_written_on_run_and_task(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    ids = (run.trace_id, run.span_id, task.trace_id, task.span_id)
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    of_run, of_task = scene.span("invoke_workflow triage").context, scene.span("invoke_node plan").context
    trace_id = f"{of_run.trace_id:032x}"
    assert ids == (trace_id, f"{of_run.span_id:016x}", trace_id, f"{of_task.span_id:016x}")


def test_a_run_is_a_child_of_the_span_that_is_current_where_it_was_called(scene):
    with scene.tracer.start_as_current_span("request"):
        run = scene.run()
    scene.end(run)
    assert scene.tree() == [
        ("invoke_workflow triage", "request", "UNSET", "ok"),
        ("request", None, "UNSET", None),
    ]


def test_user_spans_are_children_of_their_node(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    context = scene.attempt(task)
    context.run(lambda: scene.tracer.start_span("inside", start_time=scene.now()).end())
    scene.attempt_end(task)
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    assert ("inside", "invoke_node plan", "UNSET", None) in scene.tree()


def test_the_callers_own_context_is_never_changed(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.do(task)
    assert get_current_span() is trace.INVALID_SPAN
    scene.step_end(run)
    scene.end(run)
    assert get_current_span() is trace.INVALID_SPAN


def test_the_runs_span_is_current_in_the_runs_context(scene):
    run = scene.run()
    assert f"{run.context.run(get_current_span).get_span_context().span_id:016x}" == run.span_id


def test_a_context_that_is_entered_already_is_left_alone(scene):
    context = copy_context()
    run = context.run(lambda: scene.run(context=context))
    scene.end(run)
    assert scene.tree() == [("invoke_workflow triage", None, "UNSET", "ok")]
    assert scene.consumer.failures == 0


def test_attempts_of_a_retried_node_are_its_children_with_their_number(scene):
    run = scene.run()
    (task,) = scene.step(run, "flaky")
    scene.start(task)
    context = scene.attempt(task, 1, retryable=True)
    context.run(lambda: scene.tracer.start_span("inside", start_time=scene.now()).end())
    scene.attempt_end(task, 1, ValueError("no"), retry_after=0.5)
    scene.attempt(task, 2, retryable=True)
    scene.attempt_end(task, 2)
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    assert scene.tree("graph.task.attempt", "error.type")[2:] == [
        ("invoke_node flaky", "superstep", "UNSET", None, None, None),
        ("attempt", "invoke_node flaky", "ERROR", None, 1, "ValueError"),
        ("inside", "attempt", "UNSET", None, None, None),
        ("attempt", "invoke_node flaky", "UNSET", None, 2, None),
    ]


@pytest.mark.parametrize(
    ("end", "status"),
    [(End.OK, "UNSET"), (End.INTERRUPTED, "UNSET"), (End.CANCELLED, "UNSET"), (End.ERROR, "ERROR")],
)
def test_the_last_attempt_ends_as_its_task_does_and_when_it_did(scene, end, status):
    run = scene.run()
    (task,) = scene.step(run, "asks")
    scene.start(task)
    scene.attempt(task, 1, retryable=True)
    scene.attempt_end(task, 1, None if end is End.OK else RuntimeError("x"))
    ended = scene._time
    scene.finish(task, end, error=RuntimeError("x") if end is End.ERROR else None)
    scene.step_end(run)
    scene.end(run)
    attempt = scene.span("attempt")
    assert (attempt.status.status_code.name, attempt.end_time) == (status, ended)


@pytest.mark.parametrize("end", End)
def test_only_failures_are_errors_and_every_end_can_be_told(scene, end):
    error = LookupError("gone") if end.failed else None
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    scene.finish(task, end, error=error)
    scene.step_end(run, end)
    scene.end(run, end, error)
    status = "ERROR" if end.failed else "UNSET"
    kind = "LookupError" if end.failed else None
    below = None if end is End.OK else end.value
    assert scene.tree("error.type") == [
        ("invoke_workflow triage", None, status, end.value, kind),
        ("superstep", "invoke_workflow triage", status, below, kind),
        ("invoke_node plan", "superstep", status, below, kind),
    ]


def test_the_type_of_an_error_is_qualified_unless_it_is_a_builtin(scene):
    run = scene.run()
    scene.end(run, End.ERROR, asyncio.InvalidStateError())
    assert (
        scene.span("invoke_workflow triage").attributes["error.type"]
        == "asyncio.exceptions.InvalidStateError"
    )


def test_a_failure_without_an_exception_is_of_the_type_of_its_end(scene):
    scene.end(scene.run(), End.RECURSION_LIMIT)
    assert scene.span("invoke_workflow triage").attributes["error.type"] == "recursion_limit"


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (False, ValueError("canary"), None),
        (True, ValueError("canary"), "canary"),
        (True, ValueError("x" * 10_000), "x" * 4096),
        (True, Unspeakable(), ""),
    ],
)
def test_the_text_of_an_exception_is_content(make_scene, content, error, text):
    scene = make_scene(options=TelemetryOptions(span_content=content))
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    scene.finish(task, End.ERROR, error=error)
    scene.step_end(run, End.ERROR)
    scene.end(run, End.ERROR, error)
    exported = [span.status.description for span in scene.spans.get_finished_spans()]
    assert exported == [text, None, text]
    assert scene.consumer.failures == 0


def test_a_subgraph_is_a_child_of_the_node_it_runs_in(scene):
    run = scene.run()
    (task,) = scene.step(run, "audit")
    scene.start(task)
    context = scene.attempt(task)
    inner = scene.run("audit_file", parent=task, context=context.copy())
    (leaf,) = scene.step(inner, "parse")
    scene.do(leaf)
    scene.step_end(inner)
    scene.end(inner)
    scene.attempt_end(task)
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    assert scene.tree() == [
        ("invoke_workflow triage", None, "UNSET", "ok"),
        ("superstep", "invoke_workflow triage", "UNSET", None),
        ("invoke_node audit", "superstep", "UNSET", None),
        ("invoke_workflow audit_file", "invoke_node audit", "UNSET", "ok"),
        ("superstep", "invoke_workflow audit_file", "UNSET", None),
        ("invoke_node parse", "superstep", "UNSET", None),
    ]
    assert scene.span("invoke_workflow audit_file").attributes["graph.ns"] == "audit:task-1"


@pytest.mark.parametrize("called_from", ["the run's context", "the caller's context", "a trace of its own"])
def test_a_subgraph_stays_below_its_node_whatever_context_it_is_given(scene, called_from):
    with scene.tracer.start_as_current_span("request", start_time=scene.now()):
        outside = copy_context()
        run = scene.run()
    (task,) = scene.step(run, "audit")
    scene.start(task)
    scene.attempt(task, retryable=True)
    context = {"the run's context": run.context.copy(), "the caller's context": outside}.get(called_from)
    inner = scene.run("inner", parent=task, context=context or copy_context())
    scene.end(inner)
    scene.attempt_end(task)
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    assert ("invoke_workflow inner", "attempt", "UNSET", "ok") in scene.tree()


def test_a_subgraph_called_inside_a_users_span_is_a_child_of_that(scene):
    run = scene.run()
    (task,) = scene.step(run, "audit")
    scene.start(task)
    context = scene.attempt(task)
    mine = context.run(lambda: scene.tracer.start_span("mine", start_time=scene.now()))
    context.run(attach, trace.set_span_in_context(mine))
    inner = scene.run("inner", parent=task, context=context.copy())
    scene.end(inner)
    mine.end()
    scene.finish(task)
    scene.step_end(run)
    scene.end(run)
    assert scene.tree()[3:] == [
        ("mine", "invoke_node audit", "UNSET", None),
        ("invoke_workflow inner", "mine", "UNSET", "ok"),
    ]


@pytest.mark.parametrize("end", [End.ABANDONED, End.CANCELLED, End.ERROR])
def test_the_end_of_the_root_ends_what_is_open_exactly_once(scene, end, caplog):
    run = scene.run()
    quick, slow = scene.step(run, "quick", "slow")
    scene.do(quick)
    scene.start(slow)
    scene.attempt(slow, retryable=True)
    inner = scene.run("inner", parent=slow)
    (leaf,) = scene.step(inner, "leaf")
    scene.start(leaf)
    scene.end(run, end)
    # What comes too late changes nothing.
    scene.finish(leaf)
    scene.step_end(inner)
    scene.end(inner)
    scene.attempt_end(slow)
    scene.finish(slow)
    scene.step_end(run)
    status = "ERROR" if end.failed else "UNSET"
    assert scene.tree() == [
        ("invoke_workflow triage", None, status, end.value),
        ("superstep", "invoke_workflow triage", status, end.value),
        ("invoke_node quick", "superstep", "UNSET", None),
        ("invoke_node slow", "superstep", status, end.value),
        ("attempt", "invoke_node slow", status, end.value),
        ("invoke_workflow inner", "attempt", status, end.value),
        ("superstep", "invoke_workflow inner", status, end.value),
        ("invoke_node leaf", "superstep", status, end.value),
    ]
    assert caplog.records == []


def test_writes_from_the_cache_are_marked(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    scene.finish(task, cached=True)
    scene.step_end(run)
    scene.end(run)
    assert scene.span("invoke_node plan").attributes["graph.task.cached"] is True


# -- sampling ---------------------------------------------------------------------------------


def _whole_run(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.start(task)
    context = scene.attempt(task)
    context.run(lambda: scene.tracer.start_span("inside").end())
    inner = scene.run("inner", parent=task, context=context.copy())
    scene.end(inner)
    scene.attempt_end(task)
    done = scene.finish(task, update={"x": 1})
    scene.part("updates", {"plan": {"x": 1}}, done)
    scene.step_end(run)
    scene.end(run)
    return run, task


def test_a_run_that_is_not_sampled_has_metrics_and_ids_and_nothing_else(make_scene):
    scene = make_scene(sampler=ParentBased(ALWAYS_OFF))
    run, task = _whole_run(scene)
    assert (scene.tree(), scene.records()) == ([], [])
    assert run.trace_id is not None
    assert (task.trace_id, task.span_id) == (run.trace_id, run.span_id)
    assert {name: sum(count or 0 for _, _, count in points) for name, points in scene.points().items()} == {
        "gen_ai.invoke_workflow.duration": 2,
        "graph.superstep.duration": 1,
        "graph.node.duration": 1,
        "graph.run.supersteps": 2,
        "graph.run.active": 0,
        "graph.node.active": 0,
    }


def test_what_is_wanted_shrinks_when_the_run_is_not_sampled(make_scene):
    scene = make_scene(sampler=ALWAYS_OFF, signals=("traces", "logs"))
    before = scene.consumer.interest, scene.consumer.modes
    scene.run()
    after = scene.consumer.interest, scene.consumer.modes
    wanted = e.RunStarted.bit | e.RunEnded.bit | e.TaskStarted.bit
    assert before[0] & e.SuperstepStarted.bit
    assert before[1] == {"values", "updates", "custom", "messages"}
    assert after == (wanted, frozenset())


def test_an_unsampled_parent_is_followed_and_a_sampled_one_too(make_scene):
    for decision, names in ((ALWAYS_OFF, []), (ALWAYS_ON, ["invoke_workflow triage", "outer"])):
        scene = make_scene(sampler=ParentBased(decision))
        with scene.tracer.start_as_current_span("outer"):
            run = scene.run()
        scene.end(run)
        assert sorted(row[0] for row in scene.tree()) == names


# -- trouble ----------------------------------------------------------------------------------


class Broken:
    """A processor that raises, as the SDK lets it, into whoever started or ended the span."""

    def __init__(self, when):
        self.when = when

    def on_start(self, span, parent_context=None):
        if self.when == "start":
            raise RuntimeError("broken processor")

    def on_end(self, span):
        if self.when == "end":
            raise RuntimeError("broken processor")

    def _on_ending(self, span):
        pass

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30_000):
        return True


@pytest.mark.parametrize("when", ["start", "end"])
def test_a_processor_that_raises_never_reaches_the_engine_and_is_reported_once(scene, when, caplog):
    scene.tracers.add_span_processor(Broken(when))
    _whole_run_without_user_spans(scene)
    assert scene.consumer.failures > 1
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"Telemetry of a run is incomplete: RuntimeError in on_{when} (test_spans.py:")
    assert [count for _, _, count in scene.points()["graph.node.duration"]] == [1]


def _whole_run_without_user_spans(scene):
    run = scene.run()
    (task,) = scene.step(run, "plan")
    scene.do(task)
    scene.step_end(run)
    scene.end(run)


def test_events_of_runs_that_never_started_are_ignored(scene):
    other = e.Run("other", "late", context=copy_context())
    (task,) = scene.step(other, "plan")
    scene.do(task)
    scene.step_end(other)
    scene.emit(e.CheckpointWritten(other, 1, 0.1, scene.now()))
    scene.end(other)
    assert (scene.tree(), scene.consumer.failures) == ([], 0)


def test_kinds_of_events_that_nobody_asked_for_are_ignored(scene):
    run = scene.run()
    for event in (
        e.CheckpointSaved(run, 1, {}, None, {}, {}, (), (), scene.now()),
        e.ValuesChanged(run, 1, {}, scene.now()),
    ):
        assert not event.bit & scene.consumer.interest
        scene.consumer.on_event(event)
    assert scene.consumer.interest & ALL == scene.consumer.interest
    assert scene.consumer.failures == 0
