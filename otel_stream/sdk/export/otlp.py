"""Exporters of OTLP for the SDK's processors and readers: each a delivery to one receiver."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stream.sdk.configure.destinations import Destination, Signal, otlp_destination
from otel_stream.sdk.export.delivery import Delivery, Sender
from otel_stream.sdk.export.encoding import ENCODINGS, Encoding
from otel_stream.sdk.export.limits import MAX_REQUEST
from otel_stream.sdk.export.points import points
from otel_stream.sdk.versions import LogRecordExporter, LogRecordExportResult, ReadableLogRecord

_logger = logging.getLogger("otel_stream.sdk")


class _Otlp:
    """What the exporters have in common."""

    def __init__(self, signal: Signal, place: Destination | None, limit: int) -> None:
        place, encoding = place or otlp_destination(signal, os.environ), ENCODINGS[signal]
        self._endpoint = place.endpoint
        self.delivery = Delivery(encoding, _sender(place, encoding), limit)

    def close(self) -> None:
        self.delivery.close()


class OtlpSpanExporter(_Otlp, SpanExporter):
    """Exports spans to ``place``; without one to where the environment says."""

    def __init__(self, place: Destination | None = None, limit: int = MAX_REQUEST) -> None:
        super().__init__("traces", place, limit)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        done = self.delivery.deliver(spans)
        return SpanExportResult.SUCCESS if done else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class OtlpLogExporter(_Otlp, LogRecordExporter):
    """Exports log records to ``place``; without one to where the environment says."""

    def __init__(self, place: Destination | None = None, limit: int = MAX_REQUEST) -> None:
        super().__init__("logs", place, limit)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        done = self.delivery.deliver(batch)
        return LogRecordExportResult.SUCCESS if done else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        self.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class OtlpMetricExporter(_Otlp, MetricExporter):
    """Exports metrics to ``place``, in the temporality and aggregation that the environment prefers."""

    def __init__(self, place: Destination | None = None, limit: int = MAX_REQUEST) -> None:
        _Otlp.__init__(self, "metrics", place, limit)
        MetricExporter.__init__(self, temporality(os.environ), aggregation(os.environ))

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        done = self.delivery.deliver(points(metrics_data))
        return MetricExportResult.SUCCESS if done else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


OTLP_EXPORTERS: Final[dict[str, Any]] = {
    "traces": OtlpSpanExporter,
    "logs": OtlpLogExporter,
    "metrics": OtlpMetricExporter,
}


def _sender(place: Destination, encoding: Encoding) -> Sender:
    # Each brings along a library that takes its time to load.
    if place.protocol == "grpc":
        from otel_stream.sdk.export.over_grpc import GrpcSender

        return GrpcSender(place, encoding)
    from otel_stream.sdk.export.over_http import HttpSender

    return HttpSender(place, encoding)


_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_AGGREGATION: Final = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
#: OTLP exporter for metrics, "temporality preference": what is reported as what has changed.
_DELTAS: Final[dict[str, tuple[type, ...]]] = {
    "": (),
    "cumulative": (),
    "delta": (metrics.Counter, metrics.ObservableCounter, metrics.Histogram),
    "lowmemory": (metrics.Counter, metrics.Histogram),
}


def temporality(environ: Mapping[str, str]) -> dict[type, AggregationTemporality]:
    """Return what the environment prefers, for every instrument that is not cumulative."""
    wish = environ.get(_TEMPORALITY, "").strip().lower()
    if wish not in _DELTAS:
        _logger.warning(
            "%s=%r is not known and is ignored: use one of cumulative, delta, lowmemory.", _TEMPORALITY, wish
        )
    return dict.fromkeys(_DELTAS.get(wish, ()), AggregationTemporality.DELTA)


def aggregation(environ: Mapping[str, str]) -> dict[type, Any]:
    """Return how the environment wants histograms to be aggregated, if it does not want the default."""
    wish = environ.get(_AGGREGATION, "").strip().lower()
    if wish == "base2_exponential_bucket_histogram":
        return {metrics.Histogram: ExponentialBucketHistogramAggregation()}
    if wish not in ("", "explicit_bucket_histogram"):
        _logger.warning(
            "%s=%r is not known and is ignored: use explicit_bucket_histogram or "
            "base2_exponential_bucket_histogram.",
            _AGGREGATION,
            wish,
        )
    return {}
