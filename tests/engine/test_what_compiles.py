"""A compile error is for what no run can do; these runs can be done."""

import operator
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

import pytest

from engine import END, START, Command, InMemorySaver, Send, StateGraph


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def says(word: str) -> Any:
    return lambda state: {"log": [word]}


def graph_of(**nodes: Any) -> Any:
    graph = StateGraph(Log)
    for name, node in nodes.items():
        graph.add_node(name, node)
    return graph.add_edge(START, next(iter(nodes)))


def log_of(graph: Any, input: Any = None, config: Any = None) -> list[str]:
    return list(graph.invoke(input or {"log": []}, config)["log"])


def goes(goto: Any) -> Any:
    def promises_b(state: Log) -> Command[Literal["b"]]:
        return Command(update={"log": ["a"]}, goto=goto)

    return promises_b


@pytest.mark.parametrize("goto", ["c", ["b", "c"], Send("c", {}), [Send("c", {}), "b"], END])
def test_a_command_may_go_beyond_its_annotation(goto: Any) -> None:
    log = log_of(graph_of(a=goes(goto), b=says("b"), c=says("c")).compile())
    targets = {getattr(one, "node", one) for one in (goto if isinstance(goto, list) else [goto])} - {END}
    assert (log[0], set(log[1:])) == ("a", targets)


def promises_outside(state: Log) -> Command[Literal["outside"]]:
    return Command(graph=Command.PARENT, goto="outside")


@pytest.mark.parametrize(
    "options", [{}, {"destinations": ("outside",)}, {"destinations": {"outside": "hands off"}}]
)
def test_a_command_may_be_annotated_with_a_node_of_the_graph_around(options: Any) -> None:
    inner = StateGraph(Log).add_node("h", promises_outside, **options).add_edge(START, "h").compile()
    outer = graph_of(sub=inner, outside=says("outside")).compile()
    assert log_of(outer) == ["outside"]
    assert '"outside"' not in inner.get_graph().draw_mermaid()
    assert "outside" in outer.get_graph(xray=True).draw_mermaid()


def test_a_router_may_send_beyond_its_annotation() -> None:
    def router(state: Log) -> Literal["b"]:
        return Send("c", {})  # type: ignore[return-value]

    graph = graph_of(a=says("a"), b=says("b"), c=says("c")).add_conditional_edges("a", router)
    assert log_of(graph.compile()) == ["a", "c"]


def test_a_node_may_have_several_edges_of_functions_with_the_same_name() -> None:
    graph = graph_of(a=says("a"), b=says("b"), c=says("c"))
    for target in "bc":
        graph.add_conditional_edges("a", lambda state, target=target: target, [target])
    assert log_of(graph.compile()) == ["a", "b", "c"]


def test_a_node_may_have_the_same_function_for_edges_that_lead_elsewhere() -> None:
    def long(state: Log) -> bool:
        return len(state["log"]) > 1

    graph = graph_of(a=says("a"), b=says("b"), c=says("c"), d=says("d"))
    graph.add_conditional_edges("a", long, {True: "b", False: END})
    graph.add_conditional_edges("a", long, {True: "c", False: "d"})
    assert log_of(graph.compile(), {"log": ["in"]}) == ["in", "a", "b", "c"]
    assert log_of(graph.compile()) == ["a", "d"]


def test_a_join_may_be_described_before_its_nodes() -> None:
    graph = StateGraph(Log).add_edge(["a", "b"], "c").add_edge(START, "a").add_edge(START, "b")
    for name in "abc":
        graph.add_node(name, says(name))
    assert log_of(graph.compile()) == ["a", "b", "c"]


def test_the_start_may_be_one_of_those_that_are_waited_for() -> None:
    graph = graph_of(a=says("a"), b=says("b")).add_edge([START, "a"], "b")
    assert log_of(graph.compile()) == ["a", "b"]


@pytest.mark.parametrize("way", ["command", "update"])
def test_a_node_that_no_edge_leads_to_may_still_be_gone_to(way: str) -> None:
    graph = graph_of(a=says("a"), aside=says("aside"), after=says("after")).add_edge("aside", "after")
    thread: Any = {"configurable": {"thread_id": "1"}}
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke({"log": []}, thread)
    if way == "command":
        assert log_of(compiled, Command(goto="aside"), thread) == ["a", "aside", "after"]
    else:
        compiled.update_state(thread, {"log": ["as aside"]}, as_node="aside")
        assert compiled.invoke(None, thread)["log"] == ["a", "as aside", "after"]


def _with_default(a: int, b: int, step: int = 1) -> int:
    return a + b + step


def _of_any(*values: int) -> int:
    return sum(values)


def _of_three(factor: int, a: int, b: int) -> int:
    return factor * (a + b)


@pytest.mark.parametrize("reducer", [max, _with_default, _of_any, partial(_of_three, 2), operator.add])
def test_a_reducer_is_whatever_can_be_called_with_two_values(reducer: Any) -> None:
    class State(TypedDict):
        n: Annotated[int, reducer]

    graph = StateGraph(State).add_node("a", lambda s: {"n": 4}).add_edge(START, "a").compile()
    assert graph.invoke({"n": 3}) == {"n": reducer(reducer(0, 3), 4)}


def test_a_method_may_be_a_reducer() -> None:
    class State(TypedDict):
        seen: Annotated[set[int], set.union]

    graph = StateGraph(State).add_node("a", lambda s: {"seen": {4}}).add_edge(START, "a").compile()
    assert graph.invoke({"seen": {3}}) == {"seen": {3, 4}}
