"""Abandoned streams do not add up. ABANDONED=10000 in the environment makes it ten thousand of them."""

import gc
import os
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine import ExecutionEngine, StreamWriter
from otel_stream.config import StreamConfig
from tests.engine.samples import compiled, side_by_side, sub
from tests.lifecycle.scene import living

COUNT = int(os.environ.get("ABANDONED", "500"))
CONFIG = StreamConfig(modes=["custom", "updates"], subgraphs=True)


async def talks_for_ever(state: Any, writer: StreamWriter) -> None:
    writer("x" * 100)
    await anyio.sleep_forever()


async def by_leaving(graph: Any) -> None:
    async with graph.open_stream({"log": []}, CONFIG) as stream:
        await anext(stream.receivers[0])


async def by_losing_astream(graph: Any) -> None:
    parts = graph.astream({"log": []}, stream_mode="custom", subgraphs=True)
    await anext(parts)


async def by_losing_the_run(graph: Any) -> None:
    """The run has nothing to wait for, and ends by itself."""

    async def talks(state: Any, writer: StreamWriter) -> None:
        writer("x" * 100)

    chatty = compiled(a=talks)
    await ExecutionEngine().execute_with_stream(chatty, {"log": []}, CONFIG)


async def many(way: Any, graph: Any, count: int, backend: str, tasks: int) -> int:
    """Abandon so many streams; return how many objects there are when all is over."""
    for _ in range(count):
        await way(graph)
    while living(backend) != tasks:
        gc.collect()
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.clause("S-END-7")
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@pytest.mark.parametrize("way", [by_leaving, by_losing_astream, by_losing_the_run])
async def test_abandoned_streams_leave_memory_flat(way: Any, anyio_backend_name: str) -> None:
    graph = side_by_side(a=talks_for_ever, b=sub(i=talks_for_ever))
    tasks = living(anyio_backend_name)
    before = await many(way, graph, 20, anyio_backend_name, tasks)
    after = await many(way, graph, COUNT, anyio_backend_name, tasks)
    assert after - before < COUNT  # not even one object for each
