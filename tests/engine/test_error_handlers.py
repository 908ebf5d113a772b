"""Error handlers: they take over within the superstep, may route, and are what a resumed run goes on with."""

import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest

from engine import START, Command, InMemorySaver, NodeCancelledError, NodeError, StateGraph
from otel_stream import events as e
from tests.engine.recorder import WORLDS, record

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def fails(state: Log) -> Any:
    raise ValueError("broken")


def handles(state: Log, error: NodeError) -> Any:
    return {"log": [f"{error.node}: {error.error}"]}


@pytest.mark.parametrize("world", WORLDS)
def test_a_handled_failure_is_told_and_the_run_goes_on(world: str) -> None:
    graph = StateGraph(Log).add_node("a", fails, error_handler=handles).add_edge(START, "a").compile(name="g")
    recorder, loop = record(graph, {"log": []}, world=world)
    assert recorder.task_ends() == [("a", "error"), ("__error_handler__a", "ok")]
    assert [event.task.node for event in recorder.of(e.TaskStarted)] == ["a", "__error_handler__a"]
    assert loop.result == {"log": ["a: broken"]}


def test_a_handler_runs_while_the_others_of_its_superstep_still_do() -> None:
    handled = threading.Event()

    def handle(state: Log, error: NodeError) -> Any:
        handled.set()
        return {"log": ["handled"]}

    def waits(state: Log) -> Any:
        return {"log": [f"seen: {handled.wait(5)}"]}

    builder = StateGraph(Log).add_node("a", fails, error_handler=handle).add_node("b", waits)
    graph = builder.add_edge(START, "a").add_edge(START, "b").compile()
    assert sorted(graph.invoke({"log": []})["log"]) == ["handled", "seen: True"]


def test_a_handler_may_send_the_run_elsewhere() -> None:
    def elsewhere(state: Log, error: NodeError) -> Any:
        return Command(goto="b")

    builder = StateGraph(Log).add_node("a", fails, error_handler=elsewhere)
    builder.add_node("b", lambda state: {"log": ["b"]})
    assert builder.add_edge(START, "a").compile().invoke({"log": []}) == {"log": ["b"]}


def test_after_a_crash_the_handler_runs_again_and_the_node_does_not() -> None:
    calls: list[str] = []
    broken = [True]

    def node(state: Log) -> Any:
        calls.append("node")
        raise ValueError("broken")

    def handler(state: Log, error: NodeError) -> Any:
        calls.append("handler")
        if broken[0]:
            raise RuntimeError("also broken")
        return {"log": [str(error.error)]}

    builder = StateGraph(Log).add_node("a", node, error_handler=handler).add_edge(START, "a")
    graph = builder.compile(checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="also broken"):
        graph.invoke({"log": []}, CONFIG)
    broken[0] = False
    assert "broken" in graph.invoke(None, CONFIG)["log"][0]
    assert calls == ["node", "handler", "handler"]


def test_a_node_that_cancels_itself_fails_the_run() -> None:
    import asyncio

    async def cancels(state: Log) -> Any:
        raise asyncio.CancelledError

    graph = StateGraph(Log).add_node("a", cancels).add_edge(START, "a").compile()
    with pytest.raises(NodeCancelledError):
        asyncio.run(graph.ainvoke({"log": []}))
