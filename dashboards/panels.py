"""The kinds of panels that the dashboards are made of, with what all panels of a kind share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    common,
    heatmap,
    logs,
    loki,
    nodegraph,
    prometheus,
    stat,
    table,
    tempo,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model
from grafana_foundation_sdk.models import tempo as tempo_model
from grafana_foundation_sdk.models import text as text_model

#: Where data comes from: a template variable for each kind of backend.
PROMETHEUS: Final = common_model.DataSourceRef(type_val="prometheus", uid="${prometheus}")
TEMPO: Final = common_model.DataSourceRef(type_val="tempo", uid="${tempo}")
LOKI: Final = common_model.DataSourceRef(type_val="loki", uid="${loki}")

#: Grid units of height, and of width out of 24.
HEIGHT: Final = 8
THIRD, HALF, FULL = 8, 12, 24

# -- queries --------------------------------------------------------------------------------------------


def metric(expression: str, legend: str = "", *, exemplars: bool = False) -> prometheus.Dataquery:
    """Ask Prometheus for lines."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(expression).range().exemplar(exemplars)
    return query.legend_format(legend or "__auto")


def now(expression: str) -> prometheus.Dataquery:
    """Ask Prometheus for rows of a table: values at the end of the time range."""
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(expression).instant()
    return query.format(prometheus_model.PromQueryFormat.TABLE)


def buckets(expression: str) -> prometheus.Dataquery:
    """Ask Prometheus for the buckets of a heatmap."""
    query = metric(expression, "{{le}}", exemplars=True)
    return query.format(prometheus_model.PromQueryFormat.HEATMAP)


def found(query: str, *, by_span: bool = True, limit: int = 50) -> tempo.Dataquery:
    """Ask Tempo for spans, or for traces, that TraceQL finds."""
    kind = tempo_model.SearchTableType.SPANS if by_span else tempo_model.SearchTableType.TRACES
    asked = tempo.Dataquery().datasource(TEMPO).query_type("traceql").query(query)
    return asked.limit(limit).spss(20).table_type(kind)


def traced(query: str) -> tempo.Dataquery:
    """Ask Tempo for lines that TraceQL counts or measures."""
    asked = tempo.Dataquery().datasource(TEMPO).query_type("traceql").query(query)
    return asked.metrics_query_type(tempo_model.MetricsQueryType.RANGE)


def logged(expression: str, legend: str = "") -> loki.Dataquery:
    """Ask Loki for log events, or for lines that LogQL counts."""
    query = loki.Dataquery().datasource(LOKI).expr(expression).query_type("range").max_lines(1000)
    return query.legend_format(legend) if legend else query


# -- panels ---------------------------------------------------------------------------------------------

Panel = Any  # the builders share no base that has these methods


def _panel(kind: Panel, title: str, description: str, unit: str, queries: Iterable[Any]) -> Panel:
    made = kind.title(title).description(description).unit(unit).height(HEIGHT)
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        # A name that the query has already is what transformations call it by.
        made = made.with_target(query if query.build().ref_id else query.ref_id(letter))
    return made


def _thresholds(steps: Mapping[str, float]) -> build.ThresholdsConfig:
    """Return green, and from each value on the colour given for it."""
    made = [model.Threshold(value=None, color="green")]
    made += [model.Threshold(value=value, color=color) for color, value in steps.items()]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Any,
    span: int = THIRD,
    stacked: bool = False,
    thresholds: Mapping[str, float] | None = None,
    most: float | None = None,
    height: int = HEIGHT,
) -> Panel:
    """Lines over time; with ``thresholds`` (colour to value) also drawn as lines."""
    panel = _panel(timeseries.Panel(), title, description, unit, queries).span(span).height(height)
    source = queries[0].build().datasource
    panel = panel.datasource(source).min(0).fill_opacity(10).show_points(common_model.VisibilityMode.NEVER)
    panel = panel.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if thresholds:
        style = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(thresholds)).thresholds_style(style)
    return panel if most is None else panel.max(most)


def number(
    title: str,
    description: str,
    unit: str,
    query: Any,
    *,
    span: int = 4,
    thresholds: Mapping[str, float] | None = None,
) -> Panel:
    """One number, or one for each series, with its course behind it."""
    panel = _panel(stat.Panel(), title, description, unit, [query]).span(span).height(4)
    panel = panel.datasource(query.build().datasource).graph_mode(common_model.BigValueGraphMode.AREA)
    last = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return panel.reduce_options(last).thresholds(_thresholds(thresholds or {}))


def heat(title: str, description: str, unit: str, query: Any, *, span: int = HALF) -> Panel:
    """How many values fell into which bucket, over time; exemplars are points that lead to traces."""
    axis = heatmap.YAxisConfig().unit(unit)
    panel = _panel(heatmap.Panel(), title, description, unit, [query]).span(span).y_axis(axis)
    return panel.datasource(PROMETHEUS).exemplars_color("rgba(255,0,255,0.7)")


def listing(
    title: str,
    description: str,
    unit: str,
    *queries: Any,
    span: int = HALF,
    sorted_by: str = "",
    renamed: Mapping[str, str] | None = None,
    links: Mapping[str, tuple[str, str]] | None = None,
    height: int = HEIGHT,
    matching: tuple[str, str] | None = None,
    without: Iterable[str] = (),
) -> Panel:
    """A table; ``links`` says which columns lead where: column to (title, URL).

    ``matching`` is a column and a regular expression that a row must match; ``without`` are columns left out.
    """
    panel = _panel(table.Panel(), title, description, unit, queries).span(span).height(height)
    panel = panel.datasource(queries[0].build().datasource)
    if len(queries) > 1:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    if matching is not None:
        panel = panel.with_transformation(_matching(*matching))
    if renamed is not None:
        panel = panel.with_transformation(_renaming(renamed))
    if left_out := dict.fromkeys(without, True):
        panel = panel.with_transformation(
            model.DataTransformerConfig(id_val="organize", options={"excludeByName": left_out})
        )
    for column, (label, url) in (links or {}).items():
        link = model.DynamicConfigValue(id_val="links", value=[{"title": label, "url": url}])
        panel = panel.override_by_name(column, [link])
    if sorted_by:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sorted_by).desc(True)])
    return panel


def _matching(column: str, pattern: str) -> model.DataTransformerConfig:
    condition = {"fieldName": column, "config": {"id": "regex", "options": {"value": pattern}}}
    options = {"filters": [condition], "type": "include", "match": "all"}
    return model.DataTransformerConfig(id_val="filterByValue", options=options)


def _renaming(fields: Mapping[str, str]) -> model.DataTransformerConfig:
    options = {"excludeByName": {"Time": True}, "renameByName": dict(fields)}
    return model.DataTransformerConfig(id_val="organize", options=options)


def log_events(title: str, description: str, query: Any, *, span: int = HALF) -> Panel:
    """Log events, the newest last, with what they bear."""
    panel = _panel(logs.Panel(), title, description, "short", [query]).span(span)
    panel = panel.datasource(query.build().datasource)
    panel = panel.show_time(True).wrap_log_message(True).enable_log_details(True)
    return panel.sort_order(common_model.LogsSortOrder.ASCENDING).height(2 * HEIGHT)


def one_trace(title: str, description: str, query: Any, *, span: int = FULL) -> Panel:
    """One trace, as Grafana's trace view shows it."""
    panel = _panel(build.Panel().type("traces"), title, description, "short", [query])
    return panel.span(span).datasource(query.build().datasource).height(2 * HEIGHT)


def said(title: str, description: str, content: str, *, span: int = HALF, height: int = HEIGHT) -> Panel:
    """Words in the place of what a store cannot answer."""
    panel = text.Panel().title(title).description(description).content(content)
    return panel.mode(text_model.TextMode.MARKDOWN).span(span).height(height)


def node_graph(
    title: str,
    description: str,
    *queries: Any,
    renamed: Mapping[str, str] | None = None,
    span: int = HALF,
) -> Panel:
    """A picture of nodes and edges; a store gives it for a trace, from Prometheus it takes two tables."""
    panel = _panel(nodegraph.Panel(), title, description, "short", queries).span(span)
    if renamed is not None:
        panel = panel.with_transformation(_renaming(renamed))
    return panel.datasource(queries[0].build().datasource).height(2 * HEIGHT)
