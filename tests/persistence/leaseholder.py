"""A worker that runs a thread under a lease: ``python -m tests.persistence.leaseholder KIND PLACE MARK TTL``.

With ``entrypoint`` behind that it runs a function, not a graph. Its second node, or task, waits for a file
``MARK``.go; before that it makes ``MARK``.there.
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

from engine import START, PostgresLease, SqliteLease, StateGraph, entrypoint, task

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


def entrypoint_of(wait_here, **options):
    @task
    def first():
        return "first"

    @task
    def second():
        wait_here()
        return "second"

    @entrypoint(**options)
    def remembers(said, previous=None):
        log = [*(previous or []), said, first().result(), second().result()]
        return entrypoint.final(value={"log": log}, save=log)

    return remembers


def main(kind, place, mark, ttl, program="graph"):
    trace.set_tracer_provider(TracerProvider())
    there, go = Path(f"{mark}.there"), Path(f"{mark}.go")

    def wait_here():
        there.touch()
        while not go.exists():
            asyncio.run(asyncio.sleep(0.01))

    with saver_of(kind, place) as saver:
        saver.setup()
        options = {"checkpointer": saver, "lease": lease_of(kind, place, ttl=float(ttl))}
        if program == "entrypoint":
            print(entrypoint_of(wait_here, **options).invoke("in", THREAD))
        else:
            print(graph_of(wait_here).compile(**options).invoke({"log": ["in"]}, THREAD))


if __name__ == "__main__":
    main(*sys.argv[1:])
