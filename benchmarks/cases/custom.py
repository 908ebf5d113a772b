"""Custom parts: what one costs from the node that writes it to the consumer that has it."""

from __future__ import annotations

from typing import Any, TypedDict

from benchmarks.case import Comparison, Goal
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop
from otel_stream import StreamConfig

PARTS = 10_000
#: A line of progress.
PAYLOAD = "x" * 100


class State(TypedDict):
    """One number, so that the node has something to return."""

    n: int


def writing(library: Library) -> Any:
    """Return a graph of one node that writes ``PARTS`` custom parts and never waits."""

    async def write(state: State) -> State:
        writer = library.get_stream_writer()
        for _ in range(PARTS):
            writer(PAYLOAD)
        return {"n": state["n"] + 1}

    builder = library.StateGraph(State)
    builder.add_node("write", write)
    builder.add_edge(library.START, "write")
    builder.add_edge("write", library.END)
    return builder.compile()


def custom_part() -> Comparison:
    """Compare ``open_stream`` with LangGraph's ``astream``."""
    ours, theirs = writing(OURS), writing(LANGGRAPH)
    config = StreamConfig(modes="custom")

    async def run_ours() -> None:
        parts = 0
        async with ours.open_stream({"n": 0}, config) as stream:
            async for _ in stream:
                parts += 1
        expect("parts", parts, PARTS)

    async def run_theirs() -> None:
        parts = 0
        async for _ in theirs.astream({"n": 0}, UNLIMITED, stream_mode="custom"):
            parts += 1
        expect("parts", parts, PARTS)

    return Comparison(
        name="custom-part",
        title="custom part, node to consumer",
        unit="part",
        count=PARTS,
        ours=on_loop(run_ours),
        theirs=on_loop(run_theirs),
        goal=Goal("microseconds", must=1.5, aim=1.0),
    )
