"""Providers behind a tail sampler, what comes out of it, and traces to put in."""

import threading

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from otel_stream.sdk import KeepErrors, TailSamplingProcessor


class Kept(SpanProcessor, LogRecordProcessor):
    """What comes out at the other end, in its order; and a place to wait for it."""

    def __init__(self):
        self.items = []
        self.started = []
        self.said = []
        self.changed = threading.Condition()

    def on_start(self, span, parent_context=None):
        self.started.append(span.name)

    def on_end(self, span):
        self._take(span.name)

    def on_emit(self, log_record):
        self._take(log_record.log_record.body)

    def _take(self, item):
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def shutdown(self):
        self.said.append("shutdown")

    def force_flush(self, timeout_millis=30_000):
        self.said.append("flush")
        return True

    def wait_for(self, *items):
        with self.changed:
            return self.changed.wait_for(lambda: self.items == list(items), 30)


class Scene:
    def __init__(self, *policies, sampler=None, **settings):
        self.spans, self.logs = Kept(), Kept()
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tail = TailSamplingProcessor(
            self.spans, self.logs, policies or [KeepErrors()], meter_provider=meters, **settings
        )
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(self.tail)
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(self.tail.logs)
        self.tracer = self.tracers.get_tracer("x")
        self.logger = self.loggers.get_logger("x")

    def start(self, name, parent=None):
        context = Context() if parent is None else set_span_in_context(parent)
        return self.tracer.start_span(name, context=context)

    def log(self, body, span):
        self.logger.emit(body=body, context=set_span_in_context(span))

    def fail(self, span):
        span.set_status(Status(StatusCode.ERROR))

    def trace(self, name, *, failed=False):
        """A trace of two spans and a log record."""
        root = self.start(f"{name} root")
        child = self.start(f"{name} child", root)
        self.log(f"{name} log", child)
        if failed:
            self.fail(child)
        child.end()
        root.end()
        return root

    @property
    def kept(self):
        return self.spans.items, self.logs.items

    def counts(self):
        numbers = self.tail.statistics()
        return (
            numbers.spans_kept,
            numbers.spans_dropped,
            numbers.logs_kept,
            numbers.logs_dropped,
            numbers.held,
        )

    def metrics(self):
        data = self.reader.get_metrics_data()
        found = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            for point in metric.data.data_points:
                found[metric.name, *sorted(point.attributes.values())] = point.value
        return found


def remote(trace_id=0xABC):
    return NonRecordingSpan(SpanContext(trace_id, 0x1, is_remote=True, trace_flags=TraceFlags(1)))
