"""What runs export, kept in memory: the real SDK, with exporters that a test can look into.

The program's own OpenTelemetry providers are neither used nor replaced. This is the one module of
``otel_stream.testing`` that loads the SDK.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from otel_stream.sdk.versions import InMemoryLogRecordExporter, ReadableLogRecord
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from otel_stream.telemetry.options import DEFAULT_MODES


class Point(NamedTuple):
    """One time series: a counter's or gauge's ``value``, or the sum of a histogram's ``measurements``."""

    attributes: Mapping[str, Any]
    value: float
    measurements: int | None


class RunTelemetry:
    """Spans, log events and metrics of the runs that started while it was in force."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._spans = InMemorySpanExporter()
        self._logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._metrics = InMemoryMetricReader()
        #: For spans of the test's own; those opened in nodes become children of the nodes' spans.
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        self.meter_provider = MeterProvider([self._metrics], shutdown_on_exit=False)
        self._measured: dict[str, Sequence[Point]] | None = None

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in the order in which they started."""
        return tuple(sorted(self._spans.get_finished_spans(), key=lambda span: span.start_time or 0))

    def span(self, name: str) -> ReadableSpan:
        """Return the one span of this name.

        Raises:
            AssertionError: there is none, or there are several; the message has the outline.
        """
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            there = "\n".join(self.outline()) or "no span at all"
            raise AssertionError(f"{len(found)} spans are called {name!r}, among:\n{there}")
        return found[0]

    def outline(self) -> list[str]:
        """Return the names of the spans as a tree: children by start, two spaces further in."""
        spans = self.spans
        ids = {_id(span) for span in spans}
        children: dict[int | None, list[ReadableSpan]] = {}
        for span in spans:
            parent = span.parent.span_id if span.parent is not None else None
            children.setdefault(parent if parent in ids else None, []).append(span)

        def below(parent: int | None, depth: int) -> Iterator[str]:
            for span in children.get(parent, ()):
                yield f"{'  ' * depth}{span.name}"
                yield from below(_id(span), depth + 1)

        return [*below(None, 0)]

    @property
    def logs(self) -> tuple[ReadableLogRecord, ...]:
        """The log events, in the order in which they were emitted."""
        return tuple(self._logs.get_finished_logs())

    @property
    def events(self) -> list[str]:
        """The names of the log events."""
        return [str(one.log_record.event_name) for one in self.logs]

    def metrics(self) -> dict[str, Sequence[Point]]:
        """Return what has been measured so far, by the name of the metric."""
        if self._measured is not None:
            return self._measured
        data = self._metrics.get_metrics_data()
        return {
            metric.name: [
                Point(
                    dict(point.attributes or {}),
                    getattr(point, "sum", getattr(point, "value", 0)),
                    getattr(point, "count", None),
                )
                for point in metric.data.data_points
            ]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def shutdown(self) -> None:
        """Let go of the providers; what was collected stays."""
        self._measured = self.metrics()
        self.tracer_provider.shutdown()
        self.logger_provider.shutdown()
        self.meter_provider.shutdown()


def _id(span: ReadableSpan) -> int:
    return span.get_span_context().span_id  # type: ignore[union-attr, no-any-return, unused-ignore]


@contextmanager
def telemetry(
    *, capture_content: bool = False, sampler: Sampler | None = None, modes: Sequence[str] | None = None
) -> Iterator[RunTelemetry]:
    """Collect what the runs that start inside export; in all threads of the process.

    ``capture_content`` puts state and messages into spans and log events; ``modes`` are the stream modes that
    become log events, the usual ones if it is left out.
    """
    seen = RunTelemetry(sampler)
    chosen = DEFAULT_MODES if modes is None else frozenset(modes)
    options = TelemetryOptions(chosen, span_content=capture_content, event_content=capture_content)
    # Every engine asks this function for the telemetry of a run, and most ask it without arguments.
    before = consumer_for_run.__kwdefaults__
    consumer_for_run.__kwdefaults__ = {
        "tracer_provider": seen.tracer_provider,
        "logger_provider": seen.logger_provider,
        "meter_provider": seen.meter_provider,
        "options": options,
    }
    try:
        yield seen
    finally:
        consumer_for_run.__kwdefaults__ = before
        seen.shutdown()
