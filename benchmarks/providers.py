"""OpenTelemetry's SDK as ``otel_stream.configure()`` sets it up, with exporters that only count.

The calls made by hand, to compare with, go to providers of the SDK alone.
"""

from __future__ import annotations

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON

from benchmarks.cases import Telemetry
from benchmarks.exporters import NoLogs, NoMetrics, NoSpans
from otel_stream.sdk.export.accounting import Account, CountedLogExporter, CountedSpanExporter
from otel_stream.sdk.export.batch import Batch, BatchLogs, BatchSpans
from otel_stream.sdk.export.limits import BatchLimits
from otel_stream.sdk.lean import LeanLoggerProvider, LeanMeterProvider, LeanTracerProvider

#: Spans or log records that may wait for an export.
QUEUE = 4096


class Providers:
    """A tracer, a logger and a meter provider whose spans and log records are counted on arrival.

    Queues hold what one run makes, so that nothing is lost on a busy machine; the rest is the SDK's
    default. ``flush`` belongs to what is measured: otherwise the
    work of the processors' threads would fall into the samples of the other side.
    """

    def __init__(self, tracers: TracerProvider, loggers: LoggerProvider, meters: MeterProvider) -> None:
        self.tracers, self.loggers, self.meters = tracers, loggers, meters
        self.spans, self.logs = NoSpans(), NoLogs()

    def flush(self) -> tuple[int, int]:
        """Have everything exported; return how many spans and log records came since the last time."""
        self.tracers.force_flush()
        self.loggers.force_flush()
        counts = self.spans.count, self.logs.count
        self.spans.count = self.logs.count = 0
        return counts

    def close(self) -> None:
        """End the threads of the processors and the reader."""
        self.tracers.shutdown()
        self.loggers.shutdown()
        self.meters.shutdown()


def as_configured(telemetry: Telemetry) -> Providers:
    """Return providers as ``configure()`` makes them."""
    sampler = ALWAYS_OFF if telemetry is Telemetry.UNSAMPLED else DEFAULT_ON
    providers = Providers(
        LeanTracerProvider(sampler=sampler, shutdown_on_exit=False),
        LeanLoggerProvider(shutdown_on_exit=False),
        LeanMeterProvider([PeriodicExportingMetricReader(NoMetrics())], shutdown_on_exit=False),
    )
    account = Account(_lost)
    spans = Batch(CountedSpanExporter(providers.spans, account), account, BatchLimits(QUEUE), "spans")
    providers.tracers.add_span_processor(BatchSpans(spans))
    account = Account(_lost)
    logs = Batch(CountedLogExporter(providers.logs, account), account, BatchLimits(QUEUE), "logs")
    providers.loggers.add_log_record_processor(BatchLogs(logs))
    return providers


def _lost(size: int, reason: str) -> None:
    raise AssertionError(f"{size} items did not arrive: {reason}")


def of_the_sdk() -> Providers:
    """Return the SDK's own providers and batch processors."""
    providers = Providers(
        TracerProvider(shutdown_on_exit=False),
        LoggerProvider(shutdown_on_exit=False),
        MeterProvider([PeriodicExportingMetricReader(NoMetrics())], shutdown_on_exit=False),
    )
    providers.tracers.add_span_processor(BatchSpanProcessor(providers.spans, max_queue_size=QUEUE))
    providers.loggers.add_log_record_processor(BatchLogRecordProcessor(providers.logs, max_queue_size=QUEUE))
    return providers


class _Installed:
    providers: Providers | None = None


def install(telemetry: Telemetry, *, spans_alone: bool = False) -> None:
    """Set the global providers; once per process, as OpenTelemetry allows no more."""
    if telemetry is not Telemetry.OFF:
        providers = _Installed.providers = as_configured(telemetry)
        trace.set_tracer_provider(providers.tracers)
        if spans_alone:
            return
        _logs.set_logger_provider(providers.loggers)
        metrics.set_meter_provider(providers.meters)


def installed() -> Providers:
    """Return the global providers of this process.

    Raises:
        RuntimeError: its row was not declared to have telemetry.
    """
    if _Installed.providers is None:
        raise RuntimeError("no providers in this process: give the row in ROWS its kind of telemetry")
    return _Installed.providers


def close() -> None:
    """Close the global providers, if there are any."""
    if _Installed.providers is not None:
        _Installed.providers.close()
        _Installed.providers = None
