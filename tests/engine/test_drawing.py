"""What a graph looks like: nodes, edges, and a diagram."""

from typing import Any, Literal

import pytest
from langchain_core.runnables.graph import Edge as LangChainEdge

from engine import END, START, Command, StateGraph, entrypoint
from tests.engine.samples import State, boom, chain, compiled, say


def drawn(graph: Any, **options: Any) -> list[tuple[Any, ...]]:
    return [tuple(edge) for edge in graph.get_graph(**options).edges]


def routed() -> Any:
    def either(state: State) -> Literal["b", "__end__"]:
        return "b"

    graph = StateGraph(State).add_node("a", say("a")).add_node("b", say("b")).add_node("c", say("c"))
    graph.add_edge(START, "a").add_conditional_edges("a", either)
    graph.add_conditional_edges("b", lambda state: True, {True: "c", False: "a"})
    return graph.compile(interrupt_before=["b"], interrupt_after="*")


def test_a_chain_ends_after_its_last_node() -> None:
    assert drawn(chain("a", "b")) == [
        (START, "a", None, False),
        ("a", "b", None, False),
        ("b", END, None, False),
    ]


def test_a_router_has_dotted_edges_with_what_it_answers() -> None:
    assert drawn(routed()) == [
        (START, "a", None, False),
        ("a", END, None, True),
        ("a", "b", None, True),
        ("b", "a", "False", True),
        ("b", "c", "True", True),
        ("c", END, None, False),
    ]


def test_a_router_that_does_not_say_may_go_anywhere() -> None:
    graph = StateGraph(State).add_node("a", say("a")).add_node("b", say("b")).add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: "b")
    assert drawn(graph.compile())[1:4] == [("a", target, None, True) for target in (END, "a", "b")]


@pytest.mark.parametrize(("given", "label"), [(["b"], None), ({"b": "when done"}, "when done")])
def test_a_command_goes_where_its_node_says(given: Any, label: str | None) -> None:
    graph = StateGraph(State).add_node("a", lambda state: Command(goto="b"), destinations=given)
    graph.add_node("b", say("b")).add_edge(START, "a")
    assert drawn(graph.compile()) == [
        (START, "a", None, False),
        ("a", "b", label, True),
        ("b", END, None, False),
    ]


def test_a_join_and_an_error_handler_have_edges() -> None:
    graph = StateGraph(State).add_node("a", boom, error_handler=say("h")).add_node("b", say("b"))
    graph.add_node("c", say("c"), defer=True).add_edge(START, "a").add_edge(START, "b").add_edge(
        ["a", "b"], "c"
    )
    made = graph.compile()
    handler = "__error_handler__a"
    assert drawn(made)[2:] == [
        ("a", handler, "error", True),
        ("a", "c", None, False),
        ("b", "c", None, False),
        (handler, END, None, False),
        ("c", END, None, False),
    ]
    assert made.get_graph().nodes["c"].metadata == {"defer": True}


def test_edges_equal_those_of_langchain() -> None:
    assert chain("a").get_graph().edges == [LangChainEdge(START, "a"), LangChainEdge("a", END)]


def test_nodes_say_what_they_are_and_where_a_run_stops() -> None:
    nodes = routed().get_graph().nodes
    assert list(nodes) == [START, "a", "b", "c", END]
    assert [nodes[name].metadata for name in "abc"] == [
        {"__interrupt": "after"},
        {"__interrupt": "before,after"},
        {"__interrupt": "after"},
    ]
    node = compiled(a=boom).get_graph().nodes["a"]
    assert (node.id, node.name, node.data, node.metadata) == ("a", "a", boom, None)


def test_a_subgraph_is_opened_as_deep_as_asked() -> None:
    inner = chain("x", "y")
    graph = compiled(a=say("a"), m=compiled(i=inner, j=say("j")), z=say("z"))
    assert list(graph.get_graph().nodes) == [START, "a", "m", "z", END]
    assert list(graph.get_graph(xray=1).nodes) == [START, "a", "m:i", "m:j", "z", END]
    opened = graph.get_graph(xray=True)
    assert list(opened.nodes) == [START, "a", "m:i:x", "m:i:y", "m:j", "z", END]
    assert {edge[:2] for edge in opened.edges} == {
        (START, "a"),
        ("a", "m:i:x"),
        ("m:i:x", "m:i:y"),
        ("m:i:y", "m:j"),
        ("m:j", "z"),
        ("z", END),
    }


def test_without_subgraphs_xray_changes_nothing() -> None:
    assert routed().get_graph(xray=True).to_json() == routed().get_graph().to_json()


def test_an_entrypoint_is_a_graph_of_one_node() -> None:
    @entrypoint()
    def flow(x: int) -> int:
        return x

    assert drawn(flow) == [(START, "flow", None, False), ("flow", END, None, False)]


def test_json_says_where_the_code_is_from() -> None:
    assert compiled(a=boom).get_graph().to_json() == {
        "nodes": [
            {"id": START, "type": "runnable", "data": {"id": [], "name": START}},
            {
                "id": "a",
                "type": "runnable",
                "data": {"id": ["tests", "engine", "samples", "boom"], "name": "a"},
            },
            {"id": END, "type": "runnable", "data": {"id": [], "name": END}},
        ],
        "edges": [{"source": START, "target": "a"}, {"source": "a", "target": END}],
    }


def test_mermaid_draws_nodes_labels_and_subgraphs() -> None:
    graph = StateGraph(State).add_node("end", say("e")).add_node('say "hi"', chain("x", "y"))
    graph.add_edge(START, "end").add_conditional_edges(
        "end", lambda state: "yes", {"yes": 'say "hi"', "no": END}
    )
    assert graph.compile().get_graph(xray=True).draw_mermaid() == (
        "graph TD\n"
        '    __start__(["__start__"])\n'
        '    node_1["end"]\n'
        '    subgraph "say #quot;hi#quot;"\n'
        '        node_2["x"]\n'
        '        node_3["y"]\n'
        "    end\n"
        '    __end__(["__end__"])\n'
        "    __start__ --> node_1\n"
        '    node_1 -.->|"no"| __end__\n'
        '    node_1 -.->|"yes"| node_2\n'
        "    node_3 --> __end__\n"
        "    node_2 --> node_3\n"
    )


async def test_the_async_form_draws_the_same() -> None:
    graph = routed()
    assert await graph.aget_graph() == graph.get_graph()
