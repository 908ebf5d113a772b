"""Going back in a thread: its history, running on from an old checkpoint, and changing one."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from engine import START, Command, InMemorySaver, InvalidUpdateError, StateGraph, StateUpdate, interrupt

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def says(*words: str) -> Any:
    """A node that adds one word per call, another one each time."""
    left = list(words)
    return lambda state: {"log": [left.pop(0)]}


def chain(saver: Any = None, **nodes: Any) -> Any:
    return (
        StateGraph(Log)
        .add_sequence(list(nodes.items()))
        .add_edge(START, next(iter(nodes)))
        .compile(checkpointer=saver or InMemorySaver())
    )


def history(graph: Any) -> list[tuple[Any, ...]]:
    """Newest first: what comes next, the state, and the parent's place in the list."""
    states = list(graph.get_state_history(CONFIG))
    ids = [state.config["configurable"]["checkpoint_id"] for state in states]
    return [
        (
            state.next,
            state.values["log"],
            state.parent_config and ids.index(state.parent_config["configurable"]["checkpoint_id"]),
        )
        for state in states
    ]


def before(graph: Any, node: str) -> Any:
    return next(s.config for s in graph.get_state_history(CONFIG) if s.next == (node,))


def test_history_shows_every_superstep_with_what_its_tasks_came_to() -> None:
    graph = chain(a=says("a"), b=says("b"))
    graph.invoke({"log": ["in"]}, CONFIG)
    assert [
        (state.metadata["source"], state.next, [(task.name, task.result) for task in state.tasks])
        for state in graph.get_state_history(CONFIG)
    ] == [
        ("loop", (), []),
        ("loop", ("b",), [("b", {"log": ["b"]})]),
        ("loop", ("a",), [("a", {"log": ["a"]})]),
        ("input", ("__start__",), [("__start__", {"log": ["in"]})]),
    ]


def test_a_replay_starts_a_branch_and_leaves_the_old_one_alone() -> None:
    graph = chain(a=says("a"), b=says("b1", "b2"), c=says("c1", "c2"))
    graph.invoke({"log": []}, CONFIG)
    old = history(graph)
    assert graph.invoke(None, before(graph, "b")) == {"log": ["a", "b2", "c2"]}
    assert history(graph) == [
        ((), ["a", "b2", "c2"], 1),
        (("c",), ["a", "b2"], 2),
        (("b",), ["a"], 5),
        *((next, log, parent and parent + 3) for next, log, parent in old),
    ]
    assert graph.get_state(CONFIG).values == {"log": ["a", "b2", "c2"]}


def test_an_updated_checkpoint_is_a_branch_already() -> None:
    graph = chain(a=says("a"), b=says("b1", "b2"))
    graph.invoke({"log": []}, CONFIG)
    fork = graph.update_state(before(graph, "b"), {"log": ["x"]})
    assert graph.invoke(None, fork) == {"log": ["a", "x", "b2"]}
    assert [state.metadata["source"] for state in graph.get_state_history(CONFIG)] == [
        "loop",
        "update",
        "loop",
        "loop",
        "loop",
        "input",
    ]


def test_a_replay_from_the_end_does_nothing() -> None:
    graph = chain(a=says("a"))
    graph.invoke({"log": []}, CONFIG)
    assert graph.invoke(None, graph.get_state(CONFIG).config) == {"log": ["a"]}


def test_a_question_is_asked_anew_when_the_run_is_replayed() -> None:
    graph = chain(ask=lambda state: {"log": [interrupt("?")]}, b=says("b1", "b2"))
    graph.invoke({"log": []}, CONFIG)
    assert graph.invoke(Command(resume="one"), CONFIG) == {"log": ["one", "b1"]}
    again = graph.invoke(None, before(graph, "ask"))
    assert [i.value for i in again["__interrupt__"]] == ["?"]
    assert graph.invoke(Command(resume="two"), CONFIG) == {"log": ["two", "b2"]}


def test_a_subgraph_is_replayed_from_where_it_was_then() -> None:
    inner = (
        StateGraph(Log)
        .add_node("seen", lambda state: {"log": [f"seen {len(state['log'])}"]})
        .add_edge(START, "seen")
        .compile(checkpointer=True)
    )
    graph = chain(sub=inner)
    graph.invoke({"log": []}, CONFIG)
    first = before(graph, "sub")
    graph.invoke({"log": []}, CONFIG)
    assert graph.invoke(None, first)["log"] == ["seen 0"]


def test_an_update_names_the_node_that_acted_last() -> None:
    graph = chain(a=says("a"), b=says("b"))
    graph.invoke({"log": []}, CONFIG, interrupt_before=["b"])
    graph.update_state(CONFIG, {"log": ["as a"]})
    assert graph.get_state(CONFIG).next == ("b",)
    assert graph.invoke(None, CONFIG) == {"log": ["a", "as a", "b"]}


def test_input_can_be_given_without_running() -> None:
    graph = chain(a=says("a"))
    graph.update_state(CONFIG, {"log": ["in"]}, as_node="__input__")
    assert graph.get_state(CONFIG).next == ("__start__",)
    assert graph.invoke(None, CONFIG) == {"log": ["in", "a"]}


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ([StateUpdate({"log": []}, "nobody")], "Node nobody does not exist"),
        ([StateUpdate({"log": []}, None)] * 2, "as_node is required when applying multiple updates"),
        ([StateUpdate(None, "__copy__")], "Cannot copy a non-existent checkpoint"),
    ],
)
def test_an_update_that_can_not_be_is_refused(updates: list[StateUpdate], sentence: str) -> None:
    with pytest.raises(InvalidUpdateError) as caught:
        chain(a=says("a")).bulk_update_state(CONFIG, [updates])
    assert str(caught.value) == sentence


def test_a_thread_must_be_named() -> None:
    with pytest.raises(ValueError, match="thread_id: missing"):
        chain(a=says("a")).get_state({})
