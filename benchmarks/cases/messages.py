"""A long message: its tokens one by one, and joined."""

from __future__ import annotations

from typing import Any

import engine
from benchmarks.case import Comparison, sized
from benchmarks.cases.custom import State
from benchmarks.libraries import OURS, expect, on_loop
from otel_stream import Aggregate, StreamConfig

TOKENS = 100_000
#: Tokens that become one part where they are joined.
WINDOW = 100


def _answering(tokens: int) -> Any:
    async def answer(state: State) -> State:
        for _ in range(tokens):
            engine.emit_message({"id": "message", "content": "token "})
        return {"n": state["n"] + 1}

    builder = OURS.StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(OURS.START, "answer")
    builder.add_edge("answer", OURS.END)
    return builder.compile()


def _streaming(name: str, title: str, config: StreamConfig) -> Comparison:
    tokens = sized(TOKENS)
    graph = _answering(tokens)

    async def run() -> None:
        length = 0
        async with graph.open_stream({"n": 0}, config) as stream:
            async for part in stream:
                length += len(part.data[0]["content"])
        expect("characters", length, tokens * len("token "))

    # LangGraph takes tokens from LangChain's chat models only, whose own work is most of what they cost.
    return Comparison(name=name, title=title, unit="token", count=tokens, ours=on_loop(run), theirs=None)


def chunks() -> Comparison:
    """Read token by token."""
    config = StreamConfig(modes="messages")
    return _streaming("messages", f"message of {TOKENS:,} tokens through emit_message", config)


def joined() -> Comparison:
    """Read a hundred tokens at a time."""
    config = StreamConfig(modes="messages", aggregate=Aggregate(WINDOW))
    return _streaming("messages-joined", f"the same, joined by {WINDOW}", config)
