"""The real SDK with exporters in memory, and what the registry has to say about what they got."""

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_stream.sdk.versions import InMemoryLogRecordExporter
from semconv.live_check import LiveCheck


class Emitted:
    """Providers with exporters in memory, as a program would set them."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.logs = InMemoryLogRecordExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def install(self) -> None:
        """Make them the global ones."""
        trace.set_tracer_provider(self.tracers)
        _logs.set_logger_provider(self.loggers)
        metrics.set_meter_provider(self.meters)

    def violations(self, check: LiveCheck) -> list[str]:
        """Check all that was emitted, which must not be nothing."""
        spans, logs = self.spans.get_finished_spans(), self.logs.get_finished_logs()
        data = self.reader.get_metrics_data()
        assert spans
        assert logs
        assert data
        return sorted({*check.spans(spans), *check.logs(logs), *check.metrics(data)})
