"""OpenTelemetry's real SDK behind our telemetry: batch processors, and exporters that only count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON

from benchmarks.cases import Telemetry


class _Spans(SpanExporter):
    def __init__(self) -> None:
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.count += len(spans)
        return SpanExportResult.SUCCESS


class _Logs(LogRecordExporter):
    def __init__(self) -> None:
        self.count = 0

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.count += len(batch)
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return True

    def shutdown(self) -> None:
        """Have nothing to close."""


class _Metrics(MetricExporter):
    def export(self, metrics_data: Any, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Have nothing to close."""


class Providers:
    """Tracer, logger and meter provider, set up as a program would, and set as the global ones.

    Spans and log records wait in the queues of batch processors at the SDK's default size. ``flush``
    belongs to what is measured: otherwise the work of the processors' threads would fall into the
    samples of the other side. Metrics are collected at their default interval, once a minute.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._spans, self._logs = _Spans(), _Logs()
        sampler = ALWAYS_OFF if telemetry is Telemetry.UNSAMPLED else DEFAULT_ON
        self._tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self._tracers.add_span_processor(BatchSpanProcessor(self._spans))
        self._loggers = LoggerProvider(shutdown_on_exit=False)
        self._loggers.add_log_record_processor(BatchLogRecordProcessor(self._logs))
        self._meters = MeterProvider([PeriodicExportingMetricReader(_Metrics())], shutdown_on_exit=False)
        trace.set_tracer_provider(self._tracers)
        _logs.set_logger_provider(self._loggers)
        metrics.set_meter_provider(self._meters)

    def flush(self) -> tuple[int, int]:
        """Have everything exported; return how many spans and log records came since the last time."""
        self._tracers.force_flush()
        self._loggers.force_flush()
        counts = self._spans.count, self._logs.count
        self._spans.count = self._logs.count = 0
        return counts

    def close(self) -> None:
        """End the threads of the processors and the reader."""
        self._tracers.shutdown()
        self._loggers.shutdown()
        self._meters.shutdown()


class _Installed:
    providers: Providers | None = None


def install(telemetry: Telemetry) -> None:
    """Set the global providers; once per process, as OpenTelemetry allows no more."""
    if telemetry is not Telemetry.OFF:
        _Installed.providers = Providers(telemetry)


def installed() -> Providers:
    """Return the providers of this process.

    Raises:
        RuntimeError: its row was not declared to have telemetry.
    """
    if _Installed.providers is None:
        raise RuntimeError("no providers in this process: give the row in ROWS its kind of telemetry")
    return _Installed.providers


def close() -> None:
    """Close the providers, if there are any."""
    if _Installed.providers is not None:
        _Installed.providers.close()
        _Installed.providers = None
