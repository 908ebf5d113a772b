"""Edges that raise after their node has answered: what it wrote is shown, and not lost."""

import itertools
import operator
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any, TypedDict

import pytest

from engine import START, Command, InMemorySaver, NodeError, RetryPolicy, StateGraph, interrupt
from otel_stream.events import SuperstepStarted, TaskEnded
from otel_stream.runs import End
from tests.engine.recorder import WORLDS, record, unbalanced

THREAD: Any = {"configurable": {"thread_id": "1"}}


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def raises(*left: Exception) -> Callable[[Any], str]:
    """A router that raises each of ``left``, and then chooses ``b``."""
    errors = list(left)

    def router(state: Log) -> str:
        if errors:
            raise errors.pop(0)
        return "b"

    return router


def graph_of(*routers: Any, answer: Any = None, saver: Any = None, **options: Any) -> Any:
    graph = StateGraph(Log).add_node("a", lambda s: answer or {"log": ["a"]}, **options)
    graph.add_node("b", lambda s: {"log": ["b"]}).add_edge(START, "a")
    for router in routers:
        graph.add_conditional_edges("a", router, ["b"])
    return graph.compile(checkpointer=saver)


BOOM = ValueError("boom")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    ("routers", "answer", "kind"),
    [
        ([lambda s: "nowhere"], None, KeyError),
        ([lambda s: None], None, KeyError),
        ([raises(BOOM, BOOM, BOOM)], None, ValueError),
        ([lambda s: "b", raises(BOOM, BOOM, BOOM)], None, ValueError),
        ([raises(BOOM, BOOM, BOOM)], Command(update={"log": ["a"]}, goto="b"), ValueError),
    ],
    ids=["unknown", "None", "raises", "the second", "beside a command"],
)
def test_what_a_node_has_answered_is_shown_beside_the_error_of_its_edge(
    routers: list[Any], answer: Any, kind: type[Exception], world: str
) -> None:
    recorder, loop = record(graph_of(*routers, answer=answer), {"log": []}, world=world)
    (ended,) = recorder.of(TaskEnded)
    assert (ended.end, ended.update, ended.result) == (End.ERROR, {"log": ["a"]}, {"log": ["a"]})
    assert ended.error is loop.error
    assert type(ended.error) is kind
    assert unbalanced(recorder.events) == []


def test_the_update_comes_before_the_result_and_the_error_last() -> None:
    stream = graph_of(raises(BOOM)).stream({"log": []}, stream_mode=["updates", "tasks"])
    shown = [(mode, data.get("result", data)) for mode, data in itertools.islice(stream, 3)]
    assert shown[1:] == [("updates", {"a": {"log": ["a"]}}), ("tasks", {"log": ["a"]})]
    with pytest.raises(ValueError, match="boom"):
        next(stream)


def test_an_attempt_that_is_repeated_has_written_nothing() -> None:
    graph = graph_of(raises(BOOM), retry_policy=RetryPolicy(initial_interval=0, retry_on=ValueError))
    assert list(graph.stream({"log": []})) == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]


@pytest.mark.parametrize("world", WORLDS)
def test_an_error_handler_comes_on_top_of_what_its_node_has_written(world: str) -> None:
    def handle(state: Log, error: NodeError) -> Log:
        return {"log": [str(error.error)]}

    _, loop = record(graph_of(raises(BOOM), error_handler=handle), {"log": []}, world=world)
    assert loop.result == {"log": ["a", "boom"]}


def test_what_its_node_has_written_is_there_when_the_handler_had_to_ask() -> None:
    graph = graph_of(
        raises(BOOM), error_handler=lambda s, error: {"log": [interrupt("?")]}, saver=InMemorySaver()
    )
    graph.invoke({"log": []}, THREAD)
    assert graph.invoke(Command(resume="yes"), THREAD) == {"log": ["a", "yes"]}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_node_whose_edge_has_raised_runs_again_with_its_edge(durability: Any) -> None:
    graph = graph_of(raises(BOOM), saver=InMemorySaver())
    with pytest.raises(ValueError, match="boom"):
        graph.invoke({"log": []}, THREAD, durability=durability)
    state = graph.get_state(THREAD)
    assert (state.values, state.next) == ({"log": []}, ("a",))
    assert graph.invoke(None, THREAD) == {"log": ["a", "b"]}


def test_an_edge_may_ask() -> None:
    graph = graph_of(lambda s: interrupt("which?"), saver=InMemorySaver())
    shown = graph.invoke({"log": []}, THREAD)
    assert ([one.value for one in shown["__interrupt__"]], shown["log"]) == (["which?"], ["a"])
    assert graph.invoke(Command(resume="b"), THREAD) == {"log": ["a", "b"]}


def test_input_from_update_state_is_in_what_is_shown_beside_a_question() -> None:
    graph = graph_of(raises(), saver=InMemorySaver()).builder
    graph.add_node("ask", lambda s: {"log": [interrupt("?")]}).add_edge("a", "ask")
    asking = graph.compile(InMemorySaver(), interrupt_before=["ask", "b"])
    asking.invoke({"log": ["in"]}, THREAD)
    asking.update_state(THREAD, {"log": ["more"]}, as_node="__input__")
    assert asking.invoke(None, THREAD)["log"] == ["in", "a", "more", "b"]


@pytest.mark.parametrize("world", WORLDS)
def test_tasks_beside_input_from_update_state_start_and_end(world: str) -> None:
    graph = graph_of(raises(), saver=InMemorySaver())
    graph.invoke({"log": ["in"]}, THREAD, interrupt_before=["b"])
    graph.update_state(THREAD, {"log": ["more"]}, as_node="__input__")
    assert graph.get_state(THREAD).next == ("__start__", "b")
    recorder, loop = record(graph, None, THREAD, world=world)
    assert loop.result == {"log": ["in", "a", "more", "b", "a", "b"]}
    assert recorder.task_ends() == [("b", "ok"), ("a", "ok"), ("b", "ok")]
    started = [[task.node for task in event.tasks] for event in recorder.of(SuperstepStarted)]
    assert started == [["b"], ["a"], ["b"]]
    assert unbalanced(recorder.events) == []


SAID: ContextVar[str] = ContextVar("SAID", default="nothing")


@pytest.mark.parametrize("world", WORLDS)
def test_a_router_sees_what_its_node_has_set_in_context_variables(world: str) -> None:
    seen: list[str] = []

    def node(state: Any) -> None:
        seen.append(SAID.get())
        SAID.set("something")

    def router(state: Any) -> str:
        seen.append(SAID.get())
        return "b"

    graph = StateGraph(dict).add_node("a", node).add_node("b", node).add_edge(START, "a")
    record(graph.add_conditional_edges("a", router, ["b"]).compile(), {"x": 1}, THREAD, world=world)
    assert (seen, SAID.get()) == (["nothing", "something", "nothing"], "nothing")
