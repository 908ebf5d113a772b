"""From write to receipt, by the clock: while a node awaits between writes, and while it never does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from statistics import quantiles
from threading import Thread
from typing import Any

from benchmarks.case import Comparison, sized
from benchmarks.cases.custom import State
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop
from otel_stream import StreamConfig

PARTS = 2_000
#: Nanoseconds of work before each write.
WORK = 100_000


def _graph(library: Library, parts: int, *, awaits: bool, is_async: bool = True) -> Any:
    def work() -> None:
        until = time.perf_counter_ns() + WORK
        while time.perf_counter_ns() < until:
            pass

    async def write(state: State) -> State:
        writer = library.get_stream_writer()
        for _ in range(parts):
            work()
            writer(time.perf_counter_ns())
            if awaits:
                await asyncio.sleep(0)
        return {"n": state["n"] + 1}

    def write_sync(state: State) -> State:
        writer = library.get_stream_writer()
        for _ in range(parts):
            work()
            writer(time.perf_counter_ns())
        return {"n": state["n"] + 1}

    builder = library.StateGraph(State)
    builder.add_node("write", write if is_async else write_sync)
    builder.add_edge(library.START, "write")
    builder.add_edge("write", library.END)
    return builder.compile()


Late = Callable[[list[int]], float]


def _percentile(percent: int, late: list[int]) -> float:
    return quantiles(late, n=100)[percent - 1] / 1e3


def _awaiting(library: Library, percentile: Late) -> Callable[[], float]:
    """Consumer and node share an event loop, and the node lets it go on after each write."""
    parts = sized(PARTS)
    graph, late = _graph(library, parts, awaits=True), list[int]()

    async def ours() -> None:
        async with graph.open_stream({"n": 0}, StreamConfig(modes="custom")) as stream:
            async for part in stream:
                late.append(time.perf_counter_ns() - part.data)

    async def theirs() -> None:
        async for data in graph.astream({"n": 0}, UNLIMITED, stream_mode="custom"):
            late.append(time.perf_counter_ns() - data)

    return _timed(on_loop(ours if library is OURS else theirs), late, parts, percentile)


def _busy(library: Library, percentile: Late) -> Callable[[], float]:
    """The node never awaits; the consumer is in another thread. LangGraph: ``stream`` and a sync node."""
    parts, late = sized(PARTS), list[int]()
    graph = _graph(library, parts, awaits=False, is_async=library is OURS)

    def read(receiver: Any) -> None:
        for part in receiver:
            late.append(time.perf_counter_ns() - part.data)

    async def ours() -> None:
        async with graph.open_stream({"n": 0}, StreamConfig(modes="custom", buffer_size=PARTS)) as stream:
            reader = Thread(target=read, args=stream.receivers)
            reader.start()
            await stream
            await asyncio.to_thread(reader.join)

    def theirs() -> None:
        for data in graph.stream({"n": 0}, UNLIMITED, stream_mode="custom"):
            late.append(time.perf_counter_ns() - data)

    return _timed(on_loop(ours) if library is OURS else theirs, late, parts, percentile)


def _timed(run: Callable[[], None], late: list[int], parts: int, percentile: Late) -> Callable[[], float]:
    def measured() -> float:
        late.clear()
        run()
        expect("parts", len(late), parts)
        return percentile(late)

    return measured


def _comparison(name: str, percent: int) -> Comparison:
    side = _awaiting if name == "latency-await" else _busy
    where = "a node that awaits between writes"
    if side is _busy:
        where = "a node that never awaits, to another thread"
    percentile = partial(_percentile, percent)
    return Comparison(
        name=name if percent == 50 else f"{name}-p{percent}",
        title=f"from write to receipt, {where}: {'median' if percent == 50 else 'p99'}",
        unit="part, by the clock",
        count=sized(PARTS),
        quantity="µs",
        ours=side(OURS, percentile),
        theirs=side(LANGGRAPH, percentile),
    )


awaiting_median = partial(_comparison, "latency-await", 50)
awaiting_p99 = partial(_comparison, "latency-await", 99)
busy_median = partial(_comparison, "latency-busy", 50)
busy_p99 = partial(_comparison, "latency-busy", 99)
