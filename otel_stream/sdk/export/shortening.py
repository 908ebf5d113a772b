"""One item of a request that is longer than a receiver takes: cut with a marker instead of lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf.message import Message  # type: ignore[import-untyped]

#: A text is not cut below this many bytes: names and ids stay what they are.
_SHORTEST: Final = 256
#: Field of a span -> the one that counts what was left out of it.
_COUNTED: Final = {
    "links": "dropped_links_count",
    "events": "dropped_events_count",
    "attributes": "dropped_attributes_count",
}


class _Text:
    """A text or bytes inside of a message, which can be written again."""

    def __init__(self, message: Message, field: str) -> None:
        self._message = message
        self._field = field
        value = getattr(message, field)
        self._is_text = isinstance(value, str)
        self._whole: bytes = value.encode() if self._is_text else value
        self.size = len(self._whole)

    def cut(self, length: int) -> None:
        """Leave the first ``length`` bytes, and say how many there were."""
        if self.size <= length:
            return
        marker = f"… [cut: {self.size} bytes]"
        head = self._whole[: max(0, length - len(marker.encode()))]
        shown: Any = head.decode(errors="ignore") + marker if self._is_text else head
        setattr(self._message, self._field, shown)


def shorten(item: Message, limit: int) -> None:
    """Make ``item``, a span, a log record or a metric's point, ``limit`` bytes long at most, if it can be.

    The longest texts are cut first, all to the same length; if that is not enough, links, events and
    attributes are left out, the last ones first, and counted.
    """
    _cut_texts([item], list(_texts(item)), limit)
    for field, counter in _COUNTED.items():
        excess = item.ByteSize() - limit
        if excess > 0 and hasattr(item, counter):
            _leave_out(item, field, counter, excess)


def shorten_attributes(record: Any, limit: int) -> None:
    """Make the attributes of a log ``record`` ``limit`` bytes long together, at most, if it can be."""
    attributes = record.attributes
    if sum(one.ByteSize() for one in attributes) > limit:
        _cut_texts(attributes, [text for one in attributes for text in _texts(one)], limit)


def _cut_texts(messages: Iterable[Message], texts: list[_Text], limit: int) -> None:
    length = max((text.size for text in texts), default=0)
    while length > _SHORTEST and sum(one.ByteSize() for one in messages) > limit:
        length = max(_SHORTEST, length * 3 // 4)
        for text in texts:
            text.cut(length)


def _texts(message: Message) -> Iterator[_Text]:
    for field, value in message.ListFields():
        if isinstance(value, str | bytes):
            yield _Text(message, field.name)
        elif isinstance(value, Message):
            yield from _texts(value)
        elif not isinstance(value, int | float):
            for one in value:
                if isinstance(one, Message):
                    yield from _texts(one)


def _leave_out(item: Message, field: str, counter: str, excess: int) -> None:
    entries = getattr(item, field)
    kept = len(entries)
    while kept and excess > 0:
        kept -= 1
        excess -= entries[kept].ByteSize() + 2
    setattr(item, counter, getattr(item, counter) + len(entries) - kept)
    del entries[kept:]
