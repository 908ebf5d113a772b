"""OTLP, as protobuf or as JSON, to the viewer's own form."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias

import msgspec
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_stream.view import otlp_json
from otel_stream.view.items import LARGEST, Attributes, Batch, Log, Point, Span

Signal: TypeAlias = Literal["traces", "logs", "metrics"]

#: Parents that mean none, as some exporters send them.
_NO_PARENT: Final = b"\0" * 8
#: How deep a value may be nested; what is below is left out.
_DEPTH: Final = 32


class NotOtlp(ValueError):
    """A request that is not what it says it is; the text is one sentence."""


def decode(signal: Signal, body: bytes, *, json: bool) -> Batch:
    """Return what a request contains.

    Raises:
        NotOtlp: it is no request of this kind.
    """
    if json:
        try:
            return otlp_json.READ[signal](body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise NotOtlp(f"the body is no OTLP JSON of {signal}: {error}") from None
    try:
        return _READ[signal](body)
    except (DecodeError, RecursionError) as error:
        raise NotOtlp(f"the body is no OTLP protobuf of {signal}: {error}") from None


def _value(value: Any, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "array_value":
        return [_value(one, depth + 1) for one in found.values] if depth < _DEPTH else "…"
    if kind == "kvlist_value":
        return {one.key: _value(one.value, depth + 1) for one in found.values} if depth < _DEPTH else "…"
    return b64encode(found).decode() if kind == "bytes_value" else found


def _attributes(found: Iterable[Any]) -> Attributes:
    return {one.key: _value(one.value) for one in found}


def _service(resource: Any) -> str:
    for one in resource.attributes:
        if one.key == "service.name":
            return str(_value(one.value))
    return ""


def _time(nanoseconds: int) -> int:
    return min(nanoseconds, LARGEST)


def _traces(body: bytes) -> Batch:
    request = ExportTraceServiceRequest.FromString(body)
    spans: list[Span] = []
    for resource in request.resource_spans:
        service = _service(resource.resource)
        for scope in resource.scope_spans:
            named = scope.scope.name
            spans += [_span(one, service, named) for one in scope.spans]
    return Batch(spans, [], [], len(body) * 4)


def _span(span: Any, service: str, scope: str) -> Span:
    parent = span.parent_span_id
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        "" if parent == _NO_PARENT else parent.hex(),
        span.name,
        span.kind,
        _time(span.start_time_unix_nano),
        _time(span.end_time_unix_nano) or None,
        span.status.code,
        span.status.message,
        _attributes(span.attributes),
        [
            {"time": _time(one.time_unix_nano), "name": one.name, "attributes": _attributes(one.attributes)}
            for one in span.events
        ],
        [
            {
                "trace": one.trace_id.hex(),
                "span": one.span_id.hex(),
                "attributes": _attributes(one.attributes),
            }
            for one in span.links
        ],
        service,
        scope,
    )


def _logs(body: bytes) -> Batch:
    request = ExportLogsServiceRequest.FromString(body)
    logs: list[Log] = []
    for resource in request.resource_logs:
        service = _service(resource.resource)
        for scope in resource.scope_logs:
            named = scope.scope.name
            logs += [
                Log(
                    one.trace_id.hex(),
                    one.span_id.hex(),
                    _time(one.time_unix_nano or one.observed_time_unix_nano),
                    one.event_name,
                    one.severity_number,
                    _value(one.body),
                    _attributes(one.attributes),
                    service,
                    named,
                )
                for one in scope.log_records
            ]
    return Batch([], logs, [], len(body) * 4)


def _metrics(body: bytes) -> Batch:
    request = ExportMetricsServiceRequest.FromString(body)
    points: list[Point] = []
    for resource in request.resource_metrics:
        service = _service(resource.resource)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind not in {"sum", "gauge"}:
                    continue
                points += [
                    Point(
                        service,
                        metric.name,
                        _attributes(one.attributes),
                        _time(one.time_unix_nano),
                        float(getattr(one, one.WhichOneof("value") or "as_double")),
                    )
                    for one in getattr(metric, kind).data_points
                ]
    return Batch([], [], points, len(body))


_READ: Final[dict[str, Callable[[bytes], Batch]]] = {"traces": _traces, "logs": _logs, "metrics": _metrics}
