"""The loop with a checkpoint after every superstep, in memory."""

from __future__ import annotations

from itertools import count
from typing import Any

from benchmarks.case import Comparison
from benchmarks.cases.superstep import counting
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop

STEPS = 500


def saving(library: Library) -> Any:
    """Return a function that runs the loop once in a thread of its own, and then deletes the thread."""
    saver = library.InMemorySaver()
    graph = counting(library, steps=STEPS, checkpointer=saver)
    threads = count()

    async def run() -> None:
        thread = str(next(threads))
        config = {**UNLIMITED, "configurable": {"thread_id": thread}}
        expect("supersteps", await graph.ainvoke({"n": 0}, config), {"n": STEPS})
        # Otherwise each round would find a bigger heap than the one before.
        saver.delete_thread(thread)

    return on_loop(run)


def checkpointed() -> Comparison:
    """Compare ``ainvoke`` with each library's ``InMemorySaver``."""
    return Comparison(
        name="checkpointed",
        title="async superstep with InMemorySaver",
        unit="superstep",
        count=STEPS,
        ours=saving(OURS),
        theirs=saving(LANGGRAPH),
    )
