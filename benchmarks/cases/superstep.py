"""A bare superstep: one node that counts, one conditional edge, nobody watching."""

from __future__ import annotations

from typing import Any, TypedDict

from benchmarks.case import Comparison, Goal
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop

STEPS = 1_000
BARE = Goal(must=1 / 20, aim=1 / 40)


class State(TypedDict):
    """The smallest state there is."""

    n: int


def counting(library: Library, *, steps: int = STEPS, is_async: bool = True, **compile_options: Any) -> Any:
    """Return a graph that counts to ``steps``, one superstep each."""

    def count(state: State) -> State:
        return {"n": state["n"] + 1}

    async def count_async(state: State) -> State:
        return {"n": state["n"] + 1}

    def again(state: State) -> str:
        return "count" if state["n"] < steps else library.END

    builder = library.StateGraph(State)
    builder.add_node("count", count_async if is_async else count)
    builder.add_edge(library.START, "count")
    builder.add_conditional_edges("count", again, ["count", library.END], **library.quick)
    return builder.compile(**compile_options)


def bare(library: Library, *, is_async: bool = True) -> Any:
    """Return a function that runs the loop once with ``ainvoke``."""
    graph = counting(library, is_async=is_async)

    async def run() -> None:
        expect("supersteps", await graph.ainvoke({"n": 0}, UNLIMITED), {"n": STEPS})

    return on_loop(run)


def asynchronous() -> Comparison:
    """Compare ``ainvoke``."""
    return Comparison(
        name="async-superstep",
        title="async superstep, nothing watching",
        unit="superstep",
        count=STEPS,
        ours=bare(OURS),
        theirs=bare(LANGGRAPH),
        goal=BARE,
    )


def threaded() -> Comparison:
    """Compare ``ainvoke`` with a sync node."""
    return Comparison(
        name="threaded-superstep",
        title="async superstep of a sync node, which goes to a thread",
        unit="superstep",
        count=STEPS,
        ours=bare(OURS, is_async=False),
        theirs=bare(LANGGRAPH, is_async=False),
        goal=Goal(must=1 / 4),
    )


def synchronous() -> Comparison:
    """Compare ``invoke``."""

    def invoking(library: Library) -> Any:
        graph = counting(library, is_async=False)
        return lambda: expect("supersteps", graph.invoke({"n": 0}, UNLIMITED), {"n": STEPS})

    return Comparison(
        name="sync-superstep",
        title="sync superstep, nothing watching",
        unit="superstep",
        count=STEPS,
        ours=invoking(OURS),
        theirs=invoking(LANGGRAPH),
        goal=BARE,
    )
