"""What a record says: the encoding that ``docs/kafka.md`` describes, and nothing of clients or threads.

The key is the id of the run. The value is JSON, of a part or of what ``Kind`` says; the rest is in headers,
so that who wants only the parts need know nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

from otel_stream.events import End
from otel_stream.parts import StreamPart

#: Of the encoding; a reader refuses another one.
VERSION: Final = 1

Headers: TypeAlias = Sequence[tuple[str, bytes]]


class Kind(StrEnum):
    """What the value of a record is."""

    #: A part of the run, or a marker of parts that were lost on the way to the broker.
    PART = "part"
    #: How the run ended, as a part of type ``"end"``. Nothing of it comes after that.
    END = "end"
    #: ``{"every": seconds}``: the run goes on; another record comes within twice that time.
    BEAT = "beat"
    #: ``{"why": text}``: whoever sent the parts has stopped before the run had ended.
    LEFT = "left"


class ForeignRecordError(ValueError):
    """A record that is none of ours, or can't be read."""


class Origin(msgspec.Struct, frozen=True):
    """Where records come from: the name of the stream, and the id of the one attempt to send it."""

    stream: str
    producer: str

    def headers(self, kind: Kind, number: int | None, part: StreamPart | None) -> Headers:
        """Return the headers of a record; ``number`` counts those of parts and ends, from 0."""
        headers = [
            ("otel-stream", b"%d" % VERSION),
            ("kind", kind.encode()),
            ("stream", self.stream.encode()),
            ("producer", self.producer.encode()),
        ]
        if number is not None:
            headers.append(("number", b"%d" % number))
        if part is not None and part.trace_id and part.span_id:
            headers.append(("traceparent", f"00-{part.trace_id}-{part.span_id}-01".encode()))
        return headers


class Envelope(msgspec.Struct, frozen=True):
    """The headers of a record, read."""

    kind: Kind
    origin: Origin
    number: int | None


def envelope(headers: Iterable[tuple[str, bytes]]) -> Envelope | None:
    """Return what ``headers`` say; None of a record that somebody else has written.

    Raises:
        ForeignRecordError: it is of another version, or its headers contradict the encoding.
    """
    given = dict(headers)
    version = given.get("otel-stream")
    if version is None:
        return None
    if version != b"%d" % VERSION:
        raise ForeignRecordError(
            f"the topic holds records of version {version.decode(errors='replace')} of the encoding, and "
            f"this reads version {VERSION}: use the same release of otel-stream on both sides"
        )
    try:
        number = given.get("number")
        origin = _origin(given["stream"], given["producer"])
        return Envelope(_KINDS[given["kind"]], origin, None if number is None else int(number))
    except (KeyError, ValueError) as error:
        raise ForeignRecordError(f"the headers of a record can't be read: {error}") from error


@lru_cache(maxsize=256)  # of each run's records it is the same
def _origin(stream: bytes, producer: bytes) -> Origin:
    return Origin(stream.decode(), producer.decode())


_KINDS: Final = {kind.encode(): kind for kind in Kind}
_PARTS: Final = msgspec.json.Decoder(StreamPart)


def part_of(value: bytes) -> StreamPart:
    """Return the part that the value of a record is the JSON of; its data is what JSON says.

    Raises:
        ForeignRecordError: it is no part.
    """
    try:
        part = _PARTS.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ForeignRecordError(f"the value of a record is no part: {error}") from error
    if part.type == "messages" and isinstance(part.data, list):
        return msgspec.structs.replace(part, data=tuple(part.data))  # as in process: chunk and metadata
    return part


def end_part(run_id: str | None, end: End, error: BaseException | None) -> StreamPart:
    """Return how a run ended as a part."""
    return StreamPart("end", (), {"end": end, "error": error, "interrupts": ()}, run_id=run_id)


def end_of(part: StreamPart) -> tuple[End, dict[str, Any] | None]:
    """Return what the part of an end says: how, and the error as ``{"type", "message"}``.

    Raises:
        ForeignRecordError: it says neither.
    """
    try:
        error = part.data["error"]
        return End(part.data["end"]), error if isinstance(error, dict) else None
    except (KeyError, TypeError, ValueError) as wrong:
        raise ForeignRecordError(f"the end of a run can't be read: {part.data!r}") from wrong
