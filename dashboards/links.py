"""Addresses of the dashboards, and links from a cell of a table to one of them."""

from __future__ import annotations

from typing import Final

from dashboards import queries as q

TAG: Final = "otel-stream"
NAMES: Final = ("runs", "nodes", "models", "streams", "explorer", "pipeline")

#: A title, and where it leads.
Link = tuple[str, str]


def uid(stores: str, name: str) -> str:
    """Return the end of a dashboard's address; ``stores`` is the name of the stores that it asks."""
    return f"{TAG}-{name}" if stores == "tempo-loki" else f"{TAG}-{stores}-{name}"


def to_run(stores: str, *carried: str) -> Link:
    """Lead from a trace id to that run; ``carried`` are variables that the run explorer needs, too."""
    also = "".join(f"&var-{variable}=${{{variable}}}" for variable in carried)
    return (
        "Explore this run",
        f"/d/{uid(stores, 'explorer')}?var-{q.V_TRACE}=${{__value.raw}}{also}&${{__url_time_range}}",
    )


def to_node(stores: str) -> Link:
    """Lead from a node's name to the node."""
    return (
        "Show this node",
        f"/d/{uid(stores, 'nodes')}?var-{q.V_NODE}=${{__value.raw}}&${{__url_time_range}}",
    )


def to_graph(stores: str) -> Link:
    """Lead from a graph's name to its runs."""
    return (
        "Show this graph",
        f"/d/{uid(stores, 'runs')}?var-{q.V_GRAPH}=${{__value.raw}}&${{__url_time_range}}",
    )
