"""The ways to read a run from its start to its end, for tests of what must hold whichever is used."""

from __future__ import annotations

from typing import Any

from engine import ExecutionEngine
from otel_stream import StreamConfig

UPDATES = StreamConfig(modes=("updates",))


async def by_ainvoke(graph: Any) -> None:
    await graph.ainvoke({})


async def by_astream(graph: Any) -> None:
    async for _ in graph.astream({}):
        pass


async def by_open_stream(graph: Any) -> None:
    async with graph.open_stream({}, UPDATES) as stream:
        async for _ in stream:
            pass


async def by_wait(graph: Any) -> None:
    async with graph.open_stream({}, UPDATES) as stream:
        await stream.wait()


async def by_the_engine(graph: Any) -> None:
    await ExecutionEngine().execute(graph, {})


async def by_the_engines_receiver(graph: Any) -> None:
    _, receiver = await ExecutionEngine().execute_with_stream(graph, {}, UPDATES)
    async for _ in receiver:
        pass


def by_invoke(graph: Any) -> None:
    graph.invoke({})


def by_stream(graph: Any) -> None:
    list(graph.stream({}))


def by_live_stream(graph: Any) -> None:
    list(graph.stream({}, stream_mode=["custom", "updates"]))


def by_open_stream_in_a_thread(graph: Any) -> None:
    with graph.open_stream({}, UPDATES) as stream:
        list(stream)
