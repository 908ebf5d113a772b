"""A worker that runs a thread under a lease: ``python -m tests.persistence.leaseholder KIND PLACE MARK TTL``.

Its second node waits for a file ``MARK``.go; before that it makes ``MARK``.there. Without input it goes on.
"""

import asyncio
import operator
import sys
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from engine import START, PostgresLease, SqliteLease, StateGraph

THREAD = {"configurable": {"thread_id": "one"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def saver_of(kind, place):
    return (SqliteSaver if kind == "sqlite" else PostgresSaver).from_conn_string(place)


def lease_of(kind, place, wait=0.0, ttl=30.0):
    return SqliteLease(place, wait=wait, ttl=ttl) if kind == "sqlite" else PostgresLease(place, wait=wait)


def graph_of(wait_here=lambda: None):
    def first(state):
        return {"log": ["first"]}

    def second(state):
        wait_here()
        return {"log": ["second"]}

    graph = StateGraph(State).add_node("first", first).add_node("second", second)
    return graph.add_edge(START, "first").add_edge("first", "second")


def main(kind, place, mark, ttl):
    trace.set_tracer_provider(TracerProvider())
    there, go = Path(f"{mark}.there"), Path(f"{mark}.go")

    def wait_here():
        there.touch()
        while not go.exists():
            asyncio.run(asyncio.sleep(0.01))

    with saver_of(kind, place) as saver:
        saver.setup()
        graph = graph_of(wait_here).compile(checkpointer=saver, lease=lease_of(kind, place, ttl=float(ttl)))
        print(graph.invoke({"log": ["in"]}, THREAD))


if __name__ == "__main__":
    main(*sys.argv[1:])
