"""The kinds of template variables that the dashboards have."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from dashboards.panels import PROMETHEUS


def several_of(name: str, label: str, query: str, everything: str) -> build.QueryVariable:
    """Return a variable that stands for any of Prometheus' answers, or for ``everything``."""
    everyone = model.VariableOption(text="All", value="$__all", selected=True)
    return one_of(name, label, query).multi(True).include_all(True).all_value(everything).current(everyone)


def one_of(name: str, label: str, query: str) -> build.QueryVariable:
    """Return a variable that stands for exactly one of Prometheus' answers."""
    made = (
        build.QueryVariable(name).label(label).datasource(PROMETHEUS).query({"query": query, "refId": name})
    )
    made = made.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return made.sort(model.VariableSort.ALPHABETICAL_ASC)


def text(name: str, label: str, default: str, description: str) -> build.TextBoxVariable:
    """Return a variable that is typed."""
    chosen = model.VariableOption(text=default, value=default, selected=True)
    made = build.TextBoxVariable(name).label(label).description(description)
    return made.default_value(default).current(chosen)
