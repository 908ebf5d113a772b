"""What a graph looks like: its nodes and edges as plain values, which can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from otel_stream.events import Structure

from ..types import END, START
from .drawn import DrawnNode, Edge
from .mermaid import Style, mermaid
from .picture import as_png, as_svg, as_text
from .spec import GraphSpec


@dataclass(frozen=True, slots=True)
class Drawing:
    """The nodes by their ids, ``"<node>:<node>"`` inside of subgraphs, and the edges between them."""

    nodes: dict[str, DrawnNode] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return the drawing as values that JSON knows."""
        nodes = [
            {"id": node.id, "type": "runnable", "data": {"id": _code(node.data), "name": node.name}}
            | ({"metadata": dict(node.metadata)} if node.metadata else {})
            for node in self.nodes.values()
        ]
        edges = [
            {"source": edge.source, "target": edge.target}
            | ({} if edge.data is None else {"data": edge.data})
            | ({"conditional": True} if edge.conditional else {})
            for edge in self.edges
        ]
        return {"nodes": nodes, "edges": edges}

    def draw_mermaid(
        self,
        *,
        with_styles: bool = True,
        curve_style: Any = "linear",
        node_colors: Any = None,
        wrap_label_n_words: int = 9,
        frontmatter_config: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the drawing in Mermaid's language; the arguments are LangChain's."""
        style = Style.of(with_styles, curve_style, node_colors, wrap_label_n_words, frontmatter_config)
        return mermaid(self.nodes, self.edges, style)

    def draw_ascii(self) -> str:
        """Return the drawing as lines of text; conditional edges are dotted."""
        return as_text(self.nodes, self.edges)

    def print_ascii(self) -> None:
        """Print what :meth:`draw_ascii` returns."""
        print(self.draw_ascii())  # noqa: T201 - it is what it is for

    def draw_svg(self) -> str:
        """Return the drawing as an SVG image; conditional edges are dashed."""
        return as_svg(self.nodes, self.edges)

    def draw_png(
        self,
        output_file_path: str | None = None,
        *,
        background_color: str | None = "white",
        padding: int = 10,
    ) -> bytes:
        """Return the drawing as a PNG image, and write it to a file if one is named.

        ``background_color``: None is transparent. ``padding``: pixels around it.

        Raises:
            ModuleNotFoundError: Pillow is not installed.
        """
        image = as_png(self.nodes, self.edges, background_color, padding)
        if output_file_path is not None:
            Path(output_file_path).write_bytes(image)
        return image

    def draw_mermaid_png(
        self,
        *,
        output_file_path: str | None = None,
        background_color: str | None = "white",
        padding: int = 10,
        **_: Any,
    ) -> bytes:
        """Do what :meth:`draw_png` does: no service is asked, whatever LangChain's other arguments say."""
        return self.draw_png(output_file_path, background_color=background_color, padding=padding)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.draw_ascii(), "image/svg+xml": self.draw_svg()}


def draw(graph: GraphSpec, depth: int) -> Drawing:
    """Draw a graph, with its subgraphs opened ``depth`` levels deep."""
    edges = _edges(graph)
    sources = {edge.source for edge in edges}
    last = {edge.target for edge in edges} - sources - {END}
    edges += [Edge(name, END) for name in sorted(last)]
    nodes = {START: DrawnNode(START, START, None)}
    for name, node in graph.program.nodes.items():
        nodes[name] = DrawnNode(name, name, node.callback.original, _metadata(graph, name))
    if any(edge.target == END for edge in edges):
        nodes[END] = DrawnNode(END, END, None)
    drawing = Drawing(nodes, edges)
    if depth > 0:
        for name, node in graph.program.nodes.items():
            for inner in node.subgraphs:
                drawing = _opened(drawing, name, draw(inner.spec, depth - 1))
    return drawing


def declared(graph: GraphSpec) -> Structure:
    """Return what a graph was declared to be, its subgraphs included."""
    program = graph.program
    if program.declared is None:
        program.declared = Structure(partial(_structure, graph, _DEEPEST))
    return program.declared


#: Levels of subgraphs that are told of: a graph may call itself.
_DEEPEST: Final = 8


def _structure(graph: GraphSpec, depth: int) -> dict[str, Any]:
    drawing = draw(graph, 0)
    nodes = [{"id": id, **_told(node.metadata)} for id, node in drawing.nodes.items()]
    found: dict[str, Any] = {"name": graph.name, "nodes": nodes, "edges": drawing.to_json()["edges"]}
    inner = {
        name: _structure(node.subgraphs[0].spec, depth - 1)
        for name, node in graph.program.nodes.items()
        if node.subgraphs and depth
    }
    return found | ({"subgraphs": inner} if inner else {})


def _told(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a graph says of a node; the rest of its metadata is the user's."""
    shown = {"__interrupt": "interrupt", "defer": "defer"}
    return {word: metadata[key] for key, word in shown.items() if key in metadata} if metadata else {}


def _edges(graph: GraphSpec) -> list[Edge]:
    builder = graph.description
    found = {Edge(source, target) for source, target in builder.edges}
    found |= {Edge(source, target) for sources, target in builder.waiting_edges for source in sources}
    for source, branches in builder.branches.items():
        for branch in branches.values():
            ends = branch.ends if branch.ends is not None else {name: name for name in (*builder.nodes, END)}
            found |= {_conditional(source, target, str(label)) for label, target in ends.items()}
    for name, spec in builder.nodes.items():
        known = {*builder.nodes, END}  # other ends are nodes of a graph around this one
        found |= {_conditional(name, target, label) for target, label in spec.ends.items() if target in known}
        if spec.error_handler is not None:
            found.add(_conditional(name, spec.error_handler, "error"))
    return sorted(found, key=lambda edge: (edge.source, edge.target, edge.conditional, edge.data or ""))


def _conditional(source: str, target: str, label: str | None) -> Edge:
    return Edge(source, target, None if label == target else label, conditional=True)


def _metadata(graph: GraphSpec, name: str) -> dict[str, Any] | None:
    found = dict(graph.program.nodes[name].metadata or {})
    stops = [
        when
        for when, names in (
            ("before", graph.interrupt_before_nodes),
            ("after", graph.interrupt_after_nodes),
        )
        if names == "*" or name in names
    ]
    if stops:
        found["__interrupt"] = ",".join(stops)
    spec = graph.description.nodes.get(name)
    if spec is not None and spec.defer:
        found["defer"] = True
    return found or None


def _opened(drawing: Drawing, name: str, inner: Drawing) -> Drawing:
    """Put the nodes of a subgraph in the place of the node that it is."""
    first = [edge for edge in inner.edges if edge.source == START and edge.target != END]
    last = [edge for edge in inner.edges if edge.target == END and edge.source != START]
    if not first or not last:
        return drawing
    nodes: dict[str, DrawnNode] = {}
    for id, node in drawing.nodes.items():
        if id != name:
            nodes[id] = node
            continue
        for own, one in inner.nodes.items():
            if own not in (START, END):
                nodes[f"{name}:{own}"] = one._replace(id=f"{name}:{own}")
    edges: list[Edge] = []
    for edge in drawing.edges:
        sources = [f"{name}:{one.source}" for one in last] if edge.source == name else [edge.source]
        targets = [f"{name}:{one.target}" for one in first] if edge.target == name else [edge.target]
        edges += [edge._replace(source=source, target=target) for source in sources for target in targets]
    edges += [
        edge._replace(source=f"{name}:{edge.source}", target=f"{name}:{edge.target}")
        for edge in inner.edges
        if edge.source != START and edge.target != END
    ]
    return Drawing(nodes, edges)


def _code(data: Any) -> list[str]:
    """Say where code is from: its module and name."""
    named = data if hasattr(data, "__qualname__") else type(data)
    return [] if data is None else [*named.__module__.split("."), named.__qualname__]
