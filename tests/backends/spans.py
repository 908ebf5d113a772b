"""Spans in one form, whatever store they come from, so that whole traces can be compared."""

import base64
import json
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """What must be the same everywhere; ids in hex, times in ns, links and attributes sorted."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    start: int
    end: int
    status: int
    said: str
    links: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, Any], ...]


_STATUS = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}


def of_protobuf(request: Any) -> list[Seen]:
    """Read anything shaped like an export request, as apps send it and Tempo answers it."""
    return sorted(
        Seen(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.name,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code,
            span.status.message,
            tuple(sorted((link.trace_id.hex(), link.span_id.hex()) for link in span.links)),
            tuple(sorted((a.key, _plain(a.value)) for a in span.attributes)),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_plain(item) for item in value.array_value.values)
    return getattr(value, kind) if kind else None


def of_json(trace: dict[str, Any]) -> list[Seen]:
    """Read OTLP as JSON, which Jaeger answers; it keeps a list as text, which is read as the list again."""
    return sorted(
        Seen(
            _hex(span["traceId"]),
            _hex(span["spanId"]),
            _hex(span.get("parentSpanId", "")),
            span["name"],
            int(span["startTimeUnixNano"]),
            int(span["endTimeUnixNano"]),
            _status(span.get("status", {}).get("code", 0)),
            span.get("status", {}).get("message", ""),
            tuple(sorted((_hex(link["traceId"]), _hex(link["spanId"])) for link in span.get("links", []))),
            tuple(sorted((a["key"], _plain_json(a["value"])) for a in span.get("attributes", []))),
        )
        for resource in trace.get("resourceSpans", [])
        for scope in resource.get("scopeSpans", [])
        for span in scope.get("spans", [])
    )


def _hex(text: str) -> str:
    """Return an id in hex; the canonical JSON of protobuf has it in base64."""
    return text if len(text) in {0, 16, 32} else base64.b64decode(text).hex()


def _status(code: str | int) -> int:
    return _STATUS[code] if isinstance(code, str) else code


def _plain_json(value: dict[str, Any]) -> Any:
    ((kind, plain),) = value.items()
    if kind == "stringValue" and plain.startswith("["):
        return tuple(json.loads(plain))
    if kind == "intValue":
        return int(plain)
    if kind == "arrayValue":
        return tuple(_plain_json(item) for item in plain.get("values", []))
    return plain
