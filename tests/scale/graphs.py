"""Graphs whose parts are sent: what may be in a stream, in small."""

import operator
from typing import Annotated, Any, TypedDict

from engine import END, START, MessagesState, StateGraph, interrupt
from engine.runtime import get_stream_writer


class Count(TypedDict, total=False):
    n: int
    seen: Annotated[list[Any], operator.add]


def writing(parts: int, size: int = 10):
    """A graph whose one node writes so many *custom* parts of about ``size`` bytes."""

    async def write(state):
        writer = get_stream_writer()
        for number in range(parts):
            await writer.write({"number": number, "text": "x" * size})
        return {"n": parts}

    return compiled("writing", write)


def compiled(name: str, *nodes, checkpointer=None):
    graph = StateGraph(Count)
    names = [f"{node.__name__}" for node in nodes]
    for one, node in zip(names, nodes, strict=True):
        graph.add_node(one, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile(name=name, checkpointer=checkpointer)


def varied():
    """A graph with a subgraph, messages, writes and values of many kinds."""

    def inner(state):
        get_stream_writer()(
            (
                "a tuple",
                {
                    1,
                },
                b"bytes",
                1 << 70,
                float("inf"),
                "ö\ud800",
            )
        )
        return {"seen": ["inner"]}

    def first(state):
        get_stream_writer()({"nested": {"deep": [None, True, 1.5]}})
        return {"n": 1, "seen": [{"first": object()}]}

    sub = StateGraph(Count).add_node("inner", inner).add_edge(START, "inner").compile(name="sub")
    graph = StateGraph(Count).add_node("first", first).add_node("sub", sub)
    return graph.add_edge(START, "first").add_edge("first", "sub").compile(name="varied")


def talking():
    """A graph whose node answers with a message."""

    def answer(state):
        return {"messages": [("ai", "an answer")]}

    return (
        StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile(name="talking")
    )


def failing():
    def fail(state):
        get_stream_writer()("before")
        raise ValueError("no such thing")

    return compiled("failing", fail)


def asking():
    from engine import InMemorySaver

    def ask(state):
        return {"seen": [interrupt("may I?")]}

    return compiled("asking", ask, checkpointer=InMemorySaver())
