"""Strategies: the graphs of ``tests/differential``, and error handlers, cancellations and breaks besides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.differential.generate import graphs, in_subgraphs, rarely, without_races
from tests.differential.specs import Graph, Spec
from tests.truth.build import subgraphs_of


@dataclass(frozen=True, repr=False)
class Case(Spec):
    """A graph, and how it is run."""

    graph: Graph
    world: Literal["asyncio", "threads"] = "asyncio"
    streams: bool = True
    saver: bool = False
    durability: Literal["sync", "async", "exit"] | None = None
    limit: int = 12
    abreast: bool = True
    #: Names of the nodes that have an error handler.
    handled: frozenset[str] = frozenset()
    #: After how many parts the consumer leaves; at the how manieth call of a node the run is cancelled.
    breaks: int = 0
    cancels: int = 0


def _calmed(graph: Graph, calm: str) -> Graph:
    """Leave out what stops a run early, so that others get further."""
    changes: dict[str, Any] = {}
    if "errors" in calm:
        changes |= {"raises": "", "fails": 0, "attempts": 1}
    if "questions" in calm:
        changes |= {"asks": 0}

    def change(one: Graph) -> Graph:
        stops: dict[str, Any] = {"before": (), "after": ()} if "questions" in calm else {}
        return replace(one, nodes=tuple(replace(node, **changes) for node in one.nodes), **stops)

    return change(in_subgraphs(graph, change))


def _with_caches(graph: Graph, names: frozenset[str]) -> Graph:
    """Let nodes of these names have a cache, but for subgraphs and where a router would choose anew."""

    def change(one: Graph) -> Graph:
        sources = {route.source for route in one.routes}
        return replace(
            one,
            nodes=tuple(
                replace(node, cached=node.name in names and node.graph is None and node.name not in sources)
                for node in one.nodes
            ),
        )

    return change(in_subgraphs(graph, change))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    # What comes first is drawn most evenly.
    stops = draw(st.sampled_from(["", "breaks", "cancels"]))
    number = draw(st.integers(1, 6))
    saver = draw(st.booleans())
    world: Literal["asyncio", "threads"] = draw(st.sampled_from(["asyncio", "threads"]))
    streams = stops == "breaks" or draw(st.booleans())
    calm = draw(st.sampled_from(["", "errors", "questions", "errors and questions"]))
    cached = draw(st.sampled_from([frozenset[str](), frozenset("acepqx")]))
    graph = _with_caches(_calmed(without_races(draw(graphs())), calm), cached)
    nodes = [node for one in subgraphs_of(graph) for node in one.nodes]
    if any(node.asks for node in nodes):
        graph = in_subgraphs(graph, lambda one: replace(one, before=(), after=()))
    failing = sorted({node.name for node in nodes if node.raises or node.fails})
    handled = [name for name in failing if draw(rarely(2))]
    return Case(
        graph,
        world=world,
        streams=streams,
        saver=saver,
        durability=draw(st.sampled_from([None, "sync", "async", "exit"])) if saver else None,
        limit=draw(st.sampled_from([12, 12, 4])),
        abreast=draw(st.booleans()),
        handled=frozenset(handled),
        breaks=number if stops == "breaks" else 0,
        cancels=number if stops == "cancels" and world == "asyncio" else 0,
    )


def drawn(examples: int) -> settings:
    """Return how cases are drawn: so many, other ones each time, however long each takes."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=slow)
