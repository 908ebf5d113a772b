"""Whoever leaves cancels once: what nodes await as they clean up is not cut off."""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

import anyio
import anyio.lowlevel
import pytest

from engine import START, ExecutionEngine, StateGraph, entrypoint, task
from tests.reading import UPDATES, by_ainvoke, by_astream, by_open_stream, by_the_engine, by_wait


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Ward:
    """Nodes that clean up when they are cancelled, and what they come to."""

    def __init__(self, nodes: int) -> None:
        self.begun: list[str] = []
        self.cleaned: list[str] = []
        self.all_in = asyncio.Event()
        self._nodes, self._in = nodes, 0

    async def clean_up(self, name: str) -> None:
        """Wait for the cancellation, then await things, as a rollback does."""
        self._in += 1
        if self._in == self._nodes:
            self.all_in.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.begun.append(name)
            for _ in range(20):
                await asyncio.sleep(0)
            self.cleaned.append(name)

    def node(self, name: str) -> Callable[[Any], Awaitable[None]]:
        async def node(state: Any) -> None:
            await self.clean_up(name)

        return node


async def before(state: State) -> State:
    return {"log": ["before"]}


def nodes(ward: Ward, *names: str) -> Any:
    graph = StateGraph(State).add_node("before", before).add_edge(START, "before")
    for name in names:
        graph.add_node(name, ward.node(name)).add_edge("before", name)
    return graph.compile()


def one() -> tuple[Ward, Any]:
    ward = Ward(1)
    return ward, nodes(ward, "a")


def two() -> tuple[Ward, Any]:
    ward = Ward(2)
    return ward, nodes(ward, "a", "b")


def inside() -> tuple[Ward, Any]:
    """Subgraphs: one as a node, one that a node calls."""
    ward = Ward(2)
    called = nodes(ward, "b")

    async def call(state: State) -> None:
        await called.ainvoke({})

    graph = StateGraph(State).add_node("sub", nodes(ward, "a")).add_node("call", call)
    return ward, graph.add_edge(START, "sub").add_edge(START, "call").compile()


def streamed_inside() -> tuple[Ward, Any]:
    ward = Ward(1)
    called = nodes(ward, "a")

    async def call(state: State) -> None:
        async for _ in called.astream({}):
            pass

    return ward, StateGraph(State).add_node("call", call).add_edge(START, "call").compile()


def tasks() -> tuple[Ward, Any]:
    ward = Ward(2)
    clean_up = task(ward.clean_up)

    @entrypoint()
    async def flow(value: Any) -> None:
        clean_up("a")
        await clean_up("b")

    return ward, flow


async def by_the_engines_run(graph: Any) -> None:
    run, _ = await ExecutionEngine().execute_with_stream(graph, {}, UPDATES)
    await run


async def in_a_scope(read: Awaitable[None], ward: Ward) -> None:
    """Leave as a Starlette response does when its client has gone."""
    async with anyio.create_task_group() as group:

        async def leave() -> None:
            await ward.all_in.wait()
            group.cancel_scope.cancel()

        group.start_soon(leave)
        await read


async def cancelled(read: Awaitable[None], ward: Ward) -> None:
    reading = asyncio.ensure_future(read)
    await ward.all_in.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def cancelled_again(read: Awaitable[None], ward: Ward) -> None:
    reading = asyncio.ensure_future(read)
    await ward.all_in.wait()
    for _ in range(5):
        reading.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await reading


READ = (by_astream, by_open_stream, by_wait, by_the_engine, by_the_engines_run)
LEAVE = (in_a_scope, cancelled, cancelled_again)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("made", [one, two, inside, streamed_inside, tasks])
@pytest.mark.parametrize("read", READ)
@pytest.mark.clause("S-END-3")
async def test_what_nodes_await_as_they_clean_up_is_done_when_the_reader_has_left(
    read: Any, made: Any, leave: Any
) -> None:
    ward, graph = made()
    await leave(read(graph), ward)
    assert (sorted(ward.cleaned), sorted(ward.begun)) == (sorted(ward.begun), ["a", "b"][: len(ward.begun)])
    assert ward.begun


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.clause("S-END-3")
async def test_so_it_is_for_nodes_side_by_side_without_a_stream(leave: Any) -> None:
    ward, graph = two()
    await leave(by_ainvoke(graph), ward)
    assert sorted(ward.cleaned) == ["a", "b"]


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("read", [*READ, by_ainvoke])
@pytest.mark.clause("S-END-3")
async def test_on_trio_what_nodes_shield_is_done_when_the_reader_has_left(read: Any) -> None:
    done: list[str] = []
    inside = anyio.Event()

    async def node(state: State) -> None:
        try:
            inside.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                done.append("a")

    graph = StateGraph(State).add_node("a", node).add_edge(START, "a").compile()
    async with anyio.create_task_group() as group:
        group.start_soon(read, graph)
        await inside.wait()
        group.cancel_scope.cancel()
    assert done == ["a"]
