"""A superstep that adds a message to a conversation, with a checkpoint of it in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import langgraph.graph
from langchain_core.messages import AIMessage, HumanMessage

import engine
from benchmarks.case import Comparison, Goal, sized
from benchmarks.cases import CHAT
from benchmarks.libraries import LANGGRAPH, OURS, UNLIMITED, Library, expect, on_loop

STEPS = 20
#: How often a run is made: the least is what counts.
RUNS = 3


def chat(row: str) -> Comparison:
    """Compare what a superstep costs beside so many messages."""
    messages = int(row.removeprefix(CHAT))
    return Comparison(
        name=row,
        title=f"async superstep that adds a message to {messages:,}, with InMemorySaver",
        unit="superstep",
        count=1,
        quantity="CPU µs, inside",
        ours=_talking(OURS, engine.MessagesState, sized(messages)),
        theirs=_talking(LANGGRAPH, langgraph.graph.MessagesState, sized(messages)),
        goal=Goal(must=1 / 4) if messages <= 20 else Goal("times", must=3.0, aim=1.5, over=f"{CHAT}20"),
    )


def _talking(library: Library, state: Any, messages: int) -> Callable[[], float]:
    """Return a function that returns the µs of CPU time that a superstep takes, without a run's start."""
    times: list[float] = []
    threads = count()
    saver = library.InMemorySaver()

    async def say(_: Any) -> Any:
        times.append(time.process_time())
        return {"messages": [AIMessage("as I said")]}

    def again(_: Any) -> str:
        return "say" if len(times) <= STEPS else library.END

    builder = library.StateGraph(state).add_node("say", say)
    builder.add_edge(library.START, "say")
    builder.add_conditional_edges("say", again, ["say", library.END], **library.quick)
    graph = builder.compile(checkpointer=saver)

    async def run() -> None:
        times.clear()
        thread = str(next(threads))
        config = {**UNLIMITED, "configurable": {"thread_id": thread}}
        given = [HumanMessage(f"what about {n}?", id=str(n)) for n in range(messages)]
        result = await graph.ainvoke({"messages": given}, config)
        expect("messages", len(result["messages"]), messages + STEPS + 1)
        saver.delete_thread(thread)

    once = on_loop(run)

    def measured() -> float:
        least = float("inf")
        for _ in range(sized(RUNS)):
            once()
            least = min(least, (times[-1] - times[0]) / STEPS * 1e6)
        return least

    return measured
