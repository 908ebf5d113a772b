"""Tail sampling's decisions as metrics."""

import pytest

from tests.otel_stream.sdk.tail_scene import Scene


@pytest.fixture
def scene():
    return Scene()


def test_decisions_are_counted_by_policy_and_items_by_what_became_of_them(scene):
    scene.trace("a", failed=True)
    root = scene.trace("b")
    scene.log("late", root)
    scene.start("open")
    scene.tracers.force_flush()
    scene.start("open, too")
    assert scene.metrics() == {
        ("otel_stream.tail_sampling.traces", "error", "keep"): 1,
        ("otel_stream.tail_sampling.traces", "drop", "none"): 1,
        ("otel_stream.tail_sampling.traces", "drop", "flush"): 1,
        ("otel_stream.tail_sampling.items", "keep", "traces"): 2,
        ("otel_stream.tail_sampling.items", "keep", "logs"): 1,
        ("otel_stream.tail_sampling.items", "drop", "traces"): 2,
        ("otel_stream.tail_sampling.items", "drop", "logs"): 2,
        ("otel_stream.tail_sampling.late", "drop", "traces"): 0,
        ("otel_stream.tail_sampling.late", "drop", "logs"): 1,
        ("otel_stream.tail_sampling.waiting",): 1,
    }


def test_broken_policies_are_counted_too(caplog):
    def broken(trace):
        raise KeyError("what?")

    scene = Scene(broken)
    scene.trace("a")
    assert scene.metrics()["otel_stream.tail_sampling.policy_failures", "broken"] == 1
