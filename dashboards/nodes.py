"""Dashboard *Nodes*: the tasks of each node, their attempts, and where the time goes."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import board, collector, links
from dashboards import queries as q
from dashboards.names import label
from dashboards.panels import (
    HALF,
    HEIGHT,
    Panel,
    buckets,
    heat,
    lines,
    listing,
    metric,
    node_graph,
    now,
)
from dashboards.stores import Stores
from otel_stream import semconv

_BUCKETS = q.select(semconv.NODE_DURATION, q.OF_NODE, "_bucket")
_TASKS = q.rate(q.select(semconv.NODE_DURATION, q.OF_NODE, "_count"))
_FAILED = q.rate(q.select(semconv.NODE_ERRORS, q.OF_NODE))
_RETRIES = q.rate(q.select(semconv.NODE_RETRIES, q.OF_NODE))
_NODE = f"{{{{{q.L_NODE}}}}}"


def make(stores: Stores) -> Dashboard:
    """Return the dashboard."""
    return board.board(
        stores,
        "nodes",
        "Graph nodes",
        "Rate, errors and duration of the tasks of each node, their attempts and retries, and their fan-out.",
        [
            *board.variables(stores, q.V_ENVIRONMENT, q.V_SERVICE, q.V_GRAPH, q.V_NODE),
            *stores.variables(),
        ],
        {
            "Rate, errors, duration": _red(),
            "Attempts": _attempts(),
            "Fan-out": _width(),
            "Where the time goes": _slowest(stores),
            "The graph": _graph(stores),
            "As the gateway counts spans, before sampling": _gateway(),
        },
    )


def _red() -> list[Panel]:
    tasks = q.total(_TASKS, q.L_NODE)
    return [
        lines("Rate", "Tasks that end per second, by node.", "reqps", metric(tasks, _NODE)),
        lines(
            "Failed",
            "Share of a node's tasks that failed for good, after all attempts.",
            "percentunit",
            metric(q.ratio(q.total(_FAILED, q.L_NODE), tasks), _NODE),
            thresholds={"orange": 0.01, "red": 0.05},
        ),
        lines(
            "Duration",
            "95 of 100 tasks of a node take less than this, all attempts and pauses included.",
            "s",
            metric(q.quantile(0.95, _BUCKETS, q.L_NODE), _NODE, exemplars=True),
        ),
        heat(
            "Durations",
            "How many tasks took how long. A point is an exemplar: one task, with a link to its trace.",
            "s",
            buckets(q.total(f"increase({_BUCKETS}[{q.RATE_INTERVAL}])", "le")),
        ),
        lines(
            "Errors",
            "What tasks fail of, per second.",
            "reqps",
            metric(q.total(_FAILED, q.L_NODE, q.L_ERROR), f"{_NODE} {{{{{q.L_ERROR}}}}}"),
            span=HALF // 2,
            stacked=True,
        ),
        lines(
            "Active",
            "Tasks in progress, by node.",
            "short",
            metric(q.total(q.select(semconv.NODE_ACTIVE, q.OF_NODE), q.L_NODE), _NODE),
            span=HALF // 2,
        ),
    ]


def _attempts() -> list[Panel]:
    attempts = q.select(semconv.ATTEMPT_DURATION, q.OF_NODE, "_count")
    durations = q.select(semconv.ATTEMPT_DURATION, q.OF_NODE, "_bucket")
    return [
        lines(
            "Retries",
            "Attempts that failed and were repeated, per second, and what they failed of.",
            "reqps",
            metric(q.total(_RETRIES, q.L_NODE, q.L_ERROR), f"{_NODE} {{{{{q.L_ERROR}}}}}"),
            stacked=True,
        ),
        lines(
            "Retries per task",
            "How often a task of a node is repeated, on average.",
            "short",
            metric(q.ratio(q.total(_RETRIES, q.L_NODE), q.total(_TASKS, q.L_NODE)), _NODE),
            thresholds={"orange": 0.2, "red": 0.5},
        ),
        lines(
            "Attempts",
            "Attempts per second of the nodes with a retry policy.",
            "reqps",
            metric(q.total(q.rate(attempts), q.L_NODE), f"{_NODE} attempts"),
            span=4,
        ),
        lines(
            "Duration of attempts",
            "95 of 100 attempts of a node with a retry policy take less than this.",
            "s",
            metric(q.quantile(0.95, durations, q.L_NODE), _NODE, exemplars=True),
            span=4,
        ),
    ]


def _width() -> list[Panel]:
    width = q.select(semconv.SUPERSTEP_TASKS, q.OF_GRAPH, "_bucket")
    graph = f"{{{{{q.L_GRAPH}}}}}"
    return [
        lines(
            "Tasks per superstep",
            "Half, 95 and 99 of 100 supersteps run at most so many tasks side by side.",
            "short",
            *(metric(q.quantile(s, width, q.L_GRAPH), f"{graph} {s * 100:g} %") for s in (0.5, 0.95, 0.99)),
            span=HALF,
        ),
        heat(
            "Widths",
            "How many supersteps ran how many tasks side by side.",
            "short",
            buckets(q.total(f"increase({width}[{q.RATE_INTERVAL}])", "le")),
        ),
    ]


def _slowest(stores: Stores) -> list[Panel]:
    total = q.rate(q.select(semconv.NODE_DURATION, q.OF_NODE, "_sum"))
    by = (q.L_GRAPH, q.L_NODE)
    return [
        listing(
            "Nodes",
            "By the time that all their tasks take together: what is worth making faster stands first.",
            "short",
            now(f"topk(20, {q.total(total, *by)})"),
            now(q.quantile(0.95, _BUCKETS, *by)),
            now(q.ratio(q.total(_FAILED, *by), q.total(_TASKS, *by))),
            renamed={
                q.L_GRAPH: "graph",
                q.L_NODE: "node",
                "Value #A": "busy [s/s]",
                "Value #B": "95 % [s]",
                "Value #C": "failed",
            },
            links={"node": links.to_node(stores.name), "graph": links.to_graph(stores.name)},
            sorted_by="busy [s/s]",
        ),
        stores.tasks(
            "Slowest tasks",
            "Of the newest tasks, the slowest first. A trace id leads to the run.",
            semconv.GEN_AI_NODE_NAME,
            semconv.GRAPH_SUPERSTEP,
            semconv.GRAPH_TASK_END,
            sorted_by="Duration",
        ),
        stores.task_durations(
            "95th percentile, from traces", "The same as above, measured on the traces that were kept."
        ),
        stores.tasks(
            "Failing tasks",
            "The newest tasks that failed for good.",
            semconv.GEN_AI_NODE_NAME,
            semconv.ERROR_TYPE,
            failed=True,
        ),
    ]


def _graph(stores: Stores) -> list[Panel]:
    return [
        node_graph(
            "From node to node",
            "Tasks per second of each node, and how often per second one triggered the other: the edges that "
            "were taken. What one run went through is in the run explorer.",
            now(_nodes()).ref_id("nodes"),
            now(_edges()).ref_id("edges"),
            renamed={"Value #nodes": "mainstat", "Value #edges": "mainstat"},
        ),
        stores.counted(
            "Routes taken",
            "How often a node's conditional edge, or its Command, chose which nodes. Only of programs that "
            "export `graph.route`: OTEL_STREAM_EXPORT_MODES.",
            semconv.EVENT_ROUTE,
            semconv.GRAPH_NAME,
            semconv.GEN_AI_NODE_NAME,
            semconv.GRAPH_ROUTE_TARGETS,
            height=2 * HEIGHT,
        ),
    ]


def _named(expression: str, name: str, between: str, *sources: str) -> str:
    """Add a label that the node graph panel looks for."""
    listed = ", ".join(f'"{source}"' for source in sources)
    return f'label_join({expression}, "{name}", "{between}", {listed})'


def _nodes() -> str:
    """Return one row for each node, with the labels that make it a node of the picture."""
    tasks = q.total(_TASKS, q.L_GRAPH, q.L_NODE)
    nodes = _named(_named(tasks, "id", "/", q.L_GRAPH, q.L_NODE), "title", "", q.L_NODE)
    return _named(nodes, "subtitle", "", q.L_GRAPH)


def _edges() -> str:
    """Return one row for each edge that was taken, of whose ends one is chosen."""
    source, target = label(semconv.GRAPH_EDGE_FROM), label(semconv.GRAPH_EDGE_TO)
    taken = q.total(q.rate(q.select(semconv.EDGE_COUNT, q.OF_GRAPH)), q.L_GRAPH, source, target)
    edge = _named(taken, "source", "/", q.L_GRAPH, source)
    return _named(_named(edge, "target", "/", q.L_GRAPH, target), "id", ">", q.L_GRAPH, source, target)


def _gateway() -> list[Panel]:
    mine = (*q.OF_SERVICE, f'{collector.SPAN_NAME}=~"{semconv.SPAN_NODE} (${q.V_NODE})"')
    calls = q.rate(q.select(collector.SPAN_CALLS, mine))
    durations = q.select(collector.SPAN_DURATION, mine, "_bucket")
    name = f"{{{{{collector.SPAN_NAME}}}}}"
    return [
        lines(
            "Tasks",
            "Spans of tasks per second and their status, counted by the gateway's span metrics.",
            "reqps",
            metric(
                q.total(calls, collector.SPAN_NAME, collector.STATUS_CODE),
                f"{name} {{{{{collector.STATUS_CODE}}}}}",
            ),
            span=HALF,
            stacked=True,
        ),
        lines(
            "Duration",
            "95 of 100 spans of a node are shorter than this.",
            "s",
            metric(q.quantile(0.95, durations, collector.SPAN_NAME), name, exemplars=True),
            span=HALF,
        ),
    ]
