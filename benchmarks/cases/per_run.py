"""What a run costs before and after its supersteps: one node, many runs, with and without telemetry."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Comparison, sized
from benchmarks.cases.superstep import State
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop
from benchmarks.providers import installed

RUNS = sized(200)
#: The run's span, one of its superstep and one of its node.
SPANS = 3


def _running(library: Library, runs: int = RUNS) -> Any:
    """Return a coroutine function that runs a graph of one node, over and over."""

    async def count(state: State) -> State:
        return {"n": state["n"] + 1}

    builder = library.StateGraph(State)
    builder.add_node("count", count)
    builder.add_edge(library.START, "count")
    graph = builder.compile()

    async def run() -> None:
        for _ in range(runs):
            expect("nodes run", await graph.ainvoke({"n": 0}, UNLIMITED), {"n": 1})

    return run


def bare() -> Comparison:
    """Compare ``ainvoke`` of one node."""
    return Comparison(
        name="run",
        title="start and end of a run of one node, nothing watching",
        unit="run",
        count=RUNS,
        ours=on_loop(_running(OURS)),
        theirs=on_loop(_running(LANGGRAPH)),
    )


def traced() -> Comparison:
    """Compare the same with spans, log events and metrics of ours, with LangGraph bare."""
    run, providers = _running(OURS), installed()

    async def run_and_flush() -> None:
        await run()
        spans, _ = providers.flush()
        expect("spans exported", spans, SPANS * RUNS)

    return Comparison(
        name="run-traced",
        title="start and end of a run of one node, and spans, log events, metrics",
        unit="run",
        count=RUNS,
        ours=on_loop(run_and_flush),
        theirs=on_loop(_running(LANGGRAPH)),
        against="LangGraph, nothing watching",
    )
