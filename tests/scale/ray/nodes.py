"""Nodes that run elsewhere, and the graph around one."""

from __future__ import annotations

import asyncio
import operator
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from engine import (
    START,
    InMemorySaver,
    InMemoryStore,
    Remote,
    RetryPolicy,
    Runtime,
    StateGraph,
    StreamWriter,
    emit_message,
    get_config,
    get_stream_writer,
    interrupt,
)

ELSEWHERE = Remote(num_cpus=0, concurrency=4)


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    place: str
    blob: bytes


def graph(action, *, on: Remote | None = ELSEWHERE, checkpointer=None, store=None, **options):
    made = StateGraph(State).add_node("work", action, on=on, **options).add_edge(START, "work")
    return made.compile(checkpointer=checkpointer, store=store, name="elsewhere")


@dataclass
class Parcel:
    """What Ray has to look into."""

    number: int
    reference: Any


def fails_once_inside():
    """Return a graph whose node fails at its first attempt; none of it waits for anything."""
    failed = []

    async def fails_once(state):
        if not failed:
            failed.append(True)
            raise ConnectionError("for the first time")

    inner = StateGraph(State).add_node("fails_once", fails_once, retry_policy=RetryPolicy(initial_interval=0))
    return inner.add_edge(START, "fails_once").compile(name="inner")


async def hands_back(state):
    (parcel,) = state["log"]
    return {"log": [Parcel(parcel.number, parcel.reference)]}


def count(place: str) -> int:
    """Add a line to a file; return how many there are: what is counted survives a process."""
    with Path(place).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(Path(place).read_text().splitlines())


def sync_says(state, writer: StreamWriter):
    for number in range(3):
        writer({"number": number})
    emit_message({"role": "ai", "content": "hello", "id": "m"})
    return {"log": [get_config()["configurable"].get("user"), os.getpid() != state["log"][0]]}


async def async_says(state):
    writer = get_stream_writer()
    for number in range(3):
        await writer.write({"number": number})
    emit_message({"role": "ai", "content": "hello", "id": "m"})
    return {"log": [get_config()["configurable"].get("user"), os.getpid() != state["log"][0]]}


async def floods(state):
    writer = get_stream_writer()
    for number in range(10_000):
        count(state["place"])
        await writer.write(number)


#: Parts between two notes of how many were written.
TELLS = 50


def _goes_on(place: str, number: int) -> bool:
    """Note now and then how many parts were written; return whether there are to be more."""
    if number % TELLS:
        return True
    (Path(place) / "new").write_text(str(number))
    (Path(place) / "new").rename(Path(place) / "written")
    return not (Path(place) / "enough").exists()


def written(place: str) -> int:
    """Return how many parts were written, but for the last few."""
    file = Path(place) / "written"
    return int(file.read_text()) if file.exists() else 0


async def floods_awaited(state):
    writer, number = get_stream_writer(), 0
    while _goes_on(state["place"], number):
        await writer.write({"number": number, "text": "x" * 1000})
        number += 1
    return {"log": [number]}


def floods_from_a_thread(state, writer: StreamWriter):
    number = 0
    while _goes_on(state["place"], number):
        writer({"number": number, "text": "x" * 1000})
        number += 1
    return {"log": [number]}


async def sleeps(state):
    count(state["place"])
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        count(state["place"])
        raise


async def beats(state, runtime: Runtime):
    for _ in range(8):
        await asyncio.sleep(0.5)
        runtime.heartbeat()
    return {"log": ["alive"]}


def dies(state):
    if count(state["place"]) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"log": ["lived"]}


def asks(state):
    return {"log": [interrupt("first?"), interrupt("second?")]}


def fails(state):
    raise ValueError("no", state["log"])


def measures(state):
    return {"log": [len(state["blob"])]}


async def remembers(state, runtime: Runtime):
    await runtime.store.aput(("notes",), "a", {"text": "kept"})
    found = await runtime.store.aget(("notes",), "a")
    return {"log": [found.value["text"]]}


def blocks_its_thread(state):
    count(state["place"])
    time.sleep(600)


def inner(checkpointer=None):
    def begins(state, writer: StreamWriter):
        writer("inside")
        return {"log": ["begun"]}

    made = StateGraph(State).add_node("begins", begins).add_node("asks", asks)
    return made.add_edge(START, "begins").add_edge("begins", "asks").compile(checkpointer, name="inner")


def waits_inside():
    async def waits(state, writer: StreamWriter):
        writer(os.getpid())
        await asyncio.sleep(600)

    return StateGraph(State).add_node("waits", waits).add_edge(START, "waits").compile(name="inner")


__all__ = ["InMemorySaver", "InMemoryStore"]
