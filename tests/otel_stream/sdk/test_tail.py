"""Tail sampling over spans and log records: what is kept, why, and what becomes of it in the end."""

import contextlib
import logging
import os
import threading

import pytest
from opentelemetry import _logs, trace
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    INVALID_SPAN,
)

from engine import START, InMemorySaver, StateGraph, interrupt
from otel_stream.config import ConfigError
from otel_stream.sdk import KeepErrors, KeepInterrupted, TailSamplingProcessor
from otel_stream.telemetry import TelemetryOptions, set_options
from tests.otel_stream.sdk.tail_scene import Kept, Scene, remote


@pytest.fixture
def scene():
    return Scene()


# -- when, and what --------------------------------------------------------------------------------


def test_a_trace_is_kept_whole_or_dropped_whole_with_its_logs_when_its_root_ends(scene):
    scene.trace("good")
    assert scene.kept == ([], [])
    scene.trace("bad", failed=True)
    assert scene.kept == (["bad child", "bad root"], ["bad log"])
    assert scene.counts() == (2, 2, 1, 1, 0)


def test_nothing_is_handed_on_before_the_root_ends(scene):
    root = scene.start("root")
    child = scene.start("child", root)
    scene.fail(child)
    scene.log("log", child)
    child.end()
    assert (scene.kept, scene.counts()) == (([], []), (0, 0, 0, 0, 2))
    root.end()
    assert scene.kept == (["child", "root"], ["log"])


def test_the_next_processor_hears_of_every_start_when_it_happens(scene):
    root = scene.start("root")
    scene.start("child", root)
    assert scene.spans.started == ["root", "child"]


def test_a_local_root_below_another_process_is_a_root(scene):
    span = scene.start("root", remote())
    scene.fail(span)
    span.end()
    assert scene.kept == (["root"], [])


def test_a_trace_with_several_open_roots_is_decided_when_the_last_one_ends(scene):
    outer = scene.start("outer")
    context = outer.get_span_context()
    called = scene.start("called", remote(context.trace_id))  # through the network, back to itself
    called.end()
    assert scene.counts() == (0, 0, 0, 0, 1)
    scene.fail(outer)
    outer.end()
    assert scene.kept == (["called", "outer"], [])


def test_a_span_below_one_of_another_provider_is_a_root(scene):
    other = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("other", context=Context())
    for name in ("first", "second"):
        span = scene.start(name, other)
        child = scene.start(f"below {name}", span)
        scene.fail(child)
        child.end()
        span.end()
    assert scene.kept == (["below first", "first", "below second", "second"], [])


def test_traces_that_are_open_together_are_decided_apart(scene):
    first, second = scene.start("first"), scene.start("second")
    scene.fail(second)
    first.end()
    second.end()
    assert scene.kept == (["second"], [])


def test_what_was_not_sampled_does_not_come_here():
    scene = Scene(sampler=ALWAYS_OFF)
    root = scene.trace("t", failed=True)
    scene.log("late", root)
    # Log records of unsampled spans are not this processor's to judge: SampledLogFilter is.
    assert scene.kept == ([], ["t log", "late"])
    assert scene.counts() == (0, 0, 0, 0, 0)


def test_a_log_record_of_no_trace_passes_at_once(scene):
    scene.log("alone", INVALID_SPAN)
    assert (scene.kept, scene.counts()) == (([], ["alone"]), (0, 0, 0, 0, 0))


def test_a_log_record_that_waits_is_not_changed_by_later_processors(scene):
    class Later(Kept):
        def on_emit(self, log_record):
            log_record.log_record.body = "changed"

    scene.loggers.add_log_record_processor(Later())
    scene.trace("t", failed=True)
    assert scene.kept[1] == ["t log"]


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["tracers", "loggers"])
def test_a_flush_decides_what_waits_and_flushes_what_is_behind(scene, which):
    root = scene.start("root")
    scene.fail(child := scene.start("child", root))
    scene.log("log", child)
    child.end()
    assert getattr(scene, which).force_flush() is True
    assert scene.kept == (["child"], ["log"])
    assert (scene.spans if which == "tracers" else scene.logs).said == ["flush"]
    root.end()
    assert (scene.kept[0], scene.tail.statistics().causes) == (["child", "root"], {"flush": 1})


@pytest.mark.parametrize("order", [("tracers", "loggers"), ("loggers", "tracers")])
def test_a_shutdown_decides_what_waits_before_it_shuts_down_what_is_behind(scene, order):
    root = scene.start("root")
    scene.fail(child := scene.start("child", root))
    scene.log("log", child)
    child.end()
    for which in order:
        getattr(scene, which).shutdown()
        assert scene.kept == (["child"], ["log"])
    assert (scene.spans.said, scene.logs.said) == (["shutdown"], ["shutdown"])
    scene.tail.shutdown()
    scene.tail.logs.shutdown()
    assert (scene.spans.said, scene.logs.said) == (["shutdown"], ["shutdown"])


def test_after_the_shutdown_nothing_waits(scene):
    root = scene.start("root")
    scene.tracers.shutdown()
    other = scene.start("other")
    scene.log("log", other)
    other.end()
    root.end()
    assert (scene.kept[1], scene.counts()[-1], scene.tail.statistics().traces) == (["log"], 0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_to_its_parent_what_waits_and_decides_its_own(scene):
    root = scene.start("root")
    before = scene.start("before", root)
    before.end()
    with scene.tail._buffer.lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            span = scene.start("in child", root)
            scene.fail(span)
            span.end()
            root.end()
            good = scene.kept == (["in child", "root"], []) and scene.counts() == (2, 0, 0, 0, 0)
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    scene.fail(root)
    root.end()
    assert scene.kept == (["before", "root"], [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_watches_the_time_itself():
    scene = Scene(decision_wait=0.05)
    scene.trace("before", failed=True)
    child = os.fork()
    if child == 0:
        scene.fail(span := scene.start("in child", scene.start("root")))
        span.end()
        os._exit(0 if scene.spans.wait_for("before child", "before root", "in child") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    scene.tracers.shutdown()


# -- policies --------------------------------------------------------------------------------------


def test_the_first_policy_that_keeps_is_the_one_that_counts():
    def by_name(trace):
        return trace.root.name == "b root"

    def always(trace):
        return True

    scene = Scene(KeepErrors(), by_name, always)
    scene.trace("a", failed=True)
    scene.trace("b", failed=False)
    scene.trace("c", failed=False)
    scene.trace("b", failed=True)
    numbers = scene.tail.statistics()
    assert (numbers.kept, numbers.dropped) == ({"error": 2, "by_name": 1, "always": 1}, 0)


def test_a_policy_that_raises_is_cut_off_reported_once_and_its_trace_is_kept(caplog):
    def broken(trace):
        raise KeyError("what?")

    scene = Scene(broken, KeepErrors())
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b"):
            scene.trace(name)
        scene.trace("c", failed=True)
    assert scene.kept[1] == ["a log", "c log"]
    numbers = scene.tail.statistics()
    assert (numbers.broken, numbers.kept, numbers.dropped) == ({"broken": 1}, {"broken": 1, "error": 1}, 1)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        "The tail sampling policy 'broken', which is not asked again, failed; "
        "more failures are counted, not logged: KeyError in broken (test_tail.py:"
    )


def test_without_a_policy_that_works_everything_is_kept(caplog):
    def broken(trace):
        raise KeyError("what?")

    scene = Scene(broken)
    for name in ("a", "b"):
        scene.trace(name)
    assert scene.kept[1] == ["a log", "b log"]
    assert scene.tail.statistics().kept == {"broken": 1, "none_left": 1}


def test_a_policy_that_is_interrupted_leaves_nothing_claimed():
    def interrupted(trace):
        raise KeyboardInterrupt

    scene = Scene(interrupted)
    with pytest.raises(KeyboardInterrupt):
        scene.trace("a")
    assert (scene.counts(), scene.tail.statistics().traces) == ((0, 2, 0, 1, 0), 0)
    assert scene.tail.force_flush(1000) is True


def test_next_processors_that_raise_never_reach_the_program(caplog):
    class Broken(Kept):
        def on_start(self, span, parent_context=None):
            raise OSError("start")

        def _on_ending(self, span):
            raise OSError("ending")

        def on_end(self, span):
            raise OSError("end")

        def on_emit(self, log_record):
            raise OSError("emit")

    scene = Scene()
    broken = Broken()
    tail = TailSamplingProcessor(broken, broken, [KeepErrors()], meter_provider=NoOpMeterProvider())
    scene.tracers.add_span_processor(tail)
    scene.loggers.add_log_record_processor(tail.logs)
    with caplog.at_level(logging.WARNING):
        scene.trace("t", failed=True)
    assert tail.statistics().failures == 7  # of each of two spans the start, ending and end; and the log
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        "The processor after a TailSamplingProcessor failed; "
        "more failures are counted, not logged: OSError in on_start (test_tail.py:"
    )


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "settings", "message"),
    [
        ([], {}, "TailSamplingProcessor.policies: [] keeps nothing; give at least one policy"),
        (
            ["error"],
            {},
            (
                "TailSamplingProcessor.policies: 'error' is no policy; give objects such as KeepErrors(), "
                "or functions of one TailTrace"
            ),
        ),
        (
            [KeepErrors()],
            {"decision_wait": 0},
            (
                "TailSamplingProcessor.decision_wait: 0 can't be meant; "
                f"give a number, from 0.001 to {threading.TIMEOUT_MAX}"
            ),
        ),
        (
            [KeepErrors()],
            {"max_traces": 0},
            "TailSamplingProcessor.max_traces: 0 can't be meant; give a number, 1 or more",
        ),
        (
            [KeepErrors()],
            {"max_items": "many"},
            "TailSamplingProcessor.max_items: 'many' can't be meant; give a number, 1 or more",
        ),
    ],
)
def test_bad_settings_get_one_sentence(policies, settings, message):
    with pytest.raises(ConfigError) as caught:
        TailSamplingProcessor(Kept(), Kept(), policies, **settings)
    assert str(caught.value) == message


# -- real runs -------------------------------------------------------------------------------------


def fails(state):
    raise ValueError("no")


def asks(state):
    interrupt("Go on?")


@pytest.mark.parametrize(
    ("node", "kept_by"),
    [(lambda state: {"x": 1}, None), (fails, "error"), (asks, "interrupted")],
    ids=["ok", "failed", "interrupted"],
)
async def test_a_run_is_kept_whole_with_its_log_events_if_it_failed_or_waits(node, kept_by):
    scene = Scene(KeepErrors(), KeepInterrupted())
    trace.set_tracer_provider(scene.tracers)
    _logs.set_logger_provider(scene.loggers)
    set_options(TelemetryOptions(modes=frozenset({"updates"})))
    graph = StateGraph(dict).add_node("first", lambda state: {"x": 0}).add_node("second", node)
    graph.add_edge(START, "first").add_edge("first", "second")
    runnable = graph.compile(InMemorySaver(), name="g")
    with contextlib.suppress(ValueError):
        await runnable.ainvoke({"x": 0}, {"configurable": {"thread_id": "1"}})
    spans = ["invoke_node first", "superstep", "invoke_node second", "superstep", "invoke_workflow g"]
    numbers = scene.tail.statistics()
    assert scene.spans.items == (spans if kept_by else [])
    assert numbers.kept == ({kept_by: 1} if kept_by else {})
    assert numbers.spans_kept + numbers.spans_dropped == 5
    assert numbers.logs_kept == len(scene.logs.items)
    # Every log event of the run went the way of its trace, those after the end of its span included.
    assert (numbers.logs_dropped if kept_by else numbers.logs_kept, numbers.held) == (0, 0)
    assert numbers.logs_kept + numbers.logs_dropped >= 2
