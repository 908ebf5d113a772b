"""What a graph of LangGraph's was declared to be, as LangGraph itself would draw it."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from otel_stream.events import Structure

#: Levels of subgraphs that are told of: a graph may call itself.
_DEEPEST: Final = 8

#: Of builders, which the copies of a graph share (``with_config`` makes one); or of the graph itself.
_KNOWN: Final[WeakKeyDictionary[Any, Structure]] = WeakKeyDictionary()


def declared(graph: Any) -> Structure | None:
    """Return what a graph was declared to be, its subgraphs included; None if it can't be kept in mind."""
    owner = getattr(graph, "builder", graph)
    try:
        known = _KNOWN.get(owner)
    except TypeError:  # it has no hash, or nothing can refer to it weakly
        return None
    if known is not None:
        return known

    def describe() -> dict[str, Any]:
        said = _described(graph, _DEEPEST)
        _KNOWN[owner] = made  # not before: until now it holds the graph
        return said

    made = Structure(describe)
    return made


def _described(graph: Any, depth: int) -> dict[str, Any]:
    drawing = graph.get_graph().to_json()
    nodes = [{"id": str(node["id"]), **_told(node.get("metadata") or {})} for node in drawing["nodes"]]
    edges = [{key: edge[key] for key in _OF_EDGES if key in edge} for edge in drawing["edges"]]
    found: dict[str, Any] = {"name": str(graph.get_name()), "nodes": nodes, "edges": edges}
    if depth:
        inner = {name: _described(subgraph, depth - 1) for name, subgraph in graph.get_subgraphs()}
        found |= {"subgraphs": inner} if inner else {}
    return found


_OF_EDGES: Final = ("source", "target", "data", "conditional")


def _told(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what the graph says of a node; the rest of its metadata is the user's."""
    shown = {"__interrupt": "interrupt", "defer": "defer"}
    return {word: metadata[key] for key, word in shown.items() if metadata.get(key)}
