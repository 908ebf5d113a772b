"""The graph that clients drive: it talks, asks, fans out, calls a subgraph, and fails where it is told to."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage

WORDS = "one two three four five"


def talking(kind: Any, add_messages: Any, interrupt: Any, saver: Any, writer: Any) -> Any:
    """Make it of ``kind``, our ``StateGraph`` or LangGraph's; the rest is of the same house."""

    class State(TypedDict, total=False):
        messages: Annotated[list[Any], add_messages]
        log: Annotated[list[str], operator.add]
        mode: str

    model = FakeListChatModel(responses=[WORDS])

    def mode(state: State) -> str:
        """What is asked for, by clients that send nothing but messages in the first one."""
        said = state.get("messages")
        return state.get("mode") or (said[0].content if said else "")

    async def speak(state: State) -> dict[str, Any]:
        writer()({"progress": 1})
        if mode(state) == "fail":
            raise ValueError("kaboom")
        if mode(state) == "slow":
            await asyncio.Event().wait()
        said = await model.ainvoke([HumanMessage("go")])
        if mode(state) == "hold":
            await asyncio.Event().wait()
        return {"messages": [said], "log": ["speak"]}

    def check(state: State) -> dict[str, Any]:
        if mode(state) == "ask":
            return {"log": [f"answered {interrupt('go on?')}"]}
        return {"log": ["check"]}

    def look(state: State) -> dict[str, Any]:
        return {"log": ["look"]}

    inner = kind(State).add_node("look", look).add_edge("__start__", "look").compile(name="inner")
    made = kind(State).add_node("speak", speak).add_node("check", check).add_node("inner", inner)
    made.add_edge("__start__", "speak").add_edge("speak", "check").add_edge("check", "inner")
    return made.add_edge("inner", "__end__").compile(name="talk", checkpointer=saver)


def ours() -> Any:
    """Return the graph, made with our engine."""
    from engine import InMemorySaver, StateGraph, add_messages, get_stream_writer, interrupt

    return talking(StateGraph, add_messages, interrupt, InMemorySaver(), get_stream_writer)


def langgraphs() -> Any:
    """Return the same, made with LangGraph."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.config import get_stream_writer
    from langgraph.graph import StateGraph
    from langgraph.graph.message import add_messages
    from langgraph.types import interrupt

    return talking(StateGraph, add_messages, interrupt, InMemorySaver(), get_stream_writer)
