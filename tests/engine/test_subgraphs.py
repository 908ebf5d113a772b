"""Graphs within graphs: whose state is whose, and what is seen from outside."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from engine import START, Command, InMemorySaver, RetryPolicy, StateGraph, interrupt

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def alone(node: Any, *, name: str = "n", checkpointer: Any = None) -> Any:
    return StateGraph(Log).add_node(name, node).add_edge(START, name).compile(checkpointer=checkpointer)


def counts(state: Log) -> Any:
    return {"log": [str(len(state["log"]))]}


@pytest.mark.parametrize(("memory", "logs"), [(None, ["0", "0"]), (False, ["0", "0"]), (True, ["0", "1"])])
def test_a_subgraph_remembers_only_if_it_is_told_to(memory: Any, logs: list[str]) -> None:
    inner = alone(counts, checkpointer=memory)
    graph = alone(lambda state: {"log": inner.invoke({"log": []})["log"][-1:]}, checkpointer=InMemorySaver())
    assert [graph.invoke({"log": []}, CONFIG)["log"][-1] for _ in logs] == logs


def test_calls_of_one_node_are_kept_apart() -> None:
    inner = alone(counts, checkpointer=True)

    def node(state: Log) -> Any:
        return {"log": [inner.invoke({"log": []})["log"][-1], inner.invoke({"log": []})["log"][-1]]}

    graph = alone(node, checkpointer=InMemorySaver())
    graph.invoke({"log": []}, CONFIG)
    assert graph.invoke({"log": []}, CONFIG)["log"][-2:] == ["1", "1"]


def test_the_state_of_a_subgraph_that_waits_can_be_seen_and_changed() -> None:
    inner = alone(lambda state: {"log": [interrupt("?")]}, name="ask")
    graph = alone(inner, name="sub", checkpointer=InMemorySaver())
    graph.invoke({"log": ["in"]}, CONFIG)
    place = graph.get_state(CONFIG).tasks[0].state
    inside = graph.get_state(CONFIG, subgraphs=True).tasks[0].state
    assert (inside.values, inside.next) == ({"log": ["in"]}, ("ask",))
    assert graph.get_state(place).values == {"log": ["in"]}
    graph.update_state(place, {"log": ["as ask"]}, as_node="ask")
    assert graph.invoke(None, CONFIG)["log"] == ["in", "in", "as ask"]


def test_a_graph_that_a_function_calls_is_a_subgraph_too() -> None:
    inner = alone(lambda state: {"log": [interrupt("?")]}, name="ask")

    def node(state: Log) -> Any:
        return inner.invoke(state)

    graph = alone(node, checkpointer=InMemorySaver())
    assert [name for name, _ in graph.get_subgraphs()] == ["n"]
    graph.invoke({"log": []}, CONFIG)
    assert graph.get_state(CONFIG, subgraphs=True).tasks[0].state.next == ("ask",)


def test_a_subgraph_on_a_thread_of_its_own_is_not_the_callers() -> None:
    own: dict[str, Any] = {"configurable": {"thread_id": "own"}}
    saver = InMemorySaver()
    inner = alone(counts, checkpointer=saver)
    graph = alone(lambda state: {"log": inner.invoke({"log": []}, own)["log"]}, checkpointer=saver)
    graph.invoke({"log": []}, CONFIG)
    graph.invoke({"log": []}, CONFIG)
    assert inner.get_state(own).values == {"log": ["0", "1"]}


def test_streams_show_the_whole_state_and_invoke_the_output() -> None:
    class Output(TypedDict):
        out: str

    class State(Output):
        secret: str

    builder = StateGraph(State, output_schema=Output)
    builder.add_node("a", lambda state: {"secret": "s", "out": "o"}).add_edge(START, "a")
    graph = builder.compile()
    assert list(graph.stream({"secret": "x"}, stream_mode="values")) == [
        {"secret": "x"},
        {"secret": "s", "out": "o"},
    ]
    assert graph.invoke({"secret": "x"}) == {"out": "o"}
    assert list(graph.stream({"secret": "x"}, output_keys="out")) == [{"a": "o"}]
    with pytest.raises(ValueError, match="output_keys: 'nothing' is no key of the state"):
        graph.invoke({"secret": "x"}, output_keys="nothing")


def test_a_command_from_below_makes_its_target_reachable() -> None:
    inner = alone(lambda state: Command(graph=Command.PARENT, goto="there"))

    def here(state: Log) -> Any:
        inner.invoke(state)
        return {}

    builder = StateGraph(Log).add_node("here", here).add_node("there", lambda state: {"log": ["there"]})
    assert builder.add_edge(START, "here").compile().invoke({"log": []}) == {"log": ["there"]}


def fails_first() -> Any:
    attempts: list[None] = []

    def node(state: Log) -> Any:
        attempts.append(None)
        if len(attempts) == 1:
            raise ConnectionError
        return {"log": ["b"]}

    return node


@pytest.mark.parametrize("memory", [None, True, False])
def test_a_subgraph_that_is_tried_again_starts_anew(memory: Any) -> None:
    inner = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]}).add_node("b", fails_first())
    inner.add_edge(START, "a").add_edge("a", "b")
    graph = StateGraph(Log)
    graph.add_node("sub", inner.compile(memory), retry_policy=RetryPolicy(initial_interval=0.001))
    compiled = graph.add_edge(START, "sub").compile(InMemorySaver())
    parts = list(compiled.stream({"log": ["in"]}, CONFIG, subgraphs=True))
    # The updates of the root are the whole log of the subgraph, which had the input to begin with.
    assert [update for ns, update in parts if not ns] == [{"sub": {"log": ["in", "a", "b"]}}]
    assert [list(update) for ns, update in parts if ns] == [["a"], ["a"], ["b"]]


def test_a_graph_that_keeps_nothing_passes_on_when_to_store() -> None:
    stored: list[str] = []

    class Saver(InMemorySaver):
        def put(self, config: Any, *rest: Any) -> Any:
            stored.append(config["configurable"]["checkpoint_ns"].count("|") * "inner" or "outer")
            return super().put(config, *rest)

    middle = alone(alone(counts), checkpointer=False)
    alone(middle, checkpointer=Saver()).invoke({"log": []}, CONFIG, durability="exit")
    assert stored == ["outer"]
