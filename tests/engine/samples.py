"""Small graphs that the tests of streams run, and how they read them."""

import operator
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypedDict

from engine import START, StateGraph, StreamWriter, emit_message, interrupt
from otel_stream.config import StreamConfig
from otel_stream.stream.modes import StreamPart


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    x: int


def say(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda state: {"log": [name]}


def talk(state: Any, writer: StreamWriter) -> dict[str, Any]:
    """Write to every stream that a node can write to."""
    writer({"half": "way"})
    emit_message({"id": "m", "content": "hello"})
    return {"log": ["a"], "x": 1}


def graph(*, name: str = "g", **nodes: Any) -> StateGraph[Any, Any, Any, Any]:
    made = StateGraph(State)
    previous = START
    for name_, node in nodes.items():
        made.add_node(name_, node).add_edge(previous, name_)
        previous = name_
    return made


def compiled(*, name: str = "g", checkpointer: Any = None, **nodes: Any) -> Any:
    return graph(**nodes).compile(checkpointer, name=name)


def thread() -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}}


async def drained(receiver: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in receiver]


async def parts_of(
    made: Any, modes: Any, input: Any = None, config: Any = None, **settings: Any
) -> list[StreamPart]:
    """Run with one receiver and return all of its parts; the run must not fail."""
    stream_config = StreamConfig(modes=modes, **settings)
    async with made.open_stream(
        {"log": []} if input is None else input, stream_config, config=config
    ) as stream:
        return await drained(stream)


def brief(parts: list[StreamPart]) -> list[tuple[Any, ...]]:
    return [(part.type, part.data) for part in parts]


async def read_into(parts: list[StreamPart], stream: AsyncIterator[StreamPart]) -> None:
    """Append parts as they come: what came before a stream raised is not lost."""
    async for part in stream:
        parts.append(part)  # noqa: PERF401 - kept even if the next one raises


def two_steps(checkpointer: Any = None) -> Any:
    return compiled(a=talk, b=say("b"), checkpointer=checkpointer)


def nested() -> Any:
    inner = compiled(name="inner", i=talk)
    middle = compiled(name="middle", m=inner)
    return compiled(outer=middle)


def boom(state: Any) -> None:
    raise ValueError("kaboom")


def ask(state: Any) -> dict[str, Any]:
    return {"log": [interrupt("name?")]}


def side_by_side(*, checkpointer: Any = None, cache: Any = None, **nodes: Any) -> Any:
    graph = StateGraph(State)
    for name, node in nodes.items():
        action, options = node if isinstance(node, tuple) else (node, {})
        graph.add_node(name, action, **options).add_edge(START, name)
    return graph.compile(checkpointer, cache=cache, name="g")


def sub(**nodes: Any) -> Any:
    compiled = side_by_side(**nodes)
    compiled.name = "sub"
    return compiled


def chain(*names: str, **options: Any) -> Any:
    graph = StateGraph(State)
    for one, other in zip((START, *names[:-1]), names, strict=True):
        graph.add_node(other, say(other)).add_edge(one, other)
    return graph.compile(name="g", **options)
