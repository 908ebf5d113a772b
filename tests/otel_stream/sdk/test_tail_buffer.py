"""Traces that wait: what is late, and what happens when time or memory runs out."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import (
    INVALID_SPAN,
    set_span_in_context,
)

from otel_stream.sdk.sampling.tail_buffer import Limits, TraceBuffer
from tests.otel_stream.sdk.tail_scene import Scene, remote


@pytest.fixture
def scene():
    return Scene()


# -- what comes late -------------------------------------------------------------------------------


@pytest.mark.parametrize("failed", [True, False])
def test_late_spans_and_logs_follow_the_decision(scene, failed):
    root = scene.start("root")
    late = scene.start("late", root)
    if failed:
        scene.fail(root)
    root.end()
    scene.log("late log", late)
    scene.fail(late)  # too late to count
    late.end()
    assert scene.kept == ((["root", "late"], ["late log"]) if failed else ([], []))
    assert scene.counts() == ((2, 0, 1, 0, 0) if failed else (0, 2, 0, 1, 0))
    assert scene.tail.statistics().late == 2


def test_a_dropped_trace_wants_no_more_log_records(scene):
    root = scene.start("root")
    context = set_span_in_context(root)
    assert scene.logger.enabled(context=context) is True
    root.end()
    assert scene.logger.enabled(context=context) is False
    assert scene.logger.enabled(context=set_span_in_context(INVALID_SPAN)) is True


def test_a_new_root_of_a_dropped_trace_is_decided_anew(scene):
    scene.start("first", remote()).end()
    second = scene.start("second", remote())
    assert scene.logger.enabled(context=set_span_in_context(second)) is True
    scene.fail(second)
    second.end()
    scene.start("third", remote()).end()  # of a trace that is kept by now
    assert scene.kept == (["second", "third"], [])
    assert scene.tail.statistics().causes == {"complete": 2}


def test_a_root_that_starts_while_its_trace_is_dropped_is_not_dropped_with_it():
    started = []

    def starts_another(trace):
        if not started:
            started.append(scene.start("second", remote()))
        return trace.root.name == "second"

    scene = Scene(starts_another)
    scene.start("first", remote()).end()
    assert scene.tail.statistics().traces == 1
    started[0].end()
    assert scene.kept == (["second"], [])


def test_decisions_are_remembered_up_to_a_number():
    scene = Scene(max_decisions=1, decision_wait=3600)
    lates = []
    for name in ("a", "b"):
        root = scene.start(name)
        lates.append(scene.start(f"late {name}", root))
        scene.fail(root)
        root.end()
    for late in lates:
        late.end()
    # Nobody knows of the first one any more, so it waits for its time.
    assert scene.kept == (["a", "b", "late b"], [])
    assert scene.counts() == (3, 0, 0, 0, 1)


# -- when time or memory runs out ------------------------------------------------------------------


def test_a_trace_that_takes_too_long_is_decided_by_what_is_known():
    scene = Scene(decision_wait=0.05)
    root = scene.start("root")
    child = scene.start("child", root)
    scene.fail(child)
    scene.log("log", child)
    child.end()
    assert scene.spans.wait_for("child")
    assert scene.logs.wait_for("log")
    assert scene.tail.statistics().causes == {"timeout": 1}
    root.end()
    assert scene.kept == (["child", "root"], ["log"])
    scene.tracers.shutdown()


def test_time_is_watched_again_after_it_was_quiet():
    scene = Scene(decision_wait=0.02)
    for name in ("a", "b", "c"):
        root = scene.start("root")
        child = scene.start(name, root)
        scene.fail(child)
        child.end()
        assert scene.spans.wait_for(*"abc"[: "abc".index(name) + 1])
    scene.tracers.shutdown()


def test_it_is_known_how_long_nothing_will_be_due():
    buffer = TraceBuffer(Limits(3600, 10, 10, 10, 10))
    assert buffer.expired() == ([], 3600)
    buffer.root_started(1, 1)
    claims, pause = buffer.expired()
    assert claims == []
    assert pause < 3600


def test_too_many_traces_are_decided_oldest_first():
    scene = Scene(max_traces=2)
    roots = [scene.start(f"root {n}") for n in range(4)]
    for number in (0, 2):
        child = scene.start(f"child {number}", roots[number])
        scene.fail(child)
        child.end()
    numbers = scene.tail.statistics()
    assert (numbers.causes, numbers.dropped, numbers.traces) == ({"full": 2}, 2, 2)
    for root in roots:
        root.end()
    # The first was decided before anything failed in it; the third was not.
    assert scene.kept == (["child 2", "root 2"], [])
    assert scene.counts() == (2, 4, 0, 0, 0)


def test_too_many_items_of_one_trace_are_decided_and_the_rest_follows():
    scene = Scene(max_items_per_trace=3)
    root = scene.start("root")
    scene.fail(first := scene.start("first", root))
    first.end()
    for number in range(4):
        scene.log(number, root)
    root.end()
    assert scene.kept == (["first", "root"], [0, 1, 2, 3])
    assert scene.tail.statistics().causes == {"full": 1}


@given(
    st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["log", "span", "error", "end"])), max_size=60),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_memory_is_bounded_and_every_item_is_accounted_for(moves, traces, items, per_trace):
    scene = Scene(max_traces=traces, max_items=items, max_items_per_trace=per_trace)
    roots = {}
    came = 0
    for number, what in moves:
        root = roots.get(number) or roots.setdefault(number, scene.start(str(number)))
        if what == "log":
            scene.log(f"log of {number}", root)
        elif what == "end":
            roots.pop(number).end()
        else:
            child = scene.start(f"{what} of {number}", root)
            if what == "error":
                scene.fail(child)
            child.end()
        came += 1
        numbers = scene.tail.statistics()
        assert numbers.held <= items
        assert numbers.traces <= traces
        assert sum(scene.counts()) == came
        assert (numbers.spans_kept, numbers.logs_kept) == tuple(map(len, scene.kept))
    for root in roots.values():
        root.end()
    assert sum(scene.counts()) == came + len(roots)
    assert scene.counts()[-1] == 0


def test_traces_of_many_threads_are_kept_whole_and_in_order():
    scene = Scene(max_items=200)

    def work(who):
        for number in range(100):
            scene.trace(f"{who} {number}", failed=number % 2 == 0)

    threads = [threading.Thread(target=work, args=(who,)) for who in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for who in "abcd":
        mine = [name for name in scene.kept[0] if name.startswith(who)]
        failed = [f"{who} {n} {part}" for n in range(0, 100, 2) for part in ("child", "root")]
        assert mine == failed
    assert scene.counts() == (400, 400, 200, 200, 0)
