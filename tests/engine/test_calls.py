"""Functional tasks that run beside their callers: how many, in which context, and that each has an end."""

import threading
from contextvars import ContextVar
from typing import Any, TypedDict

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from engine import START, StateGraph, entrypoint, task
from otel_stream.events import TaskEnded, TaskStarted
from otel_stream.runs import End
from tests.engine.recorder import record, unbalanced

LOOPS = ("asyncio", "trio")
#: Where the entrypoint runs, and where its tasks do: on the event loop, in a thread of it, or without one.
WAYS = [
    (world, outer, inner) for world in LOOPS for outer in ("async", "sync") for inner in ("async", "sync")
] + [("threads", "sync", "sync")]


class Meter:
    """Counts who is in it at once; ``crowd`` opens once so many are."""

    def __init__(self, crowd: int) -> None:
        self.now = self.most = 0
        self._crowd = crowd
        self._lock = threading.Lock()
        self._full = threading.Event()

    def enter(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now >= self._crowd:
                self._full.set()

    def leave(self) -> None:
        with self._lock:
            self.now -= 1

    def stay(self) -> None:
        """Be in it until it has been full once."""
        self.enter()
        self._full.wait(10)
        self.leave()

    async def astay(self) -> None:
        self.enter()
        while not self._full.is_set():
            await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        self.leave()


def flow(outer: str, call: Any, count: int) -> Any:
    """An entrypoint that calls ``call`` so many times, and waits for the last one first."""
    if outer == "sync":

        def sync_main(x: int) -> list[Any]:
            futures = [call(n) for n in range(count)]
            return [future.result() for future in reversed(futures)]

        return entrypoint()(sync_main)

    async def main(x: int) -> list[Any]:
        futures = [call(n) for n in range(count)]
        return [await future for future in reversed(futures)]

    return entrypoint()(main)


def staying(meter: Meter, inner: str) -> Any:
    @task
    def work(n: int) -> int:
        meter.stay()
        return n

    @task
    async def awork(n: int) -> int:
        await meter.astay()
        return n

    return work if inner == "sync" else awork


@pytest.mark.parametrize(("world", "outer", "inner"), WAYS)
def test_no_more_than_max_concurrency_tasks_run_at_once(world: str, outer: str, inner: str) -> None:
    meter = Meter(3)
    recorder, loop = record(flow(outer, staying(meter, inner), 8), 1, {"max_concurrency": 3}, world=world)
    assert loop.result == list(reversed(range(8)))
    assert meter.most == 3
    assert unbalanced(recorder.events) == []


@pytest.mark.parametrize(("world", "outer", "inner"), WAYS)
@pytest.mark.parametrize("limit", [1, 2])
def test_who_waits_for_tasks_keeps_no_place_from_them(limit: int, world: str, outer: str, inner: str) -> None:
    meter = Meter(limit)
    leaf = staying(meter, inner)

    @task
    def middle(n: int) -> list[int]:
        return [future.result() for future in [leaf(n), leaf(n + 1)]]

    @task
    async def amiddle(n: int) -> list[int]:
        return [await future for future in [leaf(n), leaf(n + 1)]]

    main = flow(outer, middle if inner == "sync" else amiddle, 4)
    recorder, loop = record(main, 1, {"max_concurrency": limit}, world=world)
    assert loop.result == [[n, n + 1] for n in reversed(range(4))]
    assert meter.most == limit
    assert unbalanced(recorder.events) == []


class Empty(TypedDict, total=False):
    pass


@pytest.mark.parametrize("world", LOOPS)
def test_nodes_and_the_tasks_that_they_call_share_the_places(world: str) -> None:
    meter = Meter(2)
    leaf = staying(meter, "async")

    async def node(state: Empty) -> None:
        await leaf(1)

    graph = StateGraph(Empty)
    for name in "abcd":
        graph.add_node(name, node).add_edge(START, name)
    recorder, loop = record(graph.compile(), {}, {"max_concurrency": 2}, world=world)
    assert (loop.end, meter.most) == (End.OK, 2)
    assert unbalanced(recorder.events) == []


def ends(recorder: Any) -> tuple[list[str], list[tuple[str, str]]]:
    return (
        sorted(event.task.node for event in recorder.of(TaskStarted)),
        sorted((event.task.node, event.end.value) for event in recorder.of(TaskEnded)),
    )


@pytest.mark.parametrize(("world", "outer", "inner"), WAYS)
@pytest.mark.parametrize("limit", [None, 1])
def test_a_task_that_is_cancelled_before_its_first_step_ends(
    world: str, outer: str, inner: str, limit: int | None
) -> None:
    @task
    def work(n: int) -> None:
        pass

    @task
    async def awork(n: int) -> None:
        pass

    call = work if inner == "sync" else awork

    def main(x: int) -> None:
        call(1), call(2)
        raise ValueError("boom")

    async def amain(x: int) -> None:
        main(x)

    graph = entrypoint()(main if outer == "sync" else amain)
    recorder, loop = record(graph, 1, {"max_concurrency": limit}, world=world)
    assert str(loop.error) == "boom"
    started, ended = ends(recorder)
    assert [node for node, _ in ended] == started
    assert unbalanced(recorder.events) == []


@pytest.mark.parametrize("outer", ["async", "sync"])
async def test_tasks_do_not_outlive_a_run_that_is_cancelled(outer: str, anyio_backend: str) -> None:
    begun, over = anyio.Event(), []

    @task
    async def forever(n: int) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            over.append(n)

    def main(x: int) -> None:
        forever(1)

    async def amain(x: int) -> None:
        forever(1), forever(2)

    graph = entrypoint()(main if outer == "sync" else amain)
    async with anyio.create_task_group() as group:
        group.start_soon(graph.ainvoke, 1)
        await begun.wait()
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert sorted(over) == ([1] if outer == "sync" else [1, 2])


WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.mark.parametrize(("world", "outer", "inner"), WAYS)
def test_what_its_caller_has_set_is_there_in_the_task_and_nothing_comes_back(
    world: str, outer: str, inner: str
) -> None:
    @task
    def work(n: int) -> str:
        found = WHO.get()
        WHO.set("the task")
        return found

    @task
    async def awork(n: int) -> str:
        return work.func(n)

    call = work if inner == "sync" else awork

    def main(x: int) -> list[str]:
        WHO.set("the caller")
        return [call(1).result(), WHO.get()]

    async def amain(x: int) -> list[str]:
        WHO.set("the caller")
        return [await call(1), WHO.get()]

    _, loop = record(entrypoint()(main if outer == "sync" else amain), 1, world=world)
    assert loop.result == ["the caller", "the caller"]
