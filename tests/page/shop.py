"""A graph to be watched: a fan-out, a subgraph, retries, tokens, spans of others, and a question to a human.

Each stage waits until a file named after it is there, so that a test sees it while it runs; without the
folder they wait a little.
"""

import asyncio
import operator
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from opentelemetry import trace

from engine import END, START, Command, InMemorySaver, RetryPolicy, Send, StateGraph, interrupt
from otel_stream import configure

GATES = Path(sys.argv[1]) if len(sys.argv) > 1 else None
HOSTILE = "<img src=x onerror=\"document.title='attacked'\">\u202e\x1b[31m"


class State(TypedDict):
    question: str
    notes: Annotated[list[str], operator.add]
    draft: str
    approved: bool


class Note(TypedDict):
    source: str
    notes: Annotated[list[str], operator.add]


async def gate(name: str) -> None:
    if GATES is None:
        await asyncio.sleep(0.4)
        return
    while not (GATES / name).exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.02)


async def plan(state: State) -> dict[str, Any]:
    await gate("plan")
    return {"notes": [f"plan for {state['question']}"]}


def fan_out(state: State) -> list[Send]:
    return [Send("research", {"source": f"source {number}", "notes": []}) for number in range(8)]


failed: set[str] = set()


async def fetch(state: Note) -> dict[str, Any]:
    with trace.get_tracer("http").start_as_current_span(
        "GET /search", attributes={"source": state["source"]}
    ):
        await gate("fetch")
    if state["source"] == "source 3" and not failed:
        failed.add(state["source"])
        raise ConnectionError(f"no answer {HOSTILE}")
    return {"notes": [f"found in {state['source']} {HOSTILE}"]}


async def grade(state: Note) -> dict[str, Any]:
    await asyncio.sleep(0.01)
    return {}


async def write(state: State) -> dict[str, Any]:
    await gate("write")
    return {"draft": " ".join(f"word{number}" for number in range(400))}


async def approve(state: State) -> dict[str, Any]:
    return {"approved": interrupt(f"Send it? {HOSTILE}")}


async def main() -> None:
    handle = configure(service_name="shop")
    inner = StateGraph(Note).add_node("fetch", fetch, retry_policy=RetryPolicy(initial_interval=0.01))
    inner = inner.add_node("grade", grade).add_edge(START, "fetch").add_edge("fetch", "grade")
    graph = StateGraph(State).add_node("plan", plan).add_node("research", inner.compile(name="research"))
    graph = graph.add_node("write", write).add_node("approve", approve)
    graph = graph.add_edge(START, "plan").add_conditional_edges("plan", fan_out, ["research"])
    graph = graph.add_edge("research", "write").add_edge("write", "approve").add_edge("approve", END)
    program = graph.compile(name="shop", checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t7"}}
    await program.ainvoke({"question": "what to buy", "notes": [], "draft": "", "approved": False}, config)
    await gate("answer")
    await program.ainvoke(Command(resume=True), config)
    handle.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
