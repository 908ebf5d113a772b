"""What came by OTLP, in the viewer's own form: whichever encoding it had, it is the same here."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

#: The largest number that SQLite keeps; OTLP's unsigned ones may be larger.
LARGEST: Final = 2**63 - 1

Attributes: TypeAlias = "dict[str, Any]"


class Span(NamedTuple):
    """A span. Ids are hexadecimal, ``parent`` is empty at the root, times are nanoseconds since the epoch.

    ``end`` is None as long as it is open. ``status`` is OTLP's: 2 is an error. ``links`` are of the form
    ``{"trace", "span", "attributes"}``, ``events`` of the form ``{"time", "name", "attributes"}``.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int | None
    status: int
    message: str
    attributes: Attributes
    events: list[dict[str, Any]]
    links: list[dict[str, Any]]
    service: str
    scope: str


class Log(NamedTuple):
    """A log record; ``name`` is a log event's. ``body`` is a text, or what JSON can say."""

    trace: str
    span: str
    time: int
    name: str
    severity: int
    body: Any
    attributes: Attributes
    service: str
    scope: str


class Point(NamedTuple):
    """The newest value of a sum or gauge."""

    service: str
    name: str
    attributes: Attributes
    time: int
    value: float


class Batch(NamedTuple):
    """What one request brought; ``size`` is how many bytes its items take up, about."""

    spans: list[Span]
    logs: list[Log]
    points: list[Point]
    size: int
