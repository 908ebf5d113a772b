"""A map-reduce with subgraphs, on the event loop. It knows nothing of telemetry."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send


class Totals(TypedDict, total=False):
    words: list[str]
    counts: Annotated[list[int], operator.add]
    total: int


class One(TypedDict, total=False):
    word: str
    counts: list[int]


async def count(state: One) -> Any:
    return {"counts": [len(state["word"])]}


async def add_up(state: Totals) -> Any:
    return {"total": sum(state["counts"])}


async def split(state: Totals) -> Any:
    return {"counts": []}


counter: Any = StateGraph(One).add_node("count", count).add_edge(START, "count").compile(name="counter")
graph: Any = (
    StateGraph(Totals).add_node("split", split).add_node("counter", counter).add_node("add_up", add_up)
)
graph.add_edge(START, "split").add_edge("counter", "add_up")
graph.add_conditional_edges(
    "split", lambda state: [Send("counter", {"word": w}) for w in state["words"]], ["counter"]
)
app = graph.compile(name="map_reduce")


async def main() -> None:
    async for part in app.astream({"words": ["a", "bb", "ccc"]}, stream_mode="values"):
        last = part
    print(last["total"])


if __name__ == "__main__":
    asyncio.run(main())
