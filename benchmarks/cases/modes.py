"""The same loop with all seven modes: natively into one receiver, and pulled as LangGraph's are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.case import Comparison, Goal
from benchmarks.cases.superstep import STEPS, counting
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop
from otel_stream import StreamConfig
from otel_stream.config import MODES

#: What each superstep makes: updates, values, a start and a result in tasks, and both again in debug.
PER_STEP = 6


def watched() -> Callable[[], Coroutine[Any, Any, None]]:
    """Return a function that runs our loop once, with a receiver of all modes."""
    graph = counting(OURS)
    config = StreamConfig(modes=MODES)

    async def run() -> None:
        parts = 0
        async with graph.open_stream({"n": 0}, config, config=UNLIMITED) as stream:
            async for _ in stream:
                parts += 1
        expect("parts", parts, PER_STEP * STEPS + 1)
        expect("supersteps", stream.result, {"n": STEPS})

    return run


def pulled(library: Library) -> Any:
    """Return a function that runs the loop once with ``astream``."""
    graph = counting(library)

    async def run() -> None:
        parts = 0
        async for _ in graph.astream({"n": 0}, UNLIMITED, stream_mode=list(MODES)):
            parts += 1
        expect("parts", parts, PER_STEP * STEPS + 1)

    return on_loop(run)


def open_stream() -> Comparison:
    """Compare ``open_stream`` with LangGraph's ``astream``."""
    return Comparison(
        name="all-modes",
        title="all modes to one receiver of open_stream; LangGraph: astream",
        unit="superstep",
        count=STEPS,
        ours=on_loop(watched()),
        theirs=pulled(LANGGRAPH),
        goal=Goal(aim=1 / 30),
    )


def astream() -> Comparison:
    """Compare ``astream`` with ``astream``."""
    return Comparison(
        name="all-modes-astream",
        title="all modes through astream",
        unit="superstep",
        count=STEPS,
        ours=pulled(OURS),
        theirs=pulled(LANGGRAPH),
    )
