"""Items of a signal as OTLP requests: what a receiver is sent, and what a line of a file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics.export import (
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)

from otel_stream.sdk.configure.destinations import Signal
from otel_stream.sdk.export.compaction import rows
from otel_stream.sdk.export.points import Point
from otel_stream.sdk.export.repair import sound_attributes, sound_log_record, sound_span

#: Longest sum of a log record's attributes, in bytes: Loki takes 64 KB of what it calls structured
#: metadata, VictoriaLogs fields of a line up to 256 KB.
MAX_LOG_ATTRIBUTES: Final = 60 * 1024


class Encoding(NamedTuple):
    """How the items of a signal become a request.

    ``weight``: how many of what the program emitted an item stands for. ``named``: what to call one.
    """

    signal: Signal
    request: Callable[[Sequence[Any]], Message]
    entries: Callable[[Message], Iterator[Message]]
    weight: Callable[[Any], int]
    named: Callable[[Any], str]
    answer: Any
    rejected: str
    method: str


# -- spans ---------------------------------------------------------------------------------------


def _spans(items: Sequence[Any]) -> Message:
    return encode_spans([sound_span(item) for item in items])


def _span_entries(request: Any) -> Iterator[Message]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


# -- log records ---------------------------------------------------------------------------------


def _logs(items: Sequence[Any]) -> Message:
    return encode_logs([sound_log_record(item) for item in items])


def _log_entries(request: Any) -> Iterator[Message]:
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            yield from scope.log_records


# -- points of metrics ---------------------------------------------------------------------------


def _metrics(items: Sequence[Point]) -> Message:
    """Put points together again; those that belong together follow each other."""
    resources: list[ResourceMetrics] = []
    scopes: list[ScopeMetrics] = []
    metrics: list[Metric] = []
    before: Point | None = None
    for item in items:
        attributes: Any = sound_attributes(item.point.attributes)
        point = (
            item.point if attributes is item.point.attributes else replace(item.point, attributes=attributes)
        )
        if before is None or item.resource is not before.resource:
            scopes = []
            resources.append(replace(item.resource, scope_metrics=scopes))
            before = None
        if before is None or item.scope is not before.scope:
            metrics = []
            scopes.append(replace(item.scope, metrics=metrics))
            before = None
        if before is None or item.metric is not before.metric:
            data: Any = item.metric.data
            metrics.append(replace(item.metric, data=replace(data, data_points=[])))
        of_metric: Any = metrics[-1].data.data_points
        of_metric.append(point)
        before = item
    return encode_metrics(MetricsData(resources))


def _metric_entries(request: Any) -> Iterator[Message]:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from getattr(metric, metric.WhichOneof("data")).data_points


_SERVICE: Final = "/opentelemetry.proto.collector."

SPANS: Final = Encoding(
    "traces",
    _spans,
    _span_entries,
    lambda _: 1,
    lambda item: f"the span {item.name!r}",
    ExportTraceServiceResponse,
    "rejected_spans",
    f"{_SERVICE}trace.v1.TraceService/Export",
)
LOGS: Final = Encoding(
    "logs",
    _logs,
    _log_entries,
    rows,
    lambda item: f"the log record {item.log_record.event_name or ''!r}",
    ExportLogsServiceResponse,
    "rejected_log_records",
    f"{_SERVICE}logs.v1.LogsService/Export",
)
METRICS: Final = Encoding(
    "metrics",
    _metrics,
    _metric_entries,
    lambda _: 1,
    lambda item: f"a point of the metric {item.metric.name!r}",
    ExportMetricsServiceResponse,
    "rejected_data_points",
    f"{_SERVICE}metrics.v1.MetricsService/Export",
)
ENCODINGS: Final[dict[Signal, Encoding]] = {"traces": SPANS, "logs": LOGS, "metrics": METRICS}
