"""What the dashboards have in common: variables, links to each other, rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from dashboards import links
from dashboards import queries as q
from dashboards.names import series
from dashboards.panels import Panel
from dashboards.stores import Stores
from dashboards.variables import several_of
from otel_stream import semconv


def _values(of: str, matchers: Iterable[str], label: str) -> str:
    return f"label_values({of}{{{','.join(matchers)}}}, {label})"


def variables(stores: Stores, *names: str) -> list[Any]:
    """Return the data sources, then these variables, each narrowed by the ones before it."""
    active, durations = series(semconv.RUN_ACTIVE), f"{series(semconv.NODE_DURATION)}_count"
    known = {
        # A service need not say what its environment is.
        q.V_ENVIRONMENT: several_of(
            q.V_ENVIRONMENT, "Environment", _values(active, (), q.L_ENVIRONMENT), ".*"
        ),
        q.V_SERVICE: several_of(q.V_SERVICE, "Service", _values(active, q.OF_SERVICE[:1], q.L_SERVICE), ".+"),
        q.V_GRAPH: several_of(q.V_GRAPH, "Graph", _values(active, q.OF_SERVICE, q.L_GRAPH), ".+"),
        q.V_NODE: several_of(q.V_NODE, "Node", _values(durations, q.OF_GRAPH, q.L_NODE), ".+"),
    }
    kinds = {"prometheus": "prometheus", **stores.sources}
    titles = dict(zip(stores.sources, stores.titles, strict=True))
    sources = [
        build.DatasourceVariable(name).type(kind).label(titles.get(name, "Prometheus"))
        for name, kind in kinds.items()
    ]
    return [*sources, *(known[name] for name in names)]


def board(
    stores: Stores,
    name: str,
    title: str,
    description: str,
    choices: Iterable[Any],
    rows: Mapping[str, Iterable[Panel]],
    *,
    since: str = "now-1h",
) -> model.Dashboard:
    """Return a dashboard with links to the others."""
    tags = [links.TAG, stores.name]
    made = build.Dashboard(title).uid(links.uid(stores.name, name)).description(description).tags(tags)
    made = made.editable()
    made = made.time(since, "now").refresh("30s").timezone(common_model.TimeZoneBrowser)
    made = made.tooltip(model.DashboardCursorSync.CROSSHAIR).variables(list(choices))
    others = build.DashboardLink(links.TAG).type(model.DashboardLinkType.DASHBOARDS).tags(tags)
    made = made.link(others.title(links.TAG).as_dropdown(False).include_vars(True).keep_time(True))
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
