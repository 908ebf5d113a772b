"""Nodes side by side: really at once, never in each other's way, and gone when the run is.

Nobody sleeps here to wait for somebody else: nodes meet at events, and a test that hangs has failed.
"""

import asyncio
import contextlib
import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
import trio

from engine import END, START, Send, StateGraph, StreamWriter
from engine.executors import cancellation
from otel_stream import events as e
from otel_stream.config import Custom, StreamConfig
from tests.engine.recorder import record, unbalanced

on_an_event_loop = pytest.mark.parametrize("world", ["asyncio", "trio"])


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def side_by_side(**nodes: Any) -> Any:
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph.compile(name="g")


def packets(node: Any, count: int) -> Any:
    graph = StateGraph(State).add_node("a", node)
    graph.add_conditional_edges(START, lambda state: [Send("a", number) for number in range(count)], ["a"])
    return graph.compile(name="g")


def living(backend: str) -> int:
    """Return how many tasks the event loop has."""
    if backend == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def engine_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("engine")]


@contextlib.contextmanager
def nothing_left(backend: str) -> Any:
    """Check that the event loop and the process are left as they were found."""
    tasks, threads = living(backend), engine_threads()
    yield
    assert living(backend) == tasks
    assert engine_threads() == threads


class Crowd:
    """Counts who is inside at once, and lets everybody go when ``wanted`` are."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.inside = 0
        self.most = 0
        self.enough = anyio.Event()

    async def __call__(self, state: Any) -> dict[str, Any]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == self.wanted:
            self.enough.set()
        await self.enough.wait()
        await anyio.lowlevel.checkpoint()
        self.inside -= 1
        return {"log": [1]}


# -- at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 50])
async def test_async_nodes_of_one_superstep_run_at_once(count: int, anyio_backend_name: str) -> None:
    crowd = Crowd(count)
    with nothing_left(anyio_backend_name):
        assert await packets(crowd, count).ainvoke({}) == {"log": [1] * count}
    assert crowd.most == count


@pytest.mark.parametrize("world", ["asyncio", "trio", "threads"])
def test_sync_nodes_of_one_superstep_run_at_once(world: str) -> None:
    barrier = threading.Barrier(4, timeout=30)

    def node(state: Any) -> dict[str, Any]:
        barrier.wait()
        return {"log": [1]}

    _, loop = record(packets(node, 4), {}, {"max_concurrency": 4}, world=world)
    assert loop.result == {"log": [1] * 4}
    assert engine_threads() == []


async def test_a_sync_node_never_blocks_the_event_loop() -> None:
    """The node waits, in its thread, for what only a task of the event loop can do."""
    reached, ticked = threading.Event(), threading.Event()
    ticks = 0

    def node(state: Any) -> dict[str, Any]:
        reached.set()
        assert ticked.wait(30)
        return {"log": ["done"]}

    async def tick() -> None:
        nonlocal ticks
        while not reached.is_set() or ticks < 10:
            ticks += 1
            await anyio.lowlevel.checkpoint()
        ticked.set()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        assert await side_by_side(a=node).ainvoke({}) == {"log": ["done"]}
    assert ticks >= 10


async def test_sync_nodes_may_call_back_into_the_event_loop() -> None:
    async def answer() -> str:
        return "from the loop"

    def node(state: Any) -> dict[str, Any]:
        return {"log": [anyio.from_thread.run(answer)]}

    assert await side_by_side(a=node, b=node).ainvoke({}) == {"log": ["from the loop"] * 2}


@pytest.mark.parametrize("quick", [False, True])
async def test_a_sync_router_runs_in_a_thread_each_time_unless_declared_quick(quick: bool) -> None:
    here, places = threading.get_ident(), []

    def route(state: Any) -> str:
        places.append(threading.get_ident() == here)
        return "a" if len(places) < 3 else END

    builder = (
        StateGraph(State)
        .add_node("a", lambda state: {"log": ["a"]})
        .set_conditional_entry_point(route, quick=quick)
    )
    builder.add_conditional_edges("a", route, quick=quick)
    assert await builder.compile().ainvoke({"log": []}) == {"log": ["a", "a"]}
    assert places == [quick] * 3


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_no_more_than_max_concurrency_nodes_are_active(limit: int) -> None:
    crowd = Crowd(limit)
    config = {"max_concurrency": limit}
    assert await packets(crowd, 12).ainvoke({}, config) == {"log": [1] * 12}
    assert crowd.most == limit


def test_without_an_event_loop_the_limit_is_the_number_of_threads() -> None:
    lock, inside, most = threading.Lock(), 0, 0
    full = threading.Event()

    def node(state: Any) -> dict[str, Any]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 3:
                full.set()
        assert full.wait(30)
        with lock:
            inside -= 1
        return {"log": [1]}

    assert packets(node, 12).invoke({}, {"max_concurrency": 3}) == {"log": [1] * 12}
    assert most == 3


async def _through_ainvoke(graph: Any, config: Any) -> None:
    await graph.ainvoke({}, config)


async def _through_astream(graph: Any, config: Any) -> None:
    _ = [part async for part in graph.astream({}, config)]


async def _through_open_stream(graph: Any, config: Any) -> None:
    async with graph.open_stream({}, config=config) as stream:
        await stream.wait()


@pytest.mark.parametrize("way", [_through_ainvoke, _through_astream, _through_open_stream])
@pytest.mark.parametrize("given", ["with the run", "with the graph", "by the run around it"])
async def test_a_limit_counts_wherever_it_comes_from(way: Callable[..., Any], given: str) -> None:
    crowd = Crowd(2)
    graph = packets(crowd, 8)
    limit = {"max_concurrency": 2}
    if given == "with the run":
        await way(graph, limit)
    elif given == "with the graph":
        await way(graph.with_config(limit), None)
    else:
        await way(side_by_side(sub=graph), limit)
    assert crowd.most == 2


# -- the end ---------------------------------------------------------------------------------------


class Waiter:
    """A node that waits for ever, and counts who came and who was sent away."""

    def __init__(self) -> None:
        self.here = anyio.Event()
        self.came = self.left = 0
        self.expected = 1

    async def __call__(self, state: Any) -> None:
        self.came += 1
        if self.came == self.expected:
            self.here.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.left += 1


@pytest.mark.parametrize("count", [1, 3])
async def test_a_cancelled_run_takes_its_nodes_with_it(count: int, anyio_backend_name: str) -> None:
    waiter = Waiter()
    waiter.expected = count
    with nothing_left(anyio_backend_name):
        async with anyio.create_task_group() as group:
            group.start_soon(packets(waiter, count).ainvoke, {})
            await waiter.here.wait()
            group.cancel_scope.cancel()
        assert (waiter.came, waiter.left) == (count, count)


async def test_a_run_in_a_subgraph_goes_with_the_run_around_it(anyio_backend_name: str) -> None:
    waiter = Waiter()
    with nothing_left(anyio_backend_name):
        async with anyio.create_task_group() as group:
            group.start_soon(side_by_side(sub=side_by_side(a=waiter)).ainvoke, {})
            await waiter.here.wait()
            group.cancel_scope.cancel()
        assert waiter.left == 1


async def test_a_failure_cancels_its_siblings_before_it_is_raised(anyio_backend_name: str) -> None:
    waiter = Waiter()

    async def fail(state: Any) -> None:
        await waiter.here.wait()
        raise ValueError("kaboom")

    with nothing_left(anyio_backend_name):
        with pytest.raises(ValueError, match="kaboom"):
            await side_by_side(a=waiter, b=fail).ainvoke({})
        assert waiter.left == 1


async def test_a_sync_node_is_left_behind_by_a_cancelled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread can't be stopped: who cancels waits for it a moment, and what it writes reaches nobody."""
    monkeypatch.setattr(cancellation, "THREAD_GRACE", 0.01)
    reached, let_go, ended = threading.Event(), threading.Event(), threading.Event()
    seen: list[Any] = []

    def node(state: Any, writer: StreamWriter) -> None:
        reached.set()
        assert let_go.wait(30)
        writer("too late")
        ended.set()

    mode = Custom(lambda event: seen.append(type(event).__name__), "all")
    async with side_by_side(a=node).open_stream({}, StreamConfig(modes=mode)) as stream:
        await anyio.to_thread.run_sync(reached.wait)
    assert stream.end is e.End.ABANDONED
    let_go.set()
    await anyio.to_thread.run_sync(ended.wait)
    assert seen[-1] == "RunEnded"
    assert "CustomWritten" not in seen


@pytest.mark.parametrize("leave", ["break", "error", "aclose"])
async def test_who_leaves_astream_early_leaves_nothing_behind(leave: str, anyio_backend_name: str) -> None:
    waiter = Waiter()
    graph = StateGraph(State).add_node("a", lambda state: None).add_node("b", waiter).add_node("c", waiter)
    graph.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c")
    with nothing_left(anyio_backend_name):
        parts = graph.compile().astream({}, stream_mode=["tasks", "updates"])
        with contextlib.suppress(KeyError):
            async with contextlib.aclosing(parts):
                async for mode, data in parts:
                    if mode == "tasks" and data["name"] == "c":
                        if leave == "error":
                            raise KeyError("mine")
                        if leave == "aclose":
                            await parts.aclose()
                        break
        assert waiter.came == waiter.left


@pytest.mark.parametrize("leave", ["break", "error", "aclose"])
async def test_who_leaves_a_stream_early_leaves_nothing_behind(leave: str, anyio_backend_name: str) -> None:
    waiter = Waiter()
    with nothing_left(anyio_backend_name):
        with contextlib.suppress(KeyError):
            async with side_by_side(a=waiter).open_stream({}, StreamConfig(modes="tasks")) as stream:
                async for _ in stream:
                    await waiter.here.wait()
                    if leave == "error":
                        raise KeyError("mine")
                    if leave == "aclose":
                        await stream.aclose()
                    break
        assert stream.end is e.End.ABANDONED
        assert (waiter.came, waiter.left) == (1, 1)


async def test_a_consumer_that_is_cancelled_takes_the_run_with_it(anyio_backend_name: str) -> None:
    waiter = Waiter()

    async def consume() -> None:
        async with side_by_side(a=waiter).open_stream({}, StreamConfig(modes="updates")) as stream:
            async for _ in stream:
                pass

    with nothing_left(anyio_backend_name):
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await waiter.here.wait()
            group.cancel_scope.cancel()
        assert waiter.left == 1


async def test_nodes_may_clean_up_with_an_await_when_they_are_cancelled(anyio_backend_name: str) -> None:
    cleaned: list[str] = []
    here = anyio.Event()

    async def node(state: Any) -> None:
        here.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                cleaned.append("a")

    with nothing_left(anyio_backend_name):
        async with side_by_side(a=node, b=node).open_stream({}, StreamConfig(modes="updates")):
            await here.wait()
    assert cleaned == ["a"] * len(cleaned) != []


@pytest.mark.parametrize("modes", ["updates", ["updates", "custom"]])
def test_who_leaves_stream_early_leaves_no_thread_behind(modes: Any) -> None:
    graph = StateGraph(State)
    for name in ("a", "b"):
        graph.add_node(name, lambda state: None).add_edge(START, name)
    graph.add_node("c", lambda state: None).add_edge(["a", "b"], "c")
    parts = graph.compile().stream({}, stream_mode=modes)
    next(parts)
    parts.close()
    assert engine_threads() == []


@on_an_event_loop
def test_a_node_may_cancel_itself_without_taking_the_world_with_it(world: str) -> None:
    async def node(state: Any) -> dict[str, Any]:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        return {"log": ["still here"]}

    recorder, loop = record(side_by_side(a=node, b=node), {}, world=world)
    assert (loop.result, unbalanced(recorder.events)) == ({"log": ["still here"] * 2}, [])


def test_two_runs_at_once_do_not_mix() -> None:
    met = threading.Barrier(2, timeout=30)

    def node(state: Any) -> dict[str, Any]:
        met.wait()
        return {"log": [threading.current_thread().name]}

    graph = side_by_side(a=node)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(graph.invoke({}))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(result["log"]) for result in results] == [1, 1]
    assert results[0] != results[1]


async def test_many_runs_of_one_graph_share_nothing() -> None:
    crowd = Crowd(10)
    graph = side_by_side(a=crowd)
    results: list[Any] = []

    async def run(number: int) -> None:
        results.append(await graph.ainvoke({"log": [number]}))

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(run, number)
    assert sorted(result["log"] for result in results) == [[number, 1] for number in range(10)]
