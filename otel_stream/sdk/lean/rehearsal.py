"""One span, one record, one measurement in both ways, to see whether they still come out the same.

A private name of the SDK may go, or mean something else, with any of its versions. That shows in what is
exported, and in the fields that the SDK's own objects have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from otel_stream import semconv
from otel_stream.telemetry.scope import FixedAttributes

_PLACE: Final = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
_AROUND: Final = set_span_in_context(NonRecordingSpan(_PLACE), Context())
_RESOURCE: Final = Resource({"service.name": "rehearsal"})
#: Nanoseconds that seconds add up to without a rest.
_MANY: Final = (250_000_000, 9_000_000_000, 8_000_000_000)


class NotAlikeError(Exception):
    """What the SDK makes, and what is made here, differ."""


def spans(own: Callable[..., TracerProvider], lean: Callable[..., TracerProvider]) -> None:
    """Raise unless spans of ``lean`` providers are those of ``own`` ones."""
    for expected, found in zip(_spans_of(own), _spans_of(lean), strict=True):
        _have_the_fields_of(expected, found)
        _are_equal(_shown(found), _shown(expected))


def _spans_of(kind: Callable[..., TracerProvider]) -> tuple[Any, Any]:
    seen = _Ended()
    provider = kind(sampler=DEFAULT_ON, resource=_RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(seen)
    tracer = provider.get_tracer(semconv.SCOPE, "1")
    root = tracer.start_span("root", Context(), attributes={"r": 1}, links=(Link(_PLACE),), start_time=1)
    below = set_span_in_context(root, Context())
    span: Any = tracer.start_span("child", below, SpanKind.CLIENT, {"a": 1}, (Link(_PLACE),), 2)
    getattr(span, "add_own", span.set_attributes)({"d": True})
    span.set_attribute("b", ("x", "y"))
    _are_equal(dict(span.attributes), {"a": 1, "b": ("x", "y"), "d": True})
    span.add_event("happened", {"c": True}, 3)
    span.set_status(StatusCode.ERROR, "why")
    span.end(4)
    (ended,) = seen.spans
    _are_equal(_shown(ended), _shown(span))
    _are_equal((ended.parent, span.is_recording()), (root.get_span_context(), False))
    return root, span


class _Ended(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)


def _shown(span: Any) -> tuple[Any, ...]:
    return (
        span.name,
        dict(span.attributes),
        [(event.name, dict(event.attributes), event.timestamp) for event in span.events],
        [(link.context, dict(link.attributes or {})) for link in span.links],
        (span.status.status_code, span.status.description),
        (span.kind, span.start_time, span.end_time),
        (span.dropped_attributes, span.dropped_events, span.dropped_links),
        (span.resource, span.instrumentation_scope, span.get_span_context().trace_flags),
    )


def logs(own: Callable[..., LoggerProvider], lean: Callable[..., LoggerProvider]) -> None:
    """Raise unless log records of ``lean`` providers are those of ``own`` ones."""
    expected, found = _record_of(own), _record_of(lean)
    _have_the_fields_of(expected, found)
    _have_the_fields_of(expected.log_record, found.log_record)
    for name in ("resource", "instrumentation_scope"):
        _are_equal(getattr(found, name), getattr(expected, name))
    for name, value in vars(expected.log_record).items():
        if name != "observed_timestamp":
            _are_equal(_plain(getattr(found.log_record, name)), _plain(value))


def _record_of(kind: Callable[..., LoggerProvider]) -> Any:
    seen = _Emitted()
    provider = kind(resource=_RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(seen)
    logger = provider.get_logger(semconv.SCOPE, "1")
    logger.enabled(context=_AROUND, event_name="happened")
    logger.emit(timestamp=1, context=_AROUND, body="said", attributes={"a": 1}, event_name="happened")
    ((record, record.log_record.context),) = seen.records  # as it was while processors were called
    return record


class _Emitted(LogRecordProcessor):
    def __init__(self) -> None:
        self.records: list[Any] = []

    def on_emit(self, log_record: Any) -> None:
        self.records.append((log_record, log_record.log_record.context))

    def shutdown(self) -> None:
        """Have nothing to close."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else value


def metrics(own: Callable[..., MeterProvider], lean: Callable[..., MeterProvider]) -> None:
    """Raise unless what histograms of ``lean`` providers add up to is what those of ``own`` ones do."""
    _are_equal(_points_of(lean), _points_of(own))


def _points_of(kind: Callable[..., MeterProvider]) -> list[Any]:
    reader = InMemoryMetricReader()
    provider = kind([reader], resource=_RESOURCE, shutdown_on_exit=False)
    histogram = provider.get_meter(semconv.SCOPE, "1").create_histogram("duration", "s", "How long.")
    attributes = FixedAttributes({"a": "b"})
    for amount in (0.5, 7.0):  # only the second finds something to be added to
        histogram.record(amount, attributes, _AROUND)
    all_at_once = getattr(histogram, "record_nanoseconds", None)
    if all_at_once is not None:
        all_at_once(_MANY, attributes, _AROUND)
    else:
        for duration in _MANY:
            histogram.record(duration * 1e-9, attributes, _AROUND)
    data: Any = reader.get_metrics_data()
    provider.shutdown()
    return [
        (
            (metric.name, metric.unit, metric.description, dict(point.attributes)),
            (point.count, point.sum, point.min, point.max, tuple(point.bucket_counts)),
            [(exemplar.value, exemplar.span_id, exemplar.trace_id) for exemplar in point.exemplars],
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def _have_the_fields_of(expected: Any, found: Any) -> None:
    missing = [name for name in vars(expected) if not hasattr(found, name)]
    if missing:
        raise NotAlikeError(f"{type(expected).__qualname__} has {', '.join(missing)}, which ours has not")


def _are_equal(found: Any, expected: Any) -> None:
    if type(found) is type(expected) is tuple and len(found) == len(expected):
        for one, other in zip(found, expected, strict=True):
            _are_equal(one, other)  # so that what is said is no longer than it need be
    elif found != expected:
        raise NotAlikeError(f"{found!r} instead of {expected!r}")
