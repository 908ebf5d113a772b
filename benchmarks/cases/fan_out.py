"""Map and reduce: one superstep of ``Send`` tasks whose results a reducer gathers."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from benchmarks.case import Comparison, Goal
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop

WIDTH = 100


class State(TypedDict):
    """What the tasks found."""

    found: Annotated[list[int], operator.add]


class Item(TypedDict):
    """What one task is sent."""

    number: int


def fanning(library: Library) -> Any:
    """Return a function that runs one fan-out of ``WIDTH`` tasks."""

    async def work(item: Item) -> State:
        return {"found": [item["number"]]}

    def spread(_: State) -> list[Any]:
        return [library.Send("work", {"number": number}) for number in range(WIDTH)]

    builder = library.StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(library.START, spread, ["work"], **library.quick)
    builder.add_edge("work", library.END)
    graph = builder.compile()
    result = {"found": list(range(WIDTH))}

    async def run() -> None:
        expect("found", await graph.ainvoke({"found": []}, UNLIMITED), result)

    return on_loop(run)


def fan_out() -> Comparison:
    """Compare ``ainvoke``."""
    return Comparison(
        name="fan-out",
        title=f"{WIDTH}-way Send fan-out",
        unit="task",
        count=WIDTH,
        ours=fanning(OURS),
        theirs=fanning(LANGGRAPH),
        goal=Goal(aim=1 / 20),
    )
