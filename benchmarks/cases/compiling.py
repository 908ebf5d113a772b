"""Describing a long graph, and compiling it."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Comparison, Goal, sized
from benchmarks.cases.superstep import State
from benchmarks.libraries import LANGGRAPH, OURS, Library

NODES = 10_000


def _compiling(library: Library, nodes: int) -> Any:
    def keep(state: State) -> State:
        return state

    def compile_it() -> None:
        builder = library.StateGraph(State)
        before = library.START
        for number in range(nodes):
            name = f"node {number}"
            builder.add_node(name, keep)
            builder.add_edge(before, name)
            before = name
        builder.compile()

    return compile_it


def chain() -> Comparison:
    """Compare what it takes until a chain of nodes can run."""
    nodes = sized(NODES)
    return Comparison(
        name="compile",
        title=f"a chain of {NODES:,} nodes, described and compiled",
        unit="node",
        count=nodes,
        ours=_compiling(OURS, nodes),
        theirs=_compiling(LANGGRAPH, nodes),
        goal=Goal(must=1.0, aim=1 / 2),
    )
