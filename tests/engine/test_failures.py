"""Several nodes of one superstep fail: which of them is raised does not depend on which was faster."""

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from engine import Command, InMemorySaver, RetryPolicy, Runtime, interrupt, siblings_of
from engine.run.loop import RunLoop
from otel_stream import events as e
from tests.engine.recorder import WORLDS, Recorder, record, unbalanced
from tests.engine.samples import side_by_side, sub, thread

LOOPS = ("asyncio", "trio")
NAMES = "abcd"


def at_a_barrier(count: int) -> Callable[[Exception], Any]:
    """Return what makes sync nodes that fail once they all run, in whatever order the threads wake up."""
    barrier = threading.Barrier(count)

    def failing(error: Exception) -> Any:
        def fail(state: Any) -> None:
            barrier.wait(30)
            raise error

        return fail

    return failing


def reported(recorder: Recorder) -> list[tuple[str, str]]:
    """Return the ends of tasks by name; the events must be in pairs."""
    assert unbalanced(recorder.events) == []
    return sorted(recorder.task_ends())


@pytest.mark.clause("S-ERR-3")
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["plain", "saved"])
def test_of_sync_nodes_that_fail_at_once_the_first_is_raised_and_carries_the_others(
    world: str, saver: Any
) -> None:
    for _ in range(20):
        errors = [ValueError(name) for name in NAMES]
        failing = at_a_barrier(len(NAMES))
        nodes = {name: failing(error) for name, error in zip(NAMES, errors, strict=True)}
        graph = side_by_side(checkpointer=saver and saver(), **nodes)
        recorder, loop = record(graph, {}, thread(), world=world)
        assert loop.error is errors[0]
        assert siblings_of(errors[0]) == tuple(errors[1:])
        assert reported(recorder) == [(name, "error") for name in NAMES]


@pytest.mark.clause("S-ERR-3")
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("limit", [None, 2], ids=["all at once", "two at once"])
def test_of_sync_nodes_that_fail_without_waiting_the_first_is_raised(world: str, limit: int | None) -> None:
    def fails(name: str) -> Any:
        def fail(state: Any) -> None:
            raise ValueError(name)

        return fail

    for _ in range(50):
        graph = side_by_side(**{name: fails(name) for name in NAMES})
        config = {} if limit is None else {"max_concurrency": limit}
        _, loop = record(graph, {}, config, world=world)
        assert str(loop.error) == "a"


@pytest.mark.parametrize("world", LOOPS)
def test_of_sync_nodes_in_subgraphs_that_fail_at_once_the_first_is_raised(world: str) -> None:
    for _ in range(10):
        errors = ValueError("a"), ValueError("b")
        failing = at_a_barrier(2)
        recorder, loop = record(
            side_by_side(a=sub(i=failing(errors[0])), b=sub(i=failing(errors[1]))), {}, world=world
        )
        assert loop.error is errors[0]
        assert siblings_of(errors[0]) == (errors[1],)
        assert reported(recorder) == [("a", "error"), ("b", "error"), ("i", "error"), ("i", "error")]


class Boom:
    """Fails once the others say that they are there."""

    def __init__(self) -> None:
        self.here = threading.Event()

    def sync(self, state: Any) -> None:
        assert self.here.wait(30)
        raise ValueError("b")

    async def waiting(self, state: Any) -> None:
        assert await anyio.to_thread.run_sync(self.here.wait, 30)
        raise ValueError("b")


@pytest.mark.clause("S-ERR-3")
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["plain", "saved"])
def test_a_sync_node_that_fails_when_it_is_told_to_stop_has_failed_too(world: str, saver: Any) -> None:
    boom, own = Boom(), KeyError("half done")

    def asks(state: Any, runtime: Runtime) -> None:
        boom.here.set()
        while not runtime.cancelled:
            threading.Event().wait(0.001)
        raise own

    graph = side_by_side(checkpointer=saver and saver(), a=asks, b=boom.sync)
    recorder, loop = record(graph, {}, thread(), world=world)
    assert loop.error is own
    assert [str(one) for one in siblings_of(own)] == ["b"]
    assert reported(recorder) == [("a", "error"), ("b", "error")]


@pytest.mark.clause("S-ERR-3")
@pytest.mark.parametrize("world", LOOPS)
@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["plain", "saved"])
@pytest.mark.parametrize("deep", [False, True], ids=["a node", "a subgraph"])
def test_an_async_node_that_fails_when_it_is_cancelled_has_failed_too(
    world: str, saver: Any, deep: bool
) -> None:
    boom, own = Boom(), KeyError("half done")

    async def cleans_up(state: Any) -> None:
        boom.here.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise own

    first = sub(i=cleans_up) if deep else cleans_up
    graph = side_by_side(checkpointer=saver and saver(), a=first, b=boom.waiting)
    recorder, loop = record(graph, {}, thread(), world=world)
    assert loop.error is own
    assert [str(one) for one in siblings_of(own)] == ["b"]
    assert [one for one in reported(recorder) if one[0] != "i"] == [("a", "error"), ("b", "error")]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("bubbles", ["asks", "commands"])
def test_a_node_that_asks_or_commands_while_another_fails_has_not_failed(world: str, bubbles: str) -> None:
    for _ in range(10):
        barrier, error = threading.Barrier(2), ValueError("b")

        def bubble(state: Any, barrier: Any = barrier) -> Any:
            barrier.wait(30)
            if bubbles == "asks":
                return interrupt("?")
            return Command(graph=Command.PARENT, goto="z")

        def fail(state: Any, barrier: Any = barrier, error: Any = error) -> None:
            barrier.wait(30)
            raise error

        inner = side_by_side(a=bubble, b=fail)
        recorder, loop = record(
            side_by_side(sub=inner, checkpointer=InMemorySaver()), {}, thread(), world=world
        )
        assert loop.error is error
        assert siblings_of(error) == ()
        assert [end for end in reported(recorder) if end[0] == "b"] == [("b", "error")]


@pytest.mark.parametrize("world", LOOPS)
def test_a_node_that_is_only_cancelled_has_not_failed(world: str) -> None:
    boom = Boom()

    async def waits(state: Any) -> None:
        boom.here.set()
        await anyio.sleep_forever()

    recorder, loop = record(side_by_side(a=waits, b=boom.waiting), {}, world=world)
    assert str(loop.error) == "b"
    assert loop.error is not None
    assert siblings_of(loop.error) == ()
    assert reported(recorder) == [("a", "cancelled"), ("b", "error")]


@pytest.mark.parametrize("world", WORLDS)
def test_a_node_that_would_be_tried_again_is_not_when_another_has_failed(world: str) -> None:
    policy = RetryPolicy(initial_interval=3600, jitter=False, retry_on=ValueError)
    errors = ValueError("a"), ValueError("b")
    failing = at_a_barrier(2)
    graph = side_by_side(a=(failing(errors[0]), {"retry_policy": policy}), b=failing(errors[1]))
    recorder, loop = record(graph, {}, world=world)
    assert loop.error is errors[0]
    assert siblings_of(errors[0]) == (errors[1],)
    assert [one.attempt for one in recorder.of(e.AttemptStarted)] == [1, 1]
    assert reported(recorder) == [("a", "error"), ("b", "error")]


@pytest.mark.parametrize("world", WORLDS)
def test_a_node_behind_one_that_failed_never_begins(world: str) -> None:
    ran: list[str] = []

    def fails(state: Any) -> None:
        ran.append("a")
        raise ValueError("a")

    graph = side_by_side(a=fails, b=lambda state: ran.append("b"), c=lambda state: ran.append("c"))
    _, loop = record(graph, {}, {"max_concurrency": 1}, world=world)
    assert str(loop.error) == "a"
    assert ran == ["a"]


@pytest.mark.parametrize("world", WORLDS)
def test_the_first_of_several_failures_is_the_error_of_the_run(world: str) -> None:
    errors = ValueError("a"), OSError("b")
    failing = at_a_barrier(2)
    recorder, loop = record(side_by_side(a=failing(errors[0]), b=failing(errors[1])), {}, world=world)
    assert isinstance(loop, RunLoop)
    assert [one.error for one in recorder.of(e.RunEnded)] == [errors[0]]
    assert [one.end for one in recorder.of(e.SuperstepEnded)] == [e.End.ERROR]
