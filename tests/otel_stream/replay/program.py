"""Runs graphs that do everything a stream can show, exports them to a file, and prints what receivers got.

python program.py FILE [content|summaries] [chunks]
"""

import asyncio
import operator
import sys
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessageChunk, HumanMessage

from engine import (
    END,
    START,
    Command,
    InMemorySaver,
    RetryPolicy,
    Send,
    StateGraph,
    add_messages,
    emit_message,
    get_stream_writer,
    interrupt,
)
from otel_stream import StreamConfig, configure
from otel_stream.config import MODES
from otel_stream.telemetry import resolve, set_options

SOURCE, *WORDS = sys.argv[1:]
handle = configure("replayed", path=SOURCE, capture_content="content" in WORDS, modes=[*MODES])
set_options(
    resolve(
        capture_content="content" in WORDS,
        modes=[*MODES],
        messages="chunks" if "chunks" in WORDS else "joined",
        max_body_bytes=20_000 if "small" in WORDS else 1_000_000,
    )
)


class State(TypedDict, total=False):
    big: str
    log: Annotated[list[Any], operator.add]
    messages: Annotated[list[Any], add_messages]
    notes: dict[str, Any]
    n: int


def talk(state: State) -> dict[str, Any]:
    for index, word in enumerate(["re", "play", "ed ü"]):
        last = "last" if index == 2 else None
        emit_message(AIMessageChunk(word, id=f"m{state['n']}", chunk_position=last))
    get_stream_writer()({"odd": {1, 2}, "n": state["n"]})
    return {"n": state["n"] + 1, "log": [{"n": state["n"]}], "messages": [HumanMessage(f"hm {state['n']}")]}


def mutate(state: State) -> dict[str, Any]:
    state["notes"]["seen"].append(state["n"])
    state["log"][0]["changed"] = state["n"] % 3 == 0
    return {"notes": state["notes"], "messages": [HumanMessage("again", id="same")]}


def wide(state: State) -> list[Any]:
    return [Send("leaf", {"n": n, "log": [], "big": "z" * 600}) for n in range(3)]


inner = StateGraph(State).add_node("talk", talk).add_node("talk2", talk).add_edge(START, "talk")
inner = inner.add_edge("talk", "talk2")
inside = inner.compile(name="inner")


async def leaf(state: State) -> dict[str, Any]:
    return {"log": (await inside.ainvoke(state))["log"]}


outer = (
    StateGraph(State)
    .add_node("talk", talk)
    .add_node("mutate", mutate)
    .add_node("leaf", leaf)
    .add_node("ask", lambda state: {"log": [interrupt({"why": "ünsure"})]})
    .add_edge(START, "talk")
    .add_edge("talk", "mutate")
    .add_conditional_edges("mutate", lambda state: "talk" if state["n"] < 25 else wide(state))
    .add_edge("leaf", "ask")
    .add_edge("ask", END)
)


def flaky(state: State) -> dict[str, Any]:
    calls.append(1)
    if len(calls) < 3:
        raise ConnectionError("flaky")
    return {"n": -1, "notes": {"a": None, "c": object}}


calls: list[int] = []
broken = StateGraph(State).add_node(
    "flaky", flaky, retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.001)
)
broken = broken.add_node("boom", lambda state: 1 / 0).add_edge(START, "flaky").add_edge("flaky", "boom")
START_STATE = {"big": "é" * 12_000, "log": [], "messages": [], "notes": {"seen": []}, "n": 0}


async def main() -> None:
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 100, "tags": ["a", "b|c"]}
    graph = outer.compile(checkpointer=InMemorySaver(), name="outer")
    for run, input, settings in (
        (graph, START_STATE, config),
        (graph, Command(resume="go on"), config),
        (broken.compile(name="broken"), {"n": 3}, None),
    ):
        wanted = StreamConfig(modes=MODES, include_metadata=True, subgraphs=True, buffer_size=100_000)
        async with run.open_stream(input, wanted, config=settings) as stream:
            try:
                async for part in stream:
                    sys.stdout.buffer.write(part.to_json() + b"\n")
            except ZeroDivisionError:
                pass


asyncio.run(main())
handle.shutdown()
