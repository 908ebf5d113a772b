"""Describing a graph: what may stand where, and that the run does what the description says."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import BaseModel

from engine import END, START, Command, InMemorySaver, MessagesState, Overwrite, Send, StateGraph


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    x: int


class Says:
    """A node that logs its name; callable in every way a node may be."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, state: Any) -> dict[str, Any]:
        return {"log": [self.name]}


def say(name: str) -> Callable[[Any], dict[str, Any]]:
    return Says(name)


def chain(*names: str) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    for name in names:
        graph.add_node(name, say(name))
    for one, other in zip((START, *names), (*names, END), strict=True):
        graph.add_edge(one, other)
    return graph


async def both(graph: StateGraph[Any, Any, Any, Any], input: Any) -> Any:
    """Return the result of the graph, which is the same with and without an event loop."""
    compiled = graph.compile()
    result = await compiled.ainvoke(input)
    assert compiled.invoke(input) == result
    return result


# -- states ----------------------------------------------------------------------------------------


@dataclass
class Point:
    x: int
    log: Annotated[list[str], operator.add] = field(default_factory=list)


class Model(BaseModel):
    x: int
    log: Annotated[list[str], operator.add] = []


@pytest.mark.parametrize("schema", [State, Point, Model])
async def test_the_state_may_be_a_typed_dict_a_dataclass_or_a_model(schema: Any) -> None:
    seen: list[Any] = []

    def node(state: Any) -> dict[str, Any]:
        seen.append(state)
        return {"log": ["a"]}

    graph = StateGraph(schema).add_node("a", node).add_edge(START, "a")
    assert await both(graph, {"x": 1}) == {"x": 1, "log": ["a"]}
    expected = {"x": 1, "log": []} if schema is State else schema(x=1, log=[])
    assert seen == [expected, expected]


async def test_a_model_checks_what_a_node_is_given() -> None:
    graph = StateGraph(Model).add_node("a", say("a")).add_edge(START, "a")
    with pytest.raises(ValueError, match="valid integer"):
        await graph.compile().ainvoke({"x": "many"})


async def test_a_node_may_answer_with_an_object_of_its_schema() -> None:
    def node(state: Point) -> Point:
        return Point(x=state.x + 1, log=["a"])

    graph = StateGraph(Point).add_node("a", node).add_edge(START, "a")
    assert await both(graph, Point(x=1)) == {"x": 2, "log": ["a"]}


async def test_a_state_may_be_a_single_value() -> None:
    graph = StateGraph(Annotated[list[str], operator.add])
    graph.add_node("a", lambda state: [*state, "a"]).add_edge(START, "a")
    assert await both(graph, ["in"]) == ["in", "in", "a"]


async def test_input_and_output_schemas_narrow_what_goes_in_and_out() -> None:
    class In(TypedDict):
        x: int

    class Out(TypedDict):
        log: Annotated[list[str], operator.add]

    def node(state: State) -> dict[str, Any]:
        return {"log": [f"{state.get('x')}"], "x": 5}

    graph = StateGraph(State, input_schema=In, output_schema=Out).add_node("a", node).add_edge(START, "a")
    assert await both(graph, {"x": 1, "log": ["not an input"]}) == {"log": ["1"]}


async def test_a_node_sees_the_keys_of_its_own_schema() -> None:
    class Less(TypedDict):
        x: int

    seen: list[Any] = []

    def node(state: Less) -> dict[str, Any]:
        seen.append(state)
        return {"log": ["a"]}

    graph = StateGraph(State).add_node("a", node).add_edge(START, "a")
    assert await both(graph, {"x": 1, "log": ["in"]}) == {"x": 1, "log": ["in", "a"]}
    assert seen == [{"x": 1}, {"x": 1}]


async def test_messages_are_merged_by_id() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [{"role": "assistant", "content": "new", "id": "2"}]}

    graph = StateGraph(MessagesState).add_node("a", node).add_edge(START, "a")
    given = [{"role": "user", "content": "hi", "id": "1"}, {"role": "assistant", "content": "old", "id": "2"}]
    result = await graph.compile().ainvoke({"messages": given})
    assert [(m.id, m.content) for m in result["messages"]] == [("1", "hi"), ("2", "new")]


async def test_overwrite_bypasses_the_reducer() -> None:
    graph = StateGraph(State).add_node("a", lambda state: {"log": Overwrite(["only"])}).add_edge(START, "a")
    assert await both(graph, {"log": ["in"]}) == {"log": ["only"]}


async def test_keys_that_are_no_state_are_ignored() -> None:
    graph = StateGraph(State).add_node("a", lambda state: {"nope": 1, "x": 2}).add_edge(START, "a")
    assert await both(graph, {"log": []}) == {"log": [], "x": 2}


# -- nodes -----------------------------------------------------------------------------------------


async def test_whatever_can_be_called_can_be_a_node() -> None:
    def named(state: Any) -> dict[str, Any]:
        return {"log": ["named"]}

    def two(state: Any, *, name: str) -> dict[str, Any]:
        return {"log": [name]}

    class Holder:
        def method(self, state: Any) -> dict[str, Any]:
            return {"log": ["method"]}

    graph = StateGraph(State)
    graph.add_sequence(
        [named, Holder().method, ("object", Says("object")), ("partial", partial(two, name="partial"))]
    )
    graph.add_edge(START, "named")
    assert await both(graph, {"log": []}) == {"log": ["named", "method", "object", "partial"]}
    assert list(graph.nodes) == ["named", "method", "object", "partial"]


async def test_sync_and_async_nodes_mix() -> None:
    async def later(state: Any) -> dict[str, Any]:
        return {"log": ["async"]}

    class AsyncObject:
        async def __call__(self, state: Any) -> dict[str, Any]:
            return {"log": ["async object"]}

    graph = StateGraph(State).add_sequence([("sync", say("sync")), later, ("object", AsyncObject())])
    graph.add_edge(START, "sync")
    assert await graph.compile().ainvoke({"log": []}) == {"log": ["sync", "async", "async object"]}


async def test_a_node_that_returns_nothing_changes_nothing() -> None:
    graph = StateGraph(State).add_node("a", lambda state: None).add_edge(START, "a")
    assert await both(graph, {"x": 1}) == {"x": 1, "log": []}


async def test_what_a_compiled_graph_does_is_not_changed_by_describing_more() -> None:
    graph = chain("a")
    compiled = graph.compile()
    graph.add_node("b", say("b")).add_edge("a", "b")
    assert await compiled.ainvoke({"log": []}) == {"log": ["a"]}
    assert await graph.compile().ainvoke({"log": []}) == {"log": ["a", "b"]}


# -- edges -----------------------------------------------------------------------------------------


async def test_static_edges_run_one_after_the_other() -> None:
    assert await both(chain("a", "b", "c"), {"log": ["in"]}) == {"log": ["in", "a", "b", "c"]}


async def test_two_edges_fan_out_and_the_reducer_merges_by_name() -> None:
    graph = StateGraph(State)
    for name in ("z", "m", "a"):
        graph.add_node(name, say(name)).add_edge(START, name)
    assert await both(graph, {"log": []}) == {"log": ["a", "m", "z"]}


async def test_a_list_edge_joins_once_when_all_are_through() -> None:
    graph = chain("a", "b")
    graph.add_node("c", say("c")).add_edge(START, "c")
    graph.add_node("joined", say("joined")).add_edge(["b", "c"], "joined")
    assert await both(graph, {"log": []}) == {"log": ["a", "c", "b", "joined"]}


async def test_two_single_edges_do_not_join() -> None:
    graph = chain("a", "b")
    graph.add_node("c", say("c")).add_edge(START, "c")
    graph.add_node("end", say("end")).add_edge("b", "end").add_edge("c", "end")
    assert await both(graph, {"log": []}) == {"log": ["a", "c", "b", "end", "end"]}


async def test_a_deferred_node_runs_when_nothing_else_is_left() -> None:
    graph = chain("a", "b")
    graph.add_node("c", say("c")).add_edge(START, "c")
    graph.add_node("end", say("end"), defer=True).add_edge("b", "end").add_edge("c", "end")
    assert await both(graph, {"log": []}) == {"log": ["a", "c", "b", "end"]}


@pytest.mark.parametrize(
    ("path_map", "answer", "expected"),
    [
        (None, "b", ["a", "b"]),
        (None, END, ["a"]),
        (None, ["b", "c"], ["a", "b", "c"]),
        (None, [], ["a"]),
        (["b", "c"], "c", ["a", "c"]),
        ({True: "b", False: END}, True, ["a", "b"]),
        ({True: "b", False: END}, False, ["a"]),
        (None, [Send("b", {}), Send("b", {})], ["a", "b", "b"]),
        (None, [Send("c", {}), "b"], ["a", "b", "c"]),
    ],
)
async def test_a_conditional_edge_goes_where_its_router_says(
    path_map: Any, answer: Any, expected: Any
) -> None:
    graph = StateGraph(State).add_node("a", say("a")).add_edge(START, "a")
    graph.add_node("b", say("b")).add_node("c", say("c"))
    graph.add_conditional_edges("a", lambda state: answer, path_map).add_conditional_edges(
        "b", lambda state: END, {END: END, "never": "c"}
    )
    assert await both(graph, {"log": []}) == {"log": expected}


async def test_a_router_may_be_async_and_reads_what_its_node_has_just_written() -> None:
    seen: list[Any] = []

    async def route(state: State) -> Literal["b", "c"]:
        seen.append(state)
        return "c" if state.get("x") else "b"

    graph = StateGraph(State).add_node("a", lambda state: {"x": 1}).add_edge(START, "a")
    graph.add_node("b", say("b")).add_node("c", say("c")).add_conditional_edges("a", route)
    assert await graph.compile().ainvoke({"log": ["in"]}) == {"log": ["in", "c"], "x": 1}
    assert seen == [{"log": ["in"], "x": 1}]


async def test_a_run_may_start_conditionally() -> None:
    graph = StateGraph(State).add_node("a", say("a")).add_node("b", say("b"))
    graph.set_conditional_entry_point(lambda state: "b" if state.get("x") else "a")
    assert await both(graph, {"x": 1}) == {"x": 1, "log": ["b"]}
    assert await both(graph, {"x": 0}) == {"x": 0, "log": ["a"]}


async def test_send_maps_and_the_reducer_reduces_in_the_order_of_the_packets() -> None:
    graph = StateGraph(State).add_node("split", say("split")).add_edge(START, "split")
    graph.add_node("work", lambda item: {"log": [str(item)]})
    graph.add_node("sum", lambda state: {"x": len(state["log"])})
    graph.add_conditional_edges("split", lambda state: [Send("work", n) for n in range(12)], ["work"])
    graph.add_edge("work", "sum")
    assert await both(graph, {"log": []}) == {"log": ["split", *map(str, range(12))], "x": 13}


async def test_a_loop_goes_round_until_its_router_is_content() -> None:
    graph = (
        StateGraph(State)
        .add_node("a", lambda state: {"x": state["x"] + 1, "log": ["a"]})
        .add_edge(START, "a")
    )
    graph.add_conditional_edges("a", lambda state: "a" if state["x"] < 4 else END, ["a", END])
    assert await both(graph, {"x": 0}) == {"x": 4, "log": ["a"] * 4}


@pytest.mark.parametrize(
    "way", [Command(goto="island"), Send("island", {}), "update_state"], ids=["command", "send", "update"]
)
def test_a_node_that_no_edge_leads_to_runs_when_it_is_sent_to(way: Any) -> None:
    def a(state: Any) -> Any:
        return Command(goto=way) if isinstance(way, Send) else {"log": ["a"]}

    graph = StateGraph(State).add_node("a", a).add_node("before", say("before"))
    graph.add_node("island", say("island")).add_edge(START, "a").add_edge("before", "island")
    compiled, config = graph.compile(InMemorySaver()), {"configurable": {"thread_id": "1"}}
    compiled.invoke({"log": []}, config)
    if way == "update_state":
        compiled.update_state(config, {"log": ["by hand"]}, as_node="before")
        compiled.invoke(None, config)
    elif isinstance(way, Command):
        compiled.invoke(way, config)
    assert compiled.get_state(config).values["log"][-1] == "island"


# -- commands --------------------------------------------------------------------------------------


async def test_a_command_updates_and_routes_in_one() -> None:
    def decide(state: Any) -> Command[Literal["b", "c"]]:
        return Command(update={"x": 1, "log": ["decide"]}, goto="c")

    graph = StateGraph(State).add_node("decide", decide).add_edge(START, "decide")
    graph.add_node("b", say("b")).add_node("c", say("c"))
    assert await both(graph, {"log": []}) == {"log": ["decide", "c"], "x": 1}


async def test_a_command_may_go_to_several_send_and_come_with_others() -> None:
    def decide(state: Any) -> list[Command[Literal["b", "c"]]]:
        return [Command(goto=["b", Send("c", {})]), Command(update={"log": ["decide"]})]

    graph = StateGraph(State).add_node("decide", decide, destinations=("b", "c")).add_edge(START, "decide")
    graph.add_node("b", say("b")).add_node("c", say("c"))
    assert await both(graph, {"log": []}) == {"log": ["decide", "b", "c"]}


async def test_a_command_may_be_for_the_graph_around() -> None:
    def up(state: Any) -> Command[Any]:
        return Command(graph=Command.PARENT, update={"log": ["from below"]}, goto="b")

    sub = StateGraph(State).add_node("up", up).add_edge(START, "up").compile()
    graph = StateGraph(State).add_node("sub", sub, destinations=("b",)).add_edge(START, "sub")
    graph.add_node("b", say("b"))
    assert await both(graph, {"log": []}) == {"log": ["from below", "b"]}


async def test_input_may_be_a_command() -> None:
    graph = chain("a", "b")
    assert await both(graph, {"log": []}) == {"log": ["a", "b"]}
    with pytest.raises(Exception, match=r"^There is no parent graph$"):
        await graph.compile().ainvoke(Command(graph=Command.PARENT, update={"log": []}))


# -- subgraphs -------------------------------------------------------------------------------------


async def test_a_graph_may_be_a_node_of_another_graph() -> None:
    graph = StateGraph(State).add_node("outer", say("outer")).add_node("inner", chain("i", "j").compile())
    graph.add_edge(START, "outer").add_edge("outer", "inner")
    # The subgraph's whole output is its update: what it was given is in it, too.
    assert await both(graph, {"log": []}) == {"log": ["outer", "outer", "i", "j"]}


async def test_a_node_may_call_a_graph_itself() -> None:
    sub = chain("i").compile()

    async def node(state: Any) -> dict[str, Any]:
        return {"log": (await sub.ainvoke({"log": []}))["log"]}

    graph = StateGraph(State).add_node("a", node).add_edge(START, "a")
    assert await graph.compile().ainvoke({"log": ["in"]}) == {"log": ["in", "i"]}


@pytest.mark.parametrize("depth", [1, 4])
async def test_graphs_nest(depth: int) -> None:
    inner: Any = say("leaf")
    for level in range(depth):
        inner = StateGraph(State).add_node(f"n{level}", inner).add_edge(START, f"n{level}").compile()
    assert await inner.ainvoke({}) == {"log": ["leaf"]}
    assert inner.invoke({}) == {"log": ["leaf"]}
