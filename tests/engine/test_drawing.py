"""What a graph looks like: nodes, edges, and a diagram."""

import io
import socket
import sys
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import pytest
from langchain_core.runnables.graph import CurveStyle, NodeStyles
from langchain_core.runnables.graph import Edge as LangChainEdge
from langchain_core.runnables.graph import Graph as LangChainGraph
from langchain_core.runnables.graph import Node as LangChainNode
from PIL import Image

from engine import END, START, Command, StateGraph, entrypoint
from engine.graph.layout import lay_out
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


def told(graph: Any, **options: Any) -> Any:
    """Return a drawing as LangChain's own kind of graph."""
    drawing = graph.get_graph(**options)
    nodes = {id: LangChainNode(id, one.name, one.data, one.metadata) for id, one in drawing.nodes.items()}
    return LangChainGraph(nodes, [LangChainEdge(*edge) for edge in drawing.edges])


def labelled() -> Any:
    graph = StateGraph(State).add_node("a", say("a"), defer=True).add_node("m", chain("x", "y"))
    graph.add_edge(START, "a").add_conditional_edges("a", lambda state: 1, {1: "m", "a b c d": END})
    return graph.compile()


@pytest.mark.parametrize("options", [{}, {"with_styles": False}, {"wrap_label_n_words": 2}])
@pytest.mark.parametrize("xray", [False, True])
@pytest.mark.parametrize(
    "graph", [routed, labelled, lambda: chain("a", "b"), lambda: compiled(outer=labelled())]
)
def test_mermaid_is_what_langchain_writes(graph: Any, xray: bool, options: Any) -> None:
    made = graph()
    theirs = told(made, xray=xray).draw_mermaid(**options)
    ours = made.get_graph(xray=xray).draw_mermaid(**options)
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    if not xray:
        assert ours == theirs


def test_mermaid_takes_langchains_styles() -> None:
    graph, colors = chain("a"), NodeStyles(first="fill:#fff")
    options: Any = {"curve_style": CurveStyle.BASIS, "node_colors": colors}
    assert graph.get_graph().draw_mermaid(**options) == told(graph).draw_mermaid(**options)
    framed = graph.get_graph().draw_mermaid(frontmatter_config={"config": {"theme": "neutral"}})
    assert '{"config": {"theme": "neutral", "flowchart": {"curve": "linear"}}}' in framed


def test_mermaid_can_be_read_whatever_nodes_are_called() -> None:
    graph = StateGraph(State).add_node("end", say("e")).add_node('say "hi"', chain("x", "y"))
    graph.add_edge(START, "end").add_conditional_edges(
        "end", lambda state: "yes", {"yes|no": 'say "hi"', "no": END}
    )
    assert graph.compile().get_graph(xray=True).draw_mermaid(with_styles=False) == (
        "graph TD;\n"
        "\t__start__ --> \\65nd;\n"
        "\t\\65nd -. &nbsp;no&nbsp; .-> __end__;\n"
        "\t\\65nd -. &nbsp;yes#124;no&nbsp; .-> say\\20\\22hi\\22\\3ax;\n"
        "\tsay\\20\\22hi\\22\\3ay --> __end__;\n"
        '\tsubgraph "say #34;hi#34;"\n'
        "\tsay\\20\\22hi\\22\\3ax --> say\\20\\22hi\\22\\3ay;\n"
        "\tend\n"
    )


def test_a_graph_is_drawn_with_letters(capsys: pytest.CaptureFixture[str]) -> None:
    graph = StateGraph(State).add_node("a", say("a")).add_node("bb", say("b")).add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: "bb", ["bb"])
    drawing = graph.compile().get_graph()
    drawing.print_ascii()
    assert capsys.readouterr().out == drawing.draw_ascii() + "\n"
    assert drawing.draw_ascii().splitlines() == [
        "+-----------+",
        "| __start__ |",
        "+-----------+",
        "      *",
        "      *",
        "      *",
        "    +---+",
        "    | a |",
        "    +---+",
        "      .",
        "      .",
        "      .",
        "   +----+",
        "   | bb |",
        "   +----+",
        "      *",
        "      *",
        "      *",
        " +---------+",
        " | __end__ |",
        " +---------+",
    ]


def tangled(count: int) -> Any:
    """Return a graph in which everybody may go anywhere, itself included."""
    names = [f"n{number}" for number in range(count)]
    graph = StateGraph(State).add_edge(START, "n0")
    for name in names:
        graph.add_node(name, say(name)).add_conditional_edges(name, lambda state: END, [*names, END])
    return graph.compile()


@pytest.mark.parametrize("graph", [routed, labelled, lambda: chain("a"), lambda: tangled(12)])
def test_no_two_boxes_of_a_picture_overlap_and_every_edge_joins_its_nodes(graph: Any) -> None:
    drawing = graph().get_graph(xray=True)
    links = [(edge.source, edge.target) for edge in drawing.edges]
    plan = lay_out(drawing.nodes, links, lambda node: len(node) + 4, 3, (3, 3))
    assert list(plan.boxes) == list(drawing.nodes)
    cells = [
        (x, y)
        for box in plan.boxes.values()
        for x in range(box.x - box.width // 2, box.x - box.width // 2 + box.width)
        for y in range(box.y - 1, box.y + 2)
    ]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < plan.width and 0 <= y < plan.height for x, y in cells)
    assert set(plan.routes) == {link for link in links if link[0] != link[1]}
    for (source, target), route in plan.routes.items():
        assert (route[0][0], route[-1][0]) == (plan.boxes[source].x, plan.boxes[target].x)
        assert abs(route[0][1] - plan.boxes[source].y) == abs(route[-1][1] - plan.boxes[target].y) == 2


def test_a_notebook_is_given_an_image_that_is_drawn_here() -> None:
    graph = compiled(**{"<a> & b\ud800\x1b": say("a")})
    bundle = graph._repr_mimebundle_()
    assert bundle["text/plain"] == repr(graph)
    root = ET.fromstring(bundle["image/svg+xml"])
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [START, "<a> & b\\ud800\\x1b", END]
    assert graph.get_graph()._repr_mimebundle_()["image/svg+xml"] == bundle["image/svg+xml"]


def test_a_png_is_drawn_without_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    drawing, file = labelled().get_graph(), tmp_path / "graph.png"
    data = drawing.draw_mermaid_png(output_file_path=str(file), max_retries=5)
    assert file.read_bytes() == data == drawing.draw_png()
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        colors = image.convert("RGB").getcolors(1 << 24) or []
    assert image.format == "PNG"
    assert {(242, 240, 255), (95, 75, 139), (255, 255, 255)} <= {color for _, color in colors}


def test_without_pillow_a_png_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pillow; draw_svg"):
        chain("a").get_graph().draw_png()


async def test_the_async_form_draws_the_same() -> None:
    graph = routed()
    assert await graph.aget_graph() == graph.get_graph()
