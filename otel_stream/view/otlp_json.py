"""OTLP's JSON, typed: what is not in its form is refused, and says where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from otel_stream.view.items import LARGEST, Attributes, Batch, Log, Point, Span


class _Form(msgspec.Struct, rename="camel", frozen=True):
    """Names as OTLP's JSON has them; what else stands there is passed over."""


class _Items(_Form, frozen=True):
    values: list[_Value] = []


class _Pairs(_Form, frozen=True):
    values: list[_Pair] = []


class _Value(_Form, frozen=True):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: _Items | None = None
    kvlist_value: _Pairs | None = None
    bytes_value: str | None = None


class _Pair(_Form, frozen=True):
    key: str = ""
    value: _Value = _Value()


class _Resource(_Form, frozen=True):
    attributes: list[_Pair] = []


class _Scope(_Form, frozen=True):
    name: str = ""


class _Status(_Form, frozen=True):
    code: int = 0
    message: str = ""


class _Event(_Form, frozen=True):
    time_unix_nano: int | str = 0
    name: str = ""
    attributes: list[_Pair] = []


class _Link(_Form, frozen=True):
    trace_id: str = ""
    span_id: str = ""
    attributes: list[_Pair] = []


class _Span(_Form, frozen=True):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int = 0
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_Pair] = []
    events: list[_Event] = []
    links: list[_Link] = []
    status: _Status = _Status()


class _ScopeSpans(_Form, frozen=True):
    scope: _Scope = _Scope()
    spans: list[_Span] = []


class _ResourceSpans(_Form, frozen=True):
    resource: _Resource = _Resource()
    scope_spans: list[_ScopeSpans] = []


class _Log(_Form, frozen=True):
    time_unix_nano: int | str = 0
    observed_time_unix_nano: int | str = 0
    severity_number: int = 0
    body: _Value = _Value()
    attributes: list[_Pair] = []
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""


class _ScopeLogs(_Form, frozen=True):
    scope: _Scope = _Scope()
    log_records: list[_Log] = []


class _ResourceLogs(_Form, frozen=True):
    resource: _Resource = _Resource()
    scope_logs: list[_ScopeLogs] = []


class _Point(_Form, frozen=True):
    time_unix_nano: int | str = 0
    as_double: float | str | None = None
    as_int: int | str | None = None
    attributes: list[_Pair] = []


class _Points(_Form, frozen=True):
    data_points: list[_Point] = []


class _Metric(_Form, frozen=True):
    name: str = ""
    sum: _Points | None = None
    gauge: _Points | None = None


class _ScopeMetrics(_Form, frozen=True):
    metrics: list[_Metric] = []


class _ResourceMetrics(_Form, frozen=True):
    resource: _Resource = _Resource()
    scope_metrics: list[_ScopeMetrics] = []


class _Traces(_Form, frozen=True):
    resource_spans: list[_ResourceSpans]


class _Logs(_Form, frozen=True):
    resource_logs: list[_ResourceLogs]


class _Metrics(_Form, frozen=True):
    resource_metrics: list[_ResourceMetrics]


class Line(_Form, frozen=True):
    """A line of a file, of which one does not know what it has."""

    resource_spans: list[_ResourceSpans] = []
    resource_logs: list[_ResourceLogs] = []
    resource_metrics: list[_ResourceMetrics] = []


_TRACES: Final = msgspec.json.Decoder(_Traces)
_LOGS: Final = msgspec.json.Decoder(_Logs)
_METRICS: Final = msgspec.json.Decoder(_Metrics)
_LINE: Final = msgspec.json.Decoder(Line)
_IDS: Final = frozenset("0123456789abcdef")


def line(text: bytes) -> Batch:
    """Return what a line of a file of OTLP JSON contains.

    Raises:
        ValueError: it is none.
    """
    found = _LINE.decode(text)
    return Batch(
        _spans(found.resource_spans),
        _records(found.resource_logs),
        _points(found.resource_metrics),
        len(text) * 2,
    )


def _whole(value: int | str) -> int:
    return max(-LARGEST, min(int(value), LARGEST))


def _id(text: str) -> str:
    text = text.lower()
    if not _IDS.issuperset(text):
        raise ValueError(f"{text[:40]!r} is no id in hexadecimal digits")
    return text if text.strip("0") else ""


def _value(value: _Value) -> Any:  # noqa: PLR0911 - one for each kind
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return value.bool_value
    if value.int_value is not None:
        return _whole(value.int_value)
    if value.double_value is not None:
        return float(value.double_value)
    if value.array_value is not None:
        return [_value(one) for one in value.array_value.values]
    if value.kvlist_value is not None:
        return _attributes(value.kvlist_value.values)
    return value.bytes_value


def _attributes(pairs: Iterable[_Pair]) -> Attributes:
    return {one.key: _value(one.value) for one in pairs}


def _service(resource: _Resource) -> str:
    return next((str(_value(one.value)) for one in resource.attributes if one.key == "service.name"), "")


def _spans(resources: Iterable[_ResourceSpans]) -> list[Span]:
    return [
        _span(one, _service(resource.resource), scope.scope.name)
        for resource in resources
        for scope in resource.scope_spans
        for one in scope.spans
    ]


def _span(one: _Span, service: str, scope: str) -> Span:
    return Span(
        _id(one.trace_id),
        _id(one.span_id),
        _id(one.parent_span_id),
        one.name,
        one.kind,
        _whole(one.start_time_unix_nano),
        _whole(one.end_time_unix_nano) or None,
        one.status.code,
        one.status.message,
        _attributes(one.attributes),
        [
            {
                "time": _whole(event.time_unix_nano),
                "name": event.name,
                "attributes": _attributes(event.attributes),
            }
            for event in one.events
        ],
        [
            {
                "trace": _id(link.trace_id),
                "span": _id(link.span_id),
                "attributes": _attributes(link.attributes),
            }
            for link in one.links
        ],
        service,
        scope,
    )


def _records(resources: Iterable[_ResourceLogs]) -> list[Log]:
    return [
        Log(
            _id(one.trace_id),
            _id(one.span_id),
            _whole(one.time_unix_nano) or _whole(one.observed_time_unix_nano),
            one.event_name,
            one.severity_number,
            _value(one.body),
            _attributes(one.attributes),
            _service(resource.resource),
            scope.scope.name,
        )
        for resource in resources
        for scope in resource.scope_logs
        for one in scope.log_records
    ]


def _points(resources: Iterable[_ResourceMetrics]) -> list[Point]:
    return [
        Point(
            _service(resource.resource),
            metric.name,
            _attributes(point.attributes),
            _whole(point.time_unix_nano),
            float(point.as_int if point.as_int is not None else point.as_double or 0),
        )
        for resource in resources
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for kind in (metric.sum, metric.gauge)
        if kind is not None
        for point in kind.data_points
    ]


READ: Final[dict[str, Callable[[bytes], Batch]]] = {
    "traces": lambda body: Batch(_spans(_TRACES.decode(body).resource_spans), [], [], len(body) * 2),
    "logs": lambda body: Batch([], _records(_LOGS.decode(body).resource_logs), [], len(body) * 2),
    "metrics": lambda body: Batch([], [], _points(_METRICS.decode(body).resource_metrics), len(body)),
}
