"""A run of 10,000 spans and more, with a state of 10 MB, and a receiver that loses parts; to a file."""

import asyncio
import operator
import sys
from typing import Annotated, Any, TypedDict

from opentelemetry import trace

from engine import END, START, Send, StateGraph
from otel_stream import OverflowPolicy, StreamConfig, configure

TASKS, CALLS = 2_500, 3


class State(TypedDict):
    documents: list[dict[str, str]]
    text: str
    found: Annotated[list[int], operator.add]


def load(state: State) -> dict[str, Any]:
    documents = [{"id": f"document {n}", "text": f"what document {n} says. " * 20} for n in range(12_000)]
    return {"documents": documents, "text": "a line of a long text\n" * 200_000}


def fan_out(state: State) -> list[Send]:
    return [Send("look", {"number": number}) for number in range(TASKS)]


def look(state: dict[str, int]) -> dict[str, Any]:
    for call in range(CALLS):
        with trace.get_tracer("other").start_as_current_span(f"call {call}"):
            pass
    return {"found": [state["number"]]}


async def main() -> None:
    handle = configure(service_name="large", path=sys.argv[1], max_body_bytes=512 * 1024, modes=("values",))
    graph = StateGraph(State).add_node("load", load).add_node("look", look)
    graph = graph.add_edge(START, "load").add_edge("look", END)
    graph.add_conditional_edges("load", fan_out, ["look"])
    losing = StreamConfig(modes=("updates",), buffer_size=10, overflow=OverflowPolicy.DROP_OLDEST)
    async with graph.compile(name="large").open_stream({"text": ""}, losing) as stream:
        await stream.wait()
    assert handle.shutdown(90)


if __name__ == "__main__":
    asyncio.run(main())
