"""Spans and log records as they arrived, with their attributes laid flat, so that any peer can be asked.

Some peers put their data into JSON inside an attribute; it is unfolded like the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.sink import Received

STATUS = {0: "unset", 1: "ok", 2: "error"}


@dataclass(slots=True, eq=False)
class Event:
    """A log record, or an event of a span."""

    name: str
    attributes: list[tuple[str, Any]]


@dataclass(slots=True, eq=False)
class Span:
    """One span; ``parent`` is None if it was not exported with the others."""

    name: str
    span_id: str
    trace_id: str
    start: int
    end: int
    status: str
    status_text: str
    attributes: list[tuple[str, Any]]
    events: list[Event]
    #: (trace id, span id)
    links: list[tuple[str, str]]
    parent_id: str
    parent: Span | None = None
    children: list[Span] = field(default_factory=list)

    def ancestors(self) -> Iterator[Span]:
        """Yield its parent, that one's parent, and so on."""
        span = self.parent
        while span is not None:
            yield span
            span = span.parent

    def below(self) -> Iterator[Span]:
        """Yield the span and all spans below it."""
        yield self
        for child in self.children:
            yield from child.below()

    def values(self, word: str) -> list[Any]:
        """Return the values of attributes in whose key a word stands."""
        return [value for key, value in self.attributes if word in key.lower()]

    def texts(self) -> Iterator[str]:
        """Yield everything that can be read on it: name, status, attributes and events."""
        yield self.name
        yield self.status_text
        for key, value in self.attributes:
            yield f"{key}={value}"
        for event in self.events:
            yield event.name
            for key, value in event.attributes:
                yield f"{key}={value}"


@dataclass(slots=True)
class Exported:
    """What one scene left behind."""

    spans: list[Span]
    records: list[Event]
    received: Received
    complaints: Sequence[str] = ()

    def roots(self) -> list[Span]:
        """Return the spans without a parent among the others; the longest first."""
        roots = [span for span in self.spans if span.parent is None]
        return sorted(roots, key=lambda span: span.start - span.end)

    def happenings(self) -> list[Event]:
        """Return log records and span events that are no exceptions."""
        events = [*self.records, *(event for span in self.spans for event in span.events)]
        return [event for event in events if "exception" not in event.name]


def exported(received: Received, complaints: Sequence[str] = ()) -> Exported:
    """Read what was received."""
    spans = [_span(span) for span in received.spans()]
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        span.parent = by_id.get(span.parent_id)
        if span.parent is not None:
            span.parent.children.append(span)
    records = [
        Event(one.event_name, [*_flat("body", _plain(one.body)), *_all(one.attributes)])
        for one in received.records()
    ]
    return Exported(spans, records, received, complaints)


def _span(span: Any) -> Span:
    return Span(
        name=span.name,
        span_id=span.span_id.hex(),
        trace_id=span.trace_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        status=STATUS[span.status.code],
        status_text=span.status.message,
        attributes=_all(span.attributes),
        events=[Event(event.name, _all(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        parent_id=span.parent_span_id.hex(),
    )


def _all(attributes: Any) -> list[tuple[str, Any]]:
    return [pair for one in attributes for pair in _flat(one.key, _plain(one.value))]


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _plain(one.value) for one in value.kvlist_value.values}
    return getattr(value, kind)


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            value = json.loads(value)
        except ValueError:
            yield key, value
            return
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _flat(f"{key}.{name}", one)
    elif isinstance(value, list):
        for one in value:
            yield from _flat(key, one)
    else:
        yield key, value
