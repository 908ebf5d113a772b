"""What the dashboards have in common: variables, links to each other, rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from dashboards import queries as q
from dashboards.names import series
from dashboards.panels import PROMETHEUS, Panel
from otel_stream import semconv

TAG: Final = "otel-stream"
#: By their names: what their addresses end with.
UIDS: Final = {name: f"{TAG}-{name}" for name in ("runs", "nodes", "streams", "explorer", "pipeline")}
#: From a cell that holds a trace id to that run.
TO_RUN: Final = {
    "traceID": (
        "Explore this run",
        f"/d/{UIDS['explorer']}?var-trace_id=${{__value.raw}}&${{__url_time_range}}",
    )
}
#: From a cell that holds a node's name to the node, and from a graph's to its runs.
TO_NODE: Final = {
    "node": ("Show this node", f"/d/{UIDS['nodes']}?var-{q.V_NODE}=${{__value.raw}}&${{__url_time_range}}")
}
TO_GRAPH: Final = {
    "graph": ("Show this graph", f"/d/{UIDS['runs']}?var-{q.V_GRAPH}=${{__value.raw}}&${{__url_time_range}}")
}


def _source(kind: str, label: str) -> build.DatasourceVariable:
    return build.DatasourceVariable(kind).type(kind).label(label)


def _choice(name: str, label: str, query: str, everything: str) -> build.QueryVariable:
    made = (
        build.QueryVariable(name).label(label).datasource(PROMETHEUS).query({"query": query, "refId": name})
    )
    made = made.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
    everyone = model.VariableOption(text="All", value="$__all", selected=True)
    return made.multi(True).include_all(True).all_value(everything).current(everyone)


def _values(of: str, matchers: Iterable[str], label: str) -> str:
    return f"label_values({of}{{{','.join(matchers)}}}, {label})"


#: Every dashboard has those of the data sources; the others only where something obeys them.
SOURCES: Final = ("prometheus", "tempo", "loki")


def variables(*names: str) -> list[Any]:
    """Return the data sources, then these variables, each narrowed by the ones before it."""
    active, durations = series(semconv.RUN_ACTIVE), f"{series(semconv.NODE_DURATION)}_count"
    known = {
        # A service need not say what its environment is.
        q.V_ENVIRONMENT: _choice(q.V_ENVIRONMENT, "Environment", _values(active, (), q.L_ENVIRONMENT), ".*"),
        q.V_SERVICE: _choice(q.V_SERVICE, "Service", _values(active, q.OF_SERVICE[:1], q.L_SERVICE), ".+"),
        q.V_GRAPH: _choice(q.V_GRAPH, "Graph", _values(active, q.OF_SERVICE, q.L_GRAPH), ".+"),
        q.V_NODE: _choice(q.V_NODE, "Node", _values(durations, q.OF_GRAPH, q.L_NODE), ".+"),
    }
    sources = [_source(kind, kind.capitalize()) for kind in SOURCES]
    return [*sources, *(known[name] for name in names)]


def text(name: str, label: str, default: str, description: str) -> build.TextBoxVariable:
    """Return a variable that is typed."""
    chosen = model.VariableOption(text=default, value=default, selected=True)
    made = build.TextBoxVariable(name).label(label).description(description)
    return made.default_value(default).current(chosen)


def board(
    name: str,
    title: str,
    description: str,
    choices: Iterable[Any],
    rows: Mapping[str, Iterable[Panel]],
    *,
    since: str = "now-1h",
) -> model.Dashboard:
    """Return a dashboard with links to the others."""
    made = build.Dashboard(title).uid(UIDS[name]).description(description).tags([TAG]).editable()
    made = made.time(since, "now").refresh("30s").timezone(common_model.TimeZoneBrowser)
    made = made.tooltip(model.DashboardCursorSync.CROSSHAIR).variables(list(choices))
    links = build.DashboardLink(TAG).type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    made = made.link(links.title("otel-stream").as_dropdown(False).include_vars(True).keep_time(True))
    for row, panels in rows.items():
        made = made.with_row(build.Row(row))
        for panel in panels:
            made = made.with_panel(panel)
    built = made.build()
    _number(built)
    return built


def _number(made: model.Dashboard) -> None:
    """Number the panels, so that a link to one stays a link to it when another is added elsewhere."""
    for place, panel in enumerate(made.panels or (), 1):
        panel.id_val = place
