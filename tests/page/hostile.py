"""A run that attacks whoever looks at it: by its names, its state, and its questions."""

import logging
import operator
from typing import Annotated, Any, TypedDict

from opentelemetry import trace

from engine import END, START, InMemorySaver, StateGraph, StreamWriter, interrupt
from otel_stream import configure

HOSTILE = (
    "<img src=x onerror=\"document.title='attacked'\"><script>document.title='attacked'</script>\u202e\x1b[2J"
)


class State(TypedDict):
    text: str
    many: Annotated[list[Any], operator.add]
    asked: str


def attack(state: State, writer: StreamWriter) -> dict[str, Any]:
    writer({HOSTILE: HOSTILE})
    with trace.get_tracer("other").start_as_current_span(HOSTILE * 20, attributes={HOSTILE: HOSTILE * 5_000}):
        logging.getLogger("other").warning(HOSTILE)
    deep: Any = HOSTILE
    for _ in range(60):
        deep = {HOSTILE: [deep]}
    return {"text": HOSTILE * 30_000, "many": [HOSTILE] * 5_000 + [deep]}


def ask(state: State) -> dict[str, Any]:
    return {"asked": interrupt({HOSTILE: HOSTILE * 1_000})}


def main() -> None:
    handle = configure(service_name=HOSTILE)
    graph = StateGraph(State).add_node(HOSTILE, attack).add_node("ask", ask)
    graph = graph.add_edge(START, HOSTILE).add_edge(HOSTILE, "ask").add_edge("ask", END)
    program = graph.compile(name=HOSTILE, checkpointer=InMemorySaver())
    program.invoke({"text": "", "many": []}, {"configurable": {"thread_id": HOSTILE}})
    handle.shutdown()


if __name__ == "__main__":
    main()
