"""A thousand runs at once, each with somebody who watches it.

``python -m benchmarks.cases.concurrent SIDE`` prints how much memory one of them takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.case import Comparison, sized
from benchmarks.cases.superstep import State, counting
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop
from benchmarks.process import Growth, apart
from otel_stream import StreamConfig

RUNS = 1_000
STEPS = 5


def _watched(library: Library, graph: Any) -> Callable[[], Coroutine[Any, Any, int]]:
    """Return a function that runs ``graph`` once and counts the parts of *updates*."""
    config = StreamConfig(modes="updates")

    async def ours() -> int:
        parts = 0
        async with graph.open_stream({"n": 0}, config) as stream:
            async for _ in stream:
                parts += 1
        return parts

    async def theirs() -> int:
        parts = 0
        async for _ in graph.astream({"n": 0}, UNLIMITED, stream_mode="updates"):
            parts += 1
        return parts

    return ours if library is OURS else theirs


def _all_at_once(library: Library) -> Callable[[], None]:
    runs, watch = sized(RUNS), _watched(library, counting(library, steps=STEPS))

    async def run() -> None:
        parts = await asyncio.gather(*(watch() for _ in range(runs)))
        expect("parts", sum(parts), runs * STEPS)

    return on_loop(run)


def supersteps() -> Comparison:
    """Compare ``open_stream`` with LangGraph's ``astream``."""
    return Comparison(
        name="runs-1000",
        title=f"{RUNS:,} runs at once with a receiver of updates each; LangGraph: astream",
        unit="superstep",
        count=sized(RUNS) * STEPS,
        ours=_all_at_once(OURS),
        theirs=_all_at_once(LANGGRAPH),
    )


async def _kilobytes(library: Library) -> float:
    """Return by how much the process has grown for each run, when all of them are in their node."""
    inside, growth = 0, Growth()
    runs, everybody = 1, asyncio.Event()

    async def meet(state: State) -> State:
        nonlocal inside
        inside += 1
        if inside == runs:
            growth.look()
            everybody.set()
        await everybody.wait()
        return {"n": state["n"] + 1}

    builder = library.StateGraph(State)
    builder.add_node("meet", meet)
    builder.add_edge(library.START, "meet")
    builder.add_edge("meet", library.END)
    watch = _watched(library, builder.compile())
    await watch()  # so that nothing is done for the first time
    inside, growth, runs, everybody = 0, Growth(), sized(RUNS), asyncio.Event()
    expect("parts", await asyncio.gather(*(watch() for _ in range(runs))), [1] * runs)
    return growth.most / runs * 1e3


def memory() -> Comparison:
    """Compare how much memory a run takes."""

    def grown(side: str) -> Callable[[], float]:
        return lambda: float(apart("benchmarks.cases.concurrent", side)["kb"])

    return Comparison(
        name="runs-memory",
        title=f"{RUNS:,} runs at once with a receiver each, all in their node",
        unit="run",
        count=sized(RUNS),
        quantity="KB",
        ours=grown("ours"),
        theirs=grown("langgraph"),
    )


if __name__ == "__main__":
    kilobytes = asyncio.run(_kilobytes(OURS if sys.argv[1] == "ours" else LANGGRAPH))
    print(json.dumps({"kb": kilobytes}))
