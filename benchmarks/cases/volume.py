"""High volume: far more parts than a slow consumer can hold. How much memory, and when does it see the first?

``python -m benchmarks.cases.volume SIDE`` runs one side once and prints what it found.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.case import Comparison, Goal, sized
from benchmarks.cases.custom import State
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect
from benchmarks.process import Growth, apart
from otel_stream import StreamConfig

PARTS = 200_000
#: After so many parts, the consumer pauses for a millisecond.
PAUSE_AFTER = 500
CHARACTERS = 100


def writing(library: Library, parts: int, growth: Growth, *, waits: bool) -> Any:
    """Return a graph of one node that writes ``parts`` different lines, and may wait for room."""

    async def write(state: State) -> State:
        writer = library.get_stream_writer()
        for number in range(parts):
            line = f"{number:0{CHARACTERS}}"
            if waits:
                await writer.write(line)
            else:
                writer(line)
            if number % 5_000 == 0:
                growth.look()
        return {"n": state["n"] + 1}

    builder = library.StateGraph(State)
    builder.add_node("write", write)
    builder.add_edge(library.START, "write")
    builder.add_edge("write", library.END)
    return builder.compile()


@asynccontextmanager
async def _stream(side: str, parts: int, growth: Growth) -> AsyncIterator[AsyncIterator[Any]]:
    if side == "langgraph":
        graph = writing(LANGGRAPH, parts, growth, waits=False)
        yield graph.astream({"n": 0}, UNLIMITED, stream_mode="custom")
        return
    config = StreamConfig(modes="custom", overflow="block" if side == "block" else "drop_oldest")
    graph = writing(OURS, parts, growth, waits=side == "block")
    async with graph.open_stream({"n": 0}, config) as stream:
        yield aiter(stream)


async def _consume(side: str, parts: int, growth: Growth) -> tuple[int, float]:
    """Return how many parts came or are known to be lost, and after how many ms the first did."""
    seen, first, start = 0, 0.0, time.perf_counter()
    async with _stream(side, parts, growth) as stream:
        async for part in stream:
            first = first or (time.perf_counter() - start) * 1e3
            seen += part.data["dropped"] if getattr(part, "type", None) == "gap" else 1
            if seen % PAUSE_AFTER == 0:
                await asyncio.sleep(0.001)
                growth.look()
    return seen, first


async def _measured(side: str) -> dict[str, float]:
    await _consume(side, 10, Growth())  # so that only filling buffers is done for the first time
    parts, growth = sized(PARTS), Growth()
    seen, first = await _consume(side, parts, growth)
    expect("parts", seen, parts)
    return {"mb": growth.most, "first_ms": first}


def _apart(side: str, number: str) -> Callable[[], float]:
    return lambda: float(apart("benchmarks.cases.volume", side)[number])


def _memory(name: str, side: str, title: str) -> Comparison:
    return Comparison(
        name=name,
        title=f"{PARTS:,} custom parts of {CHARACTERS} B to a slow consumer, {title}",
        unit="memory growth",
        count=sized(PARTS),
        quantity="MB",
        ours=_apart(side, "mb"),
        theirs=_apart("langgraph", "mb"),
        goal=Goal("amount", must=5.0),
    )


def blocking() -> Comparison:
    """Lose nothing: the node waits for room."""
    return _memory("volume-block", "block", "which loses none: await writer.write")


def dropping() -> Comparison:
    """Let a node that never waits go on."""
    return _memory("volume-drop", "drop", "with drop_oldest, which keeps the newest")


def first_part() -> Comparison:
    """Say when the consumer sees the first of them."""
    return Comparison(
        name="volume-first",
        title=f"until the consumer sees the first of {PARTS:,} parts, the node waiting for room",
        unit="first part",
        count=1,
        quantity="ms",
        ours=_apart("block", "first_ms"),
        theirs=_apart("langgraph", "first_ms"),
    )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1]))))
