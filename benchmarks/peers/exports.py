"""Where telemetry goes in a contender's process: nowhere, counted; or as OTLP to whoever started it."""

from __future__ import annotations

from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON

from benchmarks.exporters import NoLogs, NoMetrics, NoSpans


class Exports:
    """The global providers of one process, with batch processors of the SDK and its default queues.

    ``counting``: exporters that only count; otherwise those of OTLP over HTTP, told by the environment
    where to. ``own_spans``: the peer brings the processor for ``spans`` itself.
    """

    def __init__(self, *, counting: bool, sampled: bool, own_spans: bool) -> None:
        self.spans: Any
        self.logs: Any
        if counting:
            self.spans, self.logs, measured = NoSpans(), NoLogs(), NoMetrics()
        else:
            self.spans, self.logs, measured = _otlp()
        # Every peer gets the same resource, so that none is billed for a longer description of itself.
        self.tracers = TracerProvider(sampler=DEFAULT_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.meters = MeterProvider([PeriodicExportingMetricReader(measured)], shutdown_on_exit=False)
        if not own_spans:
            self.tracers.add_span_processor(BatchSpanProcessor(self.spans))
        self.loggers.add_log_record_processor(BatchLogRecordProcessor(self.logs))

    def install(self) -> None:
        """Make them the providers of the process."""
        trace.set_tracer_provider(self.tracers)
        _logs.set_logger_provider(self.loggers)
        metrics.set_meter_provider(self.meters)

    def flush(self) -> None:
        """Have spans and log records exported; it belongs to what is measured."""
        self.tracers.force_flush()
        self.loggers.force_flush()

    def counted(self) -> tuple[int, int]:
        """Return how many spans and log records came since the last time."""
        counts = self.spans.count, self.logs.count
        self.spans.count = self.logs.count = 0
        return counts

    def close(self) -> None:
        """Export what is left, measurements included, and end the threads."""
        self.tracers.shutdown()
        self.loggers.shutdown()
        self.meters.shutdown()


def _otlp() -> tuple[Any, Any, Any]:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), OTLPLogExporter(), OTLPMetricExporter()
