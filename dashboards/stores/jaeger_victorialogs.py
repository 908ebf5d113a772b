"""Jaeger and VictoriaLogs: searches by service and tags, and LogsQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dashboards import links
from dashboards import queries as q
from dashboards.names import ENVIRONMENT, SERVICE, is_list, series
from dashboards.panels import (
    HALF,
    HEIGHT,
    Panel,
    lines,
    listing,
    log_events,
    node_graph,
    one_trace,
    said,
)
from dashboards.plugins import JAEGER, VICTORIALOGS, Asking, JaegerQuery, VictoriaLogsQuery
from dashboards.stores import Find, Kind
from dashboards.stores.collector import Way, over_grpc, over_http, transform
from dashboards.variables import one_of
from otel_stream import semconv

_NAME: Final = "jaeger-victorialogs"
#: Jaeger searches in one service: a variable of its own, since the others may stand for several.
V_TRACED: Final = "traced"
_ONE_SERVICE: Final = "Jaeger searches one service, which is chosen above, whatever graph is."
_TO_RUN: Final = {"traceID": links.to_run(_NAME, V_TRACED)}
_SPAN_NAMES: Final[Mapping[Kind, str]] = {"task": semconv.SPAN_NODE, "run": semconv.SPAN_RUN}
_NOT_COMPARED: Final = (
    "Jaeger finds tags that equal something and compares no numbers, so it cannot list these. What a run "
    f"cost is on its span, `{semconv.GRAPH_RUN_COST}`; *Dearest nodes* and *Duration* say where to look."
)
#: What a table of spans leaves out.
_NOT_SHOWN: Final = ("traceID", "spanID", "parentSpanID", "serviceName", "serviceTags", "logs", "references")

#: Filters of the chosen services' log events. Backquotes, because a regular expression may hold a backslash.
_LOGS: Final = (
    f'"{SERVICE}":~`${{{q.V_SERVICE}:regex}}` "{ENVIRONMENT}":~`${{{q.V_ENVIRONMENT}:regex}}`'
    f' "{semconv.GRAPH_NAME}":~`${{{q.V_GRAPH}:regex}}`'
)
#: The field that holds a log event's name.
_EVENT: Final = "event_name"


def _search(*tags: str, slow: bool = False) -> Asking:
    query = JaegerQuery(query_type="search", service=f"${V_TRACED}", tags=" ".join(tags), limit=50)
    query.min_duration = f"${q.V_SLOW}" if slow else None
    return Asking(query, "jaeger")


def _trace() -> Asking:
    return Asking(JaegerQuery(query=f"${q.V_TRACE}"), "jaeger")


def _counts(expression: str, *by: str) -> Asking:
    legend = " ".join(f"{{{{{field}}}}}" for field in by)
    return Asking(
        VictoriaLogsQuery(expr=expression, query_type="statsRange", legend_format=legend), "victorialogs"
    )


class JaegerVictoriaLogs:
    """Jaeger finds traces, and neither lists spans by their attributes nor measures any."""

    name = _NAME
    titles: tuple[str, str] = ("Jaeger", "VictoriaLogs")
    start = "otel-stream backends up --stores jaeger-victorialogs"
    sources: Mapping[str, str] = {"jaeger": JAEGER, "victorialogs": VICTORIALOGS}
    way = Way(
        over_grpc("jaeger", "${env:OTEL_STREAM_JAEGER:-127.0.0.1:24317}"),
        over_http(
            "victorialogs",
            "logs_endpoint: "
            "${env:OTEL_STREAM_VICTORIALOGS:-http://127.0.0.1:9428}/insert/opentelemetry/v1/logs",
            "# What tells streams apart: without it, all attributes of a resource, and so each process.",
            "headers:",
            '  VL-Stream-Fields: "service.name,service.namespace,deployment.environment.name,event_name"',
        ),
        transform(
            "message",
            "# VictoriaLogs wants a message, and makes one up where there is none.",
            '- set(log.body, log.event_name) where log.body == nil and log.event_name != ""',
        ),
    )

    def variables(self) -> list[Any]:
        services = f"label_values({series(semconv.RUN_ACTIVE)}, {q.L_SERVICE})"
        return [one_of(V_TRACED, "Service of traces", services)]

    def runs(self, title: str, description: str, find: Find, *, sorted_by: str = "") -> Panel:
        tags = [f"{semconv.GRAPH_RESUME_TRACE_ID}=${q.V_TRACE}"] if find.resumed else []
        tags += [] if find.resumed else [f"{semconv.GEN_AI_OPERATION_NAME}={semconv.SPAN_RUN}"]
        tags += ["error=true"] if find.failed else []
        tags += [f"{semconv.GRAPH_RUN_END}={find.end}"] if find.end else []
        of_conversation = f"{semconv.GEN_AI_CONVERSATION_ID}=${q.V_CONVERSATION}"
        tags += [of_conversation] if find.of_conversation else []
        if find.priced:
            return said(title, description, _NOT_COMPARED)
        return listing(
            title,
            f"{description} {_ONE_SERVICE}",
            "µs",
            _search(*tags, slow=find.slow),
            links=_TO_RUN,
            sorted_by=sorted_by,
        )

    def tasks(
        self, title: str, description: str, *shown: str, failed: bool = False, sorted_by: str = ""
    ) -> Panel:
        tags = [f"{semconv.GEN_AI_OPERATION_NAME}={semconv.SPAN_NODE}"]
        tags += ["error=true"] if failed else []
        whole = f"{description} Jaeger lists whole runs, in which such a task is. {_ONE_SERVICE}"
        return listing(title, whole, "µs", _search(*tags), links=_TO_RUN, sorted_by=sorted_by)

    def task_durations(self, title: str, description: str) -> Panel:
        words = (
            "Jaeger finds traces and measures none, so it cannot answer this. The same percentile is in "
            "*Duration*: at the top from the metrics of all runs, at the bottom from the gateway's spans."
        )
        return said(title, description, words)

    def trace(self, title: str, description: str) -> Panel:
        return one_trace(title, description, _trace())

    def graph(self, title: str, description: str) -> Panel:
        return node_graph(title, description, _trace())

    def spans(self, title: str, description: str, kind: Kind, *shown: str, height: int = HEIGHT) -> Panel:
        whole = f"{description} Jaeger gives the attributes of a span as one list."
        begins = f"^{_SPAN_NAMES[kind]}( |$)"
        return listing(
            title,
            whole,
            "ms",
            _trace(),
            height=height,
            matching=("operationName", begins),
            without=_NOT_SHOWN,
        )

    def counted(
        self, title: str, description: str, event: str, *by: str, span: int = HALF, height: int = HEIGHT
    ) -> Panel:
        fields = by or (_EVENT,)
        of = f'{_EVENT}:="{event}" {_LOGS}' if event else _LOGS
        listed = ", ".join(f'"{field}"' for field in fields)
        for field in filter(is_list, by):
            of += f' | unroll ("{field}")'
        query = _counts(f"{of} | stats by ({listed}) count() events", *fields)
        return lines(title, description, "short", query, span=span, stacked=True, height=height)

    def weighed(self, title: str, description: str, by: str) -> Panel:
        expression = f'{_LOGS} "{by}":* | len(_msg) bytes | stats by ("{by}") rate_sum(bytes) bytes'
        return lines(title, description, "Bps", _counts(expression, by), span=HALF, stacked=True)

    def events(self, title: str, description: str, *names: str) -> Panel:
        listed = ", ".join(f'"{name}"' for name in names)
        mine = f'trace_id:="${q.V_TRACE}"' + (f" {_EVENT}:in({listed})" if names else "")
        shown = f"step <{semconv.GRAPH_SUPERSTEP}> <{semconv.GEN_AI_NODE_NAME}> <{_EVENT}>: <_msg>"
        expression = f'{mine} | format "{shown}" as _msg | sort by (_time)'
        query = VictoriaLogsQuery(expr=expression, query_type="instant", max_lines=1000)
        return log_events(title, description, Asking(query, "victorialogs"))


JAEGER_VICTORIALOGS: Final = JaegerVictoriaLogs()
