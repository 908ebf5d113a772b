"""A worker that is killed, and a graph whose nodes say when they begin and end: ``killed NAME``."""

import asyncio
import operator
import os
import sys
from typing import Annotated, Any, TypedDict

from engine import START, Remote, RetryPolicy, Runtime, StateGraph, get_stream_writer
from examples.cluster.worker import main

#: What a thread has done in the end.
WHOLE = ["begin", "once", "again", "end"]
PARTS, PAUSE = 20, 0.04
#: Where nodes on Ray run: on the Ray node that is killed.
PLACE: dict[str, Any] = {"num_cpus": 0, "resources": {"two": 0.001}, "concurrency": 4, "workers": 2}


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def mark(run: str, node: str, what: str) -> None:
    """Write it down where it outlives the process."""
    line = f"{run} {node} {what} {os.getpid()}\n"
    place = os.open(os.environ["CLUSTER_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(place, line.encode())
    os.close(place)


def node(name: str) -> Any:
    async def act(state: State, runtime: Runtime) -> dict[str, list[str]]:
        writer, run = get_stream_writer(), runtime.execution_info.run_id
        mark(run, name, "begins")
        for number in range(PARTS):
            await writer.write({"node": name, "number": number})
            await asyncio.sleep(PAUSE)
        mark(run, name, "ends")
        return {"log": [name]}

    return act


def build() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State).add_node("begin", node("begin")).add_node("end", node("end"))
    retry = RetryPolicy(initial_interval=0.1, max_attempts=5)
    once, again = Remote(**PLACE), Remote(**PLACE, idempotent=True)
    there = "CLUSTER_RAY" in os.environ  # there is none where nothing of it is killed
    graph.add_node("once", node("once"), on=once if there else None, retry_policy=retry)
    graph.add_node("again", node("again"), on=again if there else None, retry_policy=retry)
    for before, after in zip([START, *WHOLE], WHOLE, strict=False):
        graph.add_edge(before, after)
    return graph


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], build()))
