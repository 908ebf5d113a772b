"""So many runs of one kind, and how much memory is kept: ``soak.py KIND FIRST COUNT`` prints KiB."""

import asyncio
import gc
import logging
import operator
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import StateGraph as LangGraphs
from langgraph.types import Command, RetryPolicy, interrupt

import otel_stream
from engine import START, ExecutionEngine, StateGraph
from otel_stream import StreamConfig
from otel_stream.adapters.langgraph import open_stream

CONFIG = StreamConfig(
    modes=("values", "updates", "tasks", "custom", "debug"), subgraphs=True, include_end=True
)


class State(TypedDict):
    n: Annotated[int, operator.add]


async def fine(state: Any, runtime: Any) -> dict[str, Any]:
    runtime.stream_writer({"n": state["n"]})
    return {"n": 1}


async def fails(state: Any) -> None:
    raise ValueError("x")


async def stays(state: Any, runtime: Any) -> None:
    runtime.stream_writer("here")
    await asyncio.sleep(3600)


def graph(node: Any) -> Any:
    return StateGraph(State).add_node("a", node).add_edge(START, "a").compile(name="g")


GRAPHS = {
    "short": graph(fine),
    "failing": graph(fails),
    "abandoned": graph(stays),
    "unread": graph(fine),
    "lasting": graph(fine),
    "subgraphs": graph(graph(fine)),
}
ENGINE = ExecutionEngine()


async def says(state: Any) -> dict[str, Any]:
    get_stream_writer()({"n": state["n"]})
    return {"n": 1}


async def asks(state: Any) -> dict[str, Any]:
    return {"n": interrupt("how many?")}


async def hangs(state: Any) -> None:
    get_stream_writer()("here")
    await asyncio.sleep(3600)


def langgraphs(node: Any, **compiled: Any) -> Any:
    policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2)
    builder: Any = LangGraphs(State).add_node("a", node, retry_policy=policy).add_edge(START, "a")
    return builder.compile(name="g", **compiled)


#: LangGraph's own, observed.
OBSERVED = {
    "langgraph": langgraphs(says),
    "langgraph-failing": langgraphs(fails),
    "langgraph-abandoned": langgraphs(hangs),
    "langgraph-subgraphs": langgraphs(langgraphs(says)),
}


async def observed(kind: str) -> None:
    """Run one of LangGraph's graphs: with a receiver, and as its own users do."""
    if kind == "langgraph-interrupted":
        # A saver keeps its threads, so each run has its own.
        graph, config = langgraphs(asks, checkpointer=InMemorySaver()), {"configurable": {"thread_id": "1"}}
        await graph.ainvoke({"n": 0}, config)
        await graph.ainvoke(Command(resume=1), config)
        return
    with suppress(ValueError):
        async with open_stream(OBSERVED[kind], {"n": 0}, CONFIG) as stream:
            async for part in stream:
                if kind == "langgraph-abandoned" and part.type == "custom":
                    return
    with suppress(ValueError):
        async for _ in OBSERVED[kind].astream({"n": 0}, stream_mode=["custom", "updates"]):
            if kind == "langgraph-abandoned":
                break


async def once(kind: str) -> None:
    """Run it, as people do."""
    if kind.startswith("langgraph"):
        await observed(kind)
        return
    if kind == "lasting":
        await ENGINE.execute(GRAPHS[kind], {"n": 0})
        return
    with suppress(ValueError):
        async with GRAPHS[kind].open_stream({"n": 0}, CONFIG) as stream:
            if kind == "unread":
                await stream.wait()
                return
            async for part in stream:
                if kind == "abandoned" and part.type == "custom":
                    break


def resident(handle: Any) -> int:
    """Return how much memory this process has, in KiB, once nothing waits to be exported."""
    handle.flush()
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


async def main(handle: Any, kind: str, first: int, count: int) -> None:
    """Print by how much memory has grown since the ``first`` runs: until then caches fill."""
    await ENGINE.stream(StreamConfig(modes="values", overflow="drop_oldest", buffer_size=8))
    for _ in range(first):
        await once(kind)
    before = resident(handle)
    for _ in range(count):
        await once(kind)
    print(resident(handle) - before)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        langgraph = sys.argv[1].startswith("langgraph")
        handle = otel_stream.configure("soak", path=f"{folder}/traces", langgraph=langgraph)
        asyncio.run(main(handle, sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        handle.shutdown()
