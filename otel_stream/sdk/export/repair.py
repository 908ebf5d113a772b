"""What OTLP can't say, said so that it can: before it costs a whole batch its place.

The encoders of OpenTelemetry raise for a text that is no Unicode, and leave out an attribute whose value
they don't know; receivers refuse what is no UTF-8. So every text, number and container on its way out is
looked at once, and what is sound, which is nearly everything, stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Final, cast

import msgspec
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from otel_stream.encoding import clean
from otel_stream.sdk.versions import ReadableLogRecord, with_record

#: Containers nested deeper than this are described instead of shown.
MAX_DEPTH: Final = 32
#: OTLP's integers have 64 bits.
_SMALLEST, _GREATEST = -(1 << 63), (1 << 63) - 1
#: A longer number is shown by its beginning; Python refuses to write out very long ones.
_MAX_BITS: Final = 4096


def is_sound(value: Any) -> bool:
    """Tell, quickly, whether ``value`` can be encoded; of a nested container the answer is no."""
    kind = type(value)
    if kind is str:
        return _is_text(value)
    if kind is int:
        return bool(_SMALLEST <= value <= _GREATEST)
    if kind is tuple:
        return all(map(is_sound, value))
    return value is None or kind is bool or kind is float or kind is bytes


def _is_text(text: str) -> bool:
    return text.isascii() or clean(text) is text


def sound(value: Any, depth: int = 0) -> Any:
    """Return ``value``, or what stands for it as far as it can't be encoded."""
    if is_sound(value) or isinstance(value, float | bytes):
        return value
    if isinstance(value, str | int):
        return clean(str(value)) if isinstance(value, str) else _number(value)
    if depth >= MAX_DEPTH:
        return "<too deep>"
    if isinstance(value, Mapping):
        return {_key(key): sound(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [sound(item, depth + 1) for item in value]
    return _described(value)


def _number(value: int) -> int | str:
    if isinstance(value, bool) or _SMALLEST <= value <= _GREATEST:
        return int(value)
    bits = value.bit_length()
    return str(int(value)) if bits <= _MAX_BITS else f"{'-' if value < 0 else ''}0x… ({bits} bits)"


def _key(key: Any) -> str:
    return clean(key) if isinstance(key, str) else _described(key)


def _described(value: Any) -> str:
    try:
        return clean(str(value))
    except Exception:  # noqa: BLE001 - a foreign value may raise anything
        return f"<{type(value).__name__}>"


def size_of(attributes: Mapping[str, Any]) -> int | None:
    """Return how many bytes sound attributes take up, about; None where it takes a closer look to tell.

    One call for all of them: to look at each from Python costs as much as it cost to make its span.
    """
    if not _PLAIN.issuperset(map(type, attributes.values())):
        return None
    try:
        packed = _pack(dict(attributes))
    except Exception:  # noqa: BLE001 - a text that is no Unicode, a number that is too long
        return None
    return None if _UNSIGNED in packed else len(packed)


_PLAIN: Final = frozenset({str, int, bool, float, bytes, type(None)})
_pack: Final = msgspec.msgpack.Encoder().encode
#: What a number begins with that may have no sign bit to spare.
_UNSIGNED: Final = b"\xcf"


def _are_sound(attributes: Mapping[str, Any] | None) -> bool:
    if not attributes or size_of(attributes) is not None:
        return True
    return all(key.isascii() and is_sound(value) for key, value in attributes.items())


def sound_attributes(attributes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return ``attributes`` with sound keys and values; the same mapping if they are."""
    if _are_sound(attributes):
        return attributes
    return {_key(key): sound(value) for key, value in (attributes or {}).items()}


class _RepairedSpan(ReadableSpan):
    """A span with other texts; what its own one has dropped is dropped from it, too."""

    def __init__(self, span: ReadableSpan) -> None:
        super().__init__(
            clean(span.name),
            span.context,
            span.parent,
            span.resource,
            cast("Any", sound_attributes(span.attributes)),
            [
                Event(clean(one.name), cast("Any", sound_attributes(one.attributes)), one.timestamp)
                for one in span.events
            ],
            [Link(one.context, cast("Any", sound_attributes(one.attributes))) for one in span.links],
            span.kind,
            None,
            Status(span.status.status_code, clean(span.status.description or "") or None),
            span.start_time,
            span.end_time,
            span.instrumentation_scope,
        )
        self._dropped = span.dropped_attributes, span.dropped_events, span.dropped_links

    @property
    def dropped_attributes(self) -> int:
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        return self._dropped[2]


def as_sound(make: Callable[[Any], Any], item: Any) -> Any:
    """Return what ``make`` makes of ``item``, or the item as it is: the exporter will say what is wrong."""
    try:
        return make(item)
    except Exception:  # noqa: BLE001 - a span or a record of somebody's own making
        return item


def sound_span(span: ReadableSpan) -> ReadableSpan:
    """Return ``span``, or one like it that can be encoded."""
    description = span.status.description
    if (
        is_sound(span.name)
        and _are_sound(span.attributes)
        and (description is None or is_sound(description))
        and all(is_sound(one.name) and _are_sound(one.attributes) for one in span.events)
        and all(_are_sound(one.attributes) for one in span.links)
    ):
        return span
    return _RepairedSpan(span)


def sound_log_record(item: ReadableLogRecord) -> ReadableLogRecord:
    """Return ``item``, or a log record like it that can be encoded."""
    record = item.log_record
    if (
        is_sound(record.body)
        and is_sound(getattr(record, "event_name", None))
        and is_sound(record.severity_text)
        and _are_sound(record.attributes)
    ):
        return item
    other = copy(record)
    other.body = sound(record.body)
    other.event_name = sound(record.event_name)
    other.severity_text = sound(record.severity_text)
    attributes: Any = sound_attributes(record.attributes)
    if isinstance(record.attributes, BoundedAttributes):  # encoders may ask it what was dropped
        attributes = BoundedAttributes(attributes=attributes, immutable=False)
    other.attributes = attributes
    return with_record(item, other)
