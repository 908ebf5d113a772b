"""What a node leaves running may go on, but nothing of it is shown after the node's end."""

import asyncio
import logging
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph

from otel_stream import OverflowPolicy, StreamConfig, StreamPart
from otel_stream.adapters.langgraph import open_stream

pytestmark = pytest.mark.usefixtures("instrumented")

EVERYTHING = StreamConfig(
    modes=("custom", "messages", "tasks", "updates"),
    subgraphs=True,
    buffer_size=9999,
    overflow=OverflowPolicy.DROP_OLDEST,
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Left:
    """What goes on after its node, until it is stopped."""

    def __init__(self) -> None:
        self.turns = 0
        self.stop = threading.Event()
        self.lock = threading.Condition()

    def go_on(self, act: Callable[[], object]) -> None:
        while not self.stop.is_set():
            act()
            with self.lock:
                self.turns += 1
                self.lock.notify_all()

    async def until(self, more: int) -> None:
        def wait() -> None:
            with self.lock:
                target = self.turns + more
                self.lock.wait_for(lambda: self.turns >= target, 20)

        await asyncio.to_thread(wait)


def says() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("late")]))
    model.invoke("go on")


def writes() -> None:
    get_stream_writer()("late")


def runs_a_graph() -> None:
    def inside(state: State) -> State:
        writes()
        return {"log": ["inside"]}

    StateGraph(State).add_node("inside", inside).add_edge(START, "inside").compile().invoke({"log": []})


def disorder(parts: Sequence[StreamPart]) -> list[str]:
    """Return what is shown of a task, or below it, after its result."""
    wrong: list[str] = []
    over: set[str | None] = set()
    for part in parts:
        above = {name.rpartition(":")[2] for name in part.ns}
        if over & {part.task_id, *above}:
            wrong.append(f"{part.type} of {part.node} at {part.ns} after its end")
        if part.type == "tasks" and "result" in part.data:
            over.add(part.task_id)
    return wrong


@pytest.mark.parametrize("act", [writes, says, runs_a_graph])
@pytest.mark.clause("S-ORD-3", "S-ORD-6")
def test_what_outlives_its_node_is_shown_no_longer_and_one_warning_names_the_node(
    act: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    left, running = Left(), set[Any]()

    async def leaves(state: State) -> State:
        running.add(asyncio.ensure_future(asyncio.to_thread(left.go_on, act)))
        await left.until(3)
        return {"log": ["leaves"]}

    async def later(state: State) -> State:
        await left.until(3)
        return {"log": ["later"]}

    made: Any = StateGraph(State).add_node("leaves", leaves).add_node("later", later)
    graph = made.add_edge(START, "leaves").add_edge("leaves", "later").compile()

    async def main() -> list[StreamPart]:
        async with open_stream(graph, {"log": []}, EVERYTHING) as stream:
            parts = [part async for part in stream]
            assert await stream == {"log": ["leaves", "later"]}
        left.stop.set()
        await asyncio.gather(*running)
        return parts

    parts = asyncio.run(main())
    assert disorder(parts) == []
    assert any(part.type in ("custom", "messages") for part in parts)
    said = [(record.levelno, record.getMessage()[:27]) for record in caplog.records]
    # Of the graph that it calls, a node may be at work when the run around it ends: that one was stopped.
    assert [one for one in said if "'inside' still runs" not in one[1]] == [
        (logging.WARNING, "node 'leaves' left somethin")
    ]


def test_of_a_node_that_its_run_has_stopped_the_warning_says_so_and_not_to_await_what_it_has_not_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = Left()

    def stays(state: State) -> State:
        left.go_on(writes)
        return {"log": ["stays"]}

    async def fails(state: State) -> State:
        await left.until(3)
        raise ValueError("no")

    made: Any = StateGraph(State).add_node("stays", stays).add_node("fails", fails)
    inner = made.add_edge(START, "stays").add_edge(START, "fails").compile()

    async def calls(state: State) -> State:
        with pytest.raises(ValueError, match="no"):
            await inner.ainvoke({"log": []})
        await left.until(3)
        return {"log": ["calls"]}

    outer = StateGraph(State).add_node("calls", calls).add_edge(START, "calls").compile()

    async def main() -> list[StreamPart]:
        async with open_stream(outer, {"log": []}, EVERYTHING) as stream:
            parts = [part async for part in stream]
            assert await stream == {"log": ["calls"]}
        left.stop.set()
        return parts

    assert disorder(asyncio.run(main())) == []
    assert [(record.levelno, record.getMessage()[:48]) for record in caplog.records] == [
        (logging.WARNING, "node 'stays' still runs and writes to the stream")
    ]
