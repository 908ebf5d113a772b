"""Tempo and Loki: TraceQL and LogQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dashboards import links
from dashboards import queries as q
from dashboards.names import GRAPH_ATTRIBUTES, SERVICE, is_list, label
from dashboards.panels import (
    HALF,
    HEIGHT,
    Panel,
    found,
    lines,
    listing,
    log_events,
    logged,
    node_graph,
    one_trace,
    traced,
)
from dashboards.stores import Find, Kind
from dashboards.stores.collector import Way, over_grpc, over_http, transform
from otel_stream import semconv

_OF_SERVICE: Final = f'resource.{SERVICE} =~ "${q.V_SERVICE}"'
#: A span that is a run of one of the chosen graphs, and one that is a task of one of the chosen nodes.
_RUN: Final = (
    f"{_OF_SERVICE} && ("
    + " || ".join(f'span.{attribute} =~ "${q.V_GRAPH}"' for attribute in GRAPH_ATTRIBUTES)
    + ")"
)
_TASK: Final = f'{_OF_SERVICE} && span.{semconv.GEN_AI_NODE_NAME} =~ "${q.V_NODE}"'
#: Tempo's search leaves out zeros at the front of a trace id, which other stores want.
_ID: Final = f"0*${q.V_TRACE}"
#: The streams of the chosen services.
_LOGS: Final = f'{{{q.L_SERVICE}=~"${q.V_SERVICE}",{q.L_ENVIRONMENT}=~"${q.V_ENVIRONMENT}"}}'
#: What the Collector makes of a log event's name.
_EVENT: Final = label("event.name")


def _spans(condition: str, *shown: str) -> str:
    """Return the newest spans that meet a condition, with some attributes to show."""
    chosen = f" | select({', '.join(f'span.{attribute}' for attribute in shown)})" if shown else ""
    return f"{{ {condition} }}{chosen} with (most_recent=true)"


def _named(*names: str) -> str:
    """Return a filter of log events by name."""
    pattern = "|".join(name.replace(".", r"\\.") for name in names)
    return f'| {_EVENT}=~"{pattern}"'


_NAME: Final = "tempo-loki"
_TO_RUN: Final = {"traceID": links.to_run(_NAME)}


class TempoLoki:
    """Everything can be asked of them."""

    name = _NAME
    titles: tuple[str, str] = ("Tempo", "Loki")
    start = "otel-stream backends up"
    sources: Mapping[str, str] = {"tempo": "tempo", "loki": "loki"}
    way = Way(
        over_grpc("tempo", "${env:OTEL_STREAM_TEMPO:-127.0.0.1:14317}"),
        over_http("loki", "endpoint: ${env:OTEL_STREAM_LOKI:-http://127.0.0.1:3100}/otlp"),
        transform(
            "event_name",
            "# Loki keeps a log event's attributes, but not the field that holds its name.",
            '- set(log.attributes["event.name"], log.event_name) where log.event_name != ""',
        ),
    )

    def variables(self) -> list[Any]:
        return []

    def runs(self, title: str, description: str, find: Find, *, sorted_by: str = "") -> Panel:
        conditions = [_RUN]
        if find.resumed:
            conditions = [f'span.{semconv.GRAPH_RESUME_TRACE_ID} =~ "{_ID}"']
        elif find.of_conversation:
            mine = f'span.{semconv.GEN_AI_CONVERSATION_ID} = "${q.V_CONVERSATION}"'
            conditions = [mine, f"span.{semconv.GRAPH_RUN_END} != nil"]
        conditions += ["status = error"] if find.failed else []
        conditions += [f"duration >= ${q.V_SLOW}"] if find.slow else []
        conditions += [f'span.{semconv.GRAPH_RUN_END} = "{find.end}"'] if find.end else []
        conditions += [f"span.{semconv.GRAPH_RUN_COST} > 0"] if find.priced else []
        query = found(_spans(" && ".join(conditions), *find.shown))
        return listing(title, description, "ns", query, links=_TO_RUN, sorted_by=sorted_by)

    def tasks(
        self, title: str, description: str, *shown: str, failed: bool = False, sorted_by: str = ""
    ) -> Panel:
        query = found(_spans(f"{_TASK} && status = error" if failed else _TASK, *shown))
        return listing(title, description, "ns", query, links=_TO_RUN, sorted_by=sorted_by)

    def task_durations(self, title: str, description: str) -> Panel:
        by = f"by (span.{semconv.GEN_AI_NODE_NAME})"
        query = traced(f"{{ {_TASK} }} | quantile_over_time(duration, 0.95) {by}")
        return lines(title, description, "s", query, span=HALF)

    def trace(self, title: str, description: str) -> Panel:
        return one_trace(title, description, found(f"${q.V_TRACE}", by_span=False))

    def graph(self, title: str, description: str) -> Panel:
        return node_graph(title, description, found(f"${q.V_TRACE}", by_span=False))

    def spans(self, title: str, description: str, kind: Kind, *shown: str, height: int = HEIGHT) -> Panel:
        bearing = {"task": semconv.GEN_AI_NODE_NAME, "run": semconv.GRAPH_RUN_END}[kind]
        query = found(_spans(f'trace:id =~ "{_ID}" && span.{bearing} != nil', *shown))
        return listing(title, description, "ns", query, height=height)

    def counted(
        self, title: str, description: str, event: str, *by: str, span: int = HALF, height: int = HEIGHT
    ) -> Panel:
        of = f' {_named(event)} | {q.L_GRAPH}=~"${q.V_GRAPH}"' if event else f' | {q.L_GRAPH}=~"${q.V_GRAPH}"'
        labels = [label(attribute) for attribute in by] or [_EVENT]
        for attribute in filter(is_list, by):
            plain = f'{{{{ regexReplaceAll "[\\\\[\\\\]\\"]" .{label(attribute)} "" }}}}'
            of += f" | {label(attribute)}!=`` | label_format {label(attribute)}=`{plain}`"
        expression = f"sum by ({', '.join(labels)}) (count_over_time({_LOGS}{of} [$__interval]))"
        query = logged(expression, " ".join(f"{{{{{one}}}}}" for one in labels))
        return lines(title, description, "short", query, span=span, stacked=True, height=height)

    def weighed(self, title: str, description: str, by: str) -> Panel:
        mine = f'{_LOGS} | {q.L_GRAPH}=~"${q.V_GRAPH}" | {label(by)} != ""'
        expression = f"sum by ({label(by)}) (bytes_rate({mine} [$__interval]))"
        query = logged(expression, f"{{{{{label(by)}}}}}")
        return lines(title, description, "Bps", query, span=HALF, stacked=True)

    def events(self, title: str, description: str, *names: str) -> Panel:
        mine = f'{{{q.L_SERVICE}=~".+"}} | trace_id=~"{_ID}"' + (f" {_named(*names)}" if names else "")
        step, node = label(semconv.GRAPH_SUPERSTEP), q.L_NODE
        shown = f"step {{{{.{step}}}}} {{{{.{node}}}}} {{{{.{_EVENT}}}}}: {{{{__line__}}}}"
        return log_events(title, description, logged(f"{mine} | line_format `{shown}`"))


TEMPO_LOKI: Final = TempoLoki()
