"""What a node leaves running may go on, but nothing of it is shown after the node's end, or its run's."""

import asyncio
import logging
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from engine import START, InMemorySaver, StateGraph, StreamWriter, emit_message, entrypoint, task
from otel_stream import StreamConfig
from otel_stream.parts import StreamPart

EVERYTHING = StreamConfig(
    modes=("custom", "messages", "tasks", "updates", "values"),
    subgraphs=True,
    include_end=True,
    buffer_size=9999,
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Left:
    """What goes on after its node, until it is stopped."""

    def __init__(self) -> None:
        self.writes = 0
        self.stop = threading.Event()
        self.gone = threading.Event()

    def write(self, write: Callable[[], None]) -> None:
        write()
        self.writes += 1

    async def go_on(self, write: Callable[[], None]) -> None:
        while not self.stop.is_set():
            self.write(write)
            await asyncio.sleep(0)

    def go_on_in_a_thread(self, write: Callable[[], None]) -> None:
        while not self.stop.is_set():
            self.write(write)
        self.gone.set()

    async def until_it_has_written(self, more: int) -> None:
        target = self.writes + more
        await asyncio.to_thread(self._wait, target)

    def _wait(self, target: int) -> None:
        while self.writes < target:
            self.stop.wait(0.001)


def a_writer(writer: StreamWriter) -> Callable[[], None]:
    return lambda: writer("late")


def a_message(writer: StreamWriter) -> Callable[[], None]:
    return lambda: emit_message({"role": "assistant", "content": "late", "id": "1"})


async def shown(graph: Any, left: Left) -> list[StreamPart]:
    parts = []
    async with graph.open_stream({}, EVERYTHING) as stream:
        async for part in stream:
            parts.append(part)  # noqa: PERF401
    left.stop.set()
    return parts


def disorder(parts: Sequence[StreamPart]) -> list[str]:
    """Return what is shown of a task after its result, or of anything after the run's end."""
    wrong, over = [], set()
    for part in parts:
        if part.task_id in over:
            wrong.append(f"{part.type} of {part.node} after its end")
        if part.type == "tasks" and "result" in part.data:
            over.add(part.task_id)
    if parts[-1].type != "end":
        wrong.append(f"{parts[-1].type} after the end")
    return wrong


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("what", [a_writer, a_message])
@pytest.mark.parametrize("in_a_thread", [True, False])
@pytest.mark.clause("S-ORD-2", "S-ORD-3", "S-ORD-6")
async def test_what_outlives_its_node_is_shown_no_longer(
    what: Any, in_a_thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    left, running = Left(), set()

    async def leaves(state: State, writer: StreamWriter) -> State:
        write = what(writer)
        if in_a_thread:
            running.add(asyncio.ensure_future(asyncio.to_thread(left.go_on_in_a_thread, write)))
        else:
            running.add(asyncio.ensure_future(left.go_on(write)))
        await left.until_it_has_written(3)
        return {"log": ["leaves"]}

    async def later(state: State) -> State:
        await left.until_it_has_written(10)
        return {"log": ["later"]}

    graph = StateGraph(State).add_node("leaves", leaves).add_node("later", later)
    graph.add_edge(START, "leaves").add_edge("leaves", "later")
    parts = await shown(graph.compile(), left)
    await asyncio.gather(*running)
    assert disorder(parts) == []
    assert [part.data for part in parts if part.type == "custom"] or what is a_message
    assert [(record.levelno, record.getMessage()[:27]) for record in caplog.records] == [
        (logging.WARNING, "node 'leaves' left somethin")
    ]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.clause("S-ORD-2", "S-ORD-6")
async def test_a_subgraph_that_outlives_its_node_is_shown_no_longer(streamed: bool) -> None:
    left, running = Left(), set()

    async def inside(state: State, writer: StreamWriter) -> State:
        left.write(a_writer(writer))
        await asyncio.sleep(0)
        return {"log": ["inside"]}

    sub = StateGraph(State).add_node("inside", inside).add_edge(START, "inside")
    again = sub.add_conditional_edges(
        "inside", lambda state: [] if left.stop.is_set() else ["inside"], ["inside"]
    )
    compiled = again.compile()

    async def go_on() -> None:
        config = {"recursion_limit": 10**9}
        if streamed:
            async for _ in compiled.astream({}, config, stream_mode="custom"):
                pass
        else:
            await compiled.ainvoke({}, config)

    async def leaves(state: State) -> State:
        running.add(asyncio.ensure_future(go_on()))
        await left.until_it_has_written(3)
        return {"log": ["leaves"]}

    async def later(state: State) -> State:
        await left.until_it_has_written(3)
        return {"log": ["later"]}

    graph = StateGraph(State).add_node("leaves", leaves).add_node("later", later)
    graph.add_edge(START, "leaves").add_edge("leaves", "later")
    parts = await shown(graph.compile(), left)
    await asyncio.gather(*running)
    assert disorder(parts) == []
    ended = next(at for at, part in enumerate(parts) if part.node == "leaves" and "result" in part.data)
    assert [part for part in parts[ended:] if part.ns] == []
    assert [part for part in parts[:ended] if part.ns] != []


@pytest.mark.parametrize("in_subgraph", [True, False])
@pytest.mark.clause("S-ORD-3", "S-ORD-6")
def test_without_an_event_loop_it_is_the_same(in_subgraph: bool) -> None:
    left, parts = Left(), []

    def leaves(state: State, writer: StreamWriter) -> State:
        threading.Thread(target=left.go_on_in_a_thread, args=(a_writer(writer),), daemon=True).start()
        while left.writes < 3:
            pass
        return {"log": ["leaves"]}

    def later(state: State) -> State:
        target = left.writes + 100
        while left.writes < target:
            pass
        return {"log": ["later"]}

    graph = StateGraph(State).add_node("leaves", leaves).add_node("later", later)
    compiled = graph.add_edge(START, "leaves").add_edge("leaves", "later").compile()
    if in_subgraph:
        compiled = StateGraph(State).add_node("sub", compiled).add_edge(START, "sub").compile()
    with compiled.open_stream({}, EVERYTHING) as stream:
        parts = list(stream)
    left.stop.set()
    assert left.gone.wait(20)
    assert disorder(parts) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_called_after_its_caller_has_ended_is_refused() -> None:
    called: list[Any] = []
    ended = asyncio.Event()

    @task
    async def one(value: int) -> int:
        return value

    async def calls() -> None:
        await ended.wait()
        called.append(one)
        with pytest.raises(RuntimeError, match="task 'one' was called after 'flow' had ended"):
            one(1)
        called.append("refused")

    running = []

    @entrypoint()
    async def flow(value: Any) -> Any:
        running.append(asyncio.ensure_future(calls()))
        return await one(2)

    assert await flow.ainvoke({}) == 2
    ended.set()
    await running[0]
    assert called == [one, "refused"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_that_a_task_was_cancelled_is_kept_as_langgraph_keeps_it(durability: str) -> None:
    inside = anyio.Event()

    async def waits(state: State) -> None:
        inside.set()
        await anyio.sleep_forever()

    async def fails(state: State) -> None:
        await inside.wait()
        raise ValueError("x")

    async def answers(state: State) -> State:
        return {"log": ["ok"]}

    graph = StateGraph(State).add_node("a", waits).add_node("b", fails).add_node("c", answers)
    for name in "abc":
        graph.add_edge(START, name)
    compiled = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(ValueError, match="x"):
        await compiled.ainvoke({}, config, durability=durability)
    state = await compiled.aget_state(config)
    cancelled = None if durability == "exit" else "CancelledError()"
    errors = {one.name: one.error for one in state.tasks}
    assert errors == {"a": cancelled, "b": "ValueError('x')", "c": None}
