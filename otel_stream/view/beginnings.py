"""What has begun: log events that say so ahead of the span, which is exported when it has ended."""

from __future__ import annotations

from typing import Any, Final

from otel_stream.encoding import decode
from otel_stream.view.items import Log, Span

STRUCTURE: Final = "graph.structure"
#: Log events whose body says what OTLP will say of the span: ``spanId``, ``parentSpanId``, ``name``, ``kind``
_STARTS: Final = frozenset(
    {"graph.run_start", "graph.superstep_start", "graph.node_start", "otel_stream.span_start"}
)


def span(log: Log) -> Span | None:
    """Return the open span whose beginning a log event tells, None if it tells none."""
    if log.name not in _STARTS or not isinstance(log.body, str):
        return None
    try:
        told = decode(log.body)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    id, parent, name, kind = (told.get(key) for key in ("spanId", "parentSpanId", "name", "kind"))
    if not isinstance(id, str) or not isinstance(name, str):
        return None
    return Span(
        log.trace,
        id,
        parent if isinstance(parent, str) else "",
        name,
        kind if isinstance(kind, int) else 1,
        log.time,
        None,
        0,
        "",
        log.attributes,
        [],
        [],
        log.service,
        str(log.attributes.get("otel_stream.scope.name", log.scope)),
    )


def piece(log: Log) -> tuple[str, int, str]:
    """Return the digest of a graph's structure, and a piece of the structure with its place."""
    place: Any = log.attributes.get("graph.stream.body.chunk", 0)
    digest = str(log.attributes.get("graph.structure.digest", ""))
    return digest, place if isinstance(place, int) else 0, log.body if isinstance(log.body, str) else ""
