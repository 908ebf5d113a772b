"""What type checkers must understand of the public surface. Checked by two of them, never executed."""

import operator
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, TypedDict, assert_type

from engine import END, START, Command, ExecutionEngine, InMemorySaver, Send, StateGraph, StreamWriter
from otel_stream import (
    Custom,
    OverflowPolicy,
    ReceiverOverflowError,
    StreamConfig,
    StreamFilter,
    StreamPart,
    StreamReceiver,
)


class State(TypedDict):
    question: str
    findings: Annotated[list[str], operator.add]


def plan(state: State, writer: StreamWriter) -> dict[str, list[str]]:
    writer({"at": state["question"]})
    return {"findings": []}


def slow(state: State, writer: StreamWriter) -> None:
    writer.write_blocking(state["question"])


async def look(state: State, writer: StreamWriter) -> Command[str]:
    await writer.write(state["question"])
    return Command(update={"findings": [state["question"]]}, goto=END)


def fan_out(state: State) -> list[Send]:
    return [Send("look", state) for _ in range(2)]


class Loud(StreamFilter):
    def accept(self, part: StreamPart, /) -> bool:
        return part.type == "custom"


graph = (
    StateGraph(State)
    .add_node("plan", plan)
    .add_node("look", look)
    .add_edge(START, "plan")
    .add_conditional_edges("plan", fan_out)
    .compile(checkpointer=InMemorySaver(), name="triage")
)
config = StreamConfig(
    modes=("updates", "messages", Custom(lambda event: event.time, name="clock")),
    buffer_size=16,
    overflow=OverflowPolicy.DROP_OLDEST,
    filter=Loud(),
)


def sync(question: State) -> None:
    result = graph.invoke(question)
    assert_type(result, State)
    print(result["findings"])
    chunks: Iterator[Any] = graph.stream(question, stream_mode=["updates", "custom"], subgraphs=True)
    for _ in chunks:
        pass


async def native(question: State) -> None:
    async with graph.open_stream(question, config) as stream:
        async for part in stream:
            assert_type(part, StreamPart)
            assert_type(part.type, str)
            assert_type(part.ns, tuple[str, ...])
            assert_type(part.trace_id, str | None)
    print(stream.result, [receiver.statistics().dropped for receiver in stream.receivers])


async def langgraph_style(question: State) -> None:
    chunks: AsyncIterator[Any] = graph.astream(question, stream_mode="values", version="v2")
    async for _ in chunks:
        pass
    await graph.ainvoke(question, {"configurable": {"thread_id": "1"}})


async def engine_surface(question: State) -> None:
    engine = ExecutionEngine()
    assert_type(await engine.stream(config), StreamReceiver)
    assert_type(await engine.stream_multi([config, config]), list[StreamReceiver])
    run, receiver = await engine.execute_with_stream(graph, question, config)
    try:
        async for part in receiver:
            assert_type(part, StreamPart)
    except ReceiverOverflowError:
        receiver.close()
    await run
