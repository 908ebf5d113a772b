"""The order behind *coalesce* and ``ttl``: held parts by age, any of which may leave out of the middle."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from otel_stream.parts import StreamPart, message_id

#: What a part has in common with those that it may replace.
Key: TypeAlias = Hashable


class _Place(NamedTuple):
    part: StreamPart
    came: int
    key: Key | None


class Places:
    """Held parts in the order in which they came, with when they did; knows the newest of every key."""

    __slots__ = ("_disordered", "_last", "_latest", "_newest", "_places")

    def __init__(self) -> None:
        self._places: OrderedDict[int, _Place] = OrderedDict()
        self._newest: dict[Key, int] = {}
        self._last = 0
        #: When the youngest came, and whether an older one is behind it: an aggregate is as old as its parts.
        self._latest = 0
        self._disordered = False

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[StreamPart]:
        return (place.part for place in self._places.values())

    def append(self, part: StreamPart, came: int, key: Key | None) -> None:
        """Hold ``part``, which ``came`` then, as the newest of its key."""
        self._last += 1
        self._disordered = self._disordered or came < self._latest
        self._latest = max(self._latest, came)
        self._places[self._last] = _Place(part, came, key)
        if key is not None:
            self._newest[key] = self._last

    def popleft(self) -> StreamPart:
        """Let the oldest part go. Raises KeyError if there is none."""
        number, place = self._places.popitem(last=False)
        self._forget(number, place)
        return place.part

    def _forget(self, number: int, place: _Place) -> None:
        if place.key is not None and self._newest.get(place.key) == number:
            del self._newest[place.key]
        self._disordered = self._disordered and bool(self._places)

    def expire(self, before: int) -> Iterator[StreamPart]:
        """Let go what came ``before`` then."""
        while self._places and self.first().came < before:
            yield self.popleft()
        if self._disordered:
            for number in [number for number, place in self._places.items() if place.came < before]:
                place = self._places.pop(number)
                self._forget(number, place)
                yield place.part

    def oldest(self) -> int:
        """Return when the oldest came. There must be one."""
        if self._disordered:
            return min(place.came for place in self._places.values())
        return self.first().came

    def newest(self, key: Key) -> StreamPart | None:
        """Return the newest part of ``key``."""
        number = self._newest.get(key)
        return None if number is None else self._places[number].part

    def remove(self, key: Key) -> StreamPart:
        """Let the newest part of ``key`` go."""
        return self._places.pop(self._newest.pop(key)).part

    def first(self) -> _Place:
        """Return the oldest place. Raises StopIteration if there is none."""
        return next(iter(self._places.values()))


def key_of(part: StreamPart) -> Key | None:
    """Return mode, namespace, node, run and message of ``part``; None if nothing may replace it.

    May run foreign code: that of a message.
    """
    if part.type != "messages":
        return part.type, part.ns, part.node, part.run_id
    try:
        message = message_id(part)
    except BaseException:  # noqa: BLE001 - a message that can't say which one it is
        return None
    # Chunks without an id may belong to different messages: joining them would invent text.
    return None if message is None else (part.type, part.ns, part.node, part.run_id, message)


def both(older: StreamPart, newer: StreamPart) -> StreamPart:
    """Return ``newer``, holding the text of both if they are chunks of one message. May run foreign code."""
    if newer.type != "messages":
        return newer
    return msgspec.structs.replace(newer, data=joined(older.data, newer.data))


def joined(older: Any, newer: Any) -> Any:
    """Return the data of two *messages* parts as one: the text of both, the metadata of the newer.

    Where they can't be joined, the newer replaces the older, as any other part does.
    """
    try:
        text: Any = _sum(older[0], newer[0])
    except BaseException:  # noqa: BLE001 - a chunk that can't be joined is replaced
        return newer
    # Whole messages add up to something else: a prompt.
    return (text, newer[1]) if type(text) is type(newer[0]) else newer


def _sum(before: Any, after: Any) -> Any:
    """Return two chunks as one; None or an exception if they don't fit."""
    if type(before) is not type(after):
        return None
    if isinstance(after, dict):
        content = before["content"] + after["content"]
        return {**before, **after, "content": content} if isinstance(content, str) else None
    return before + after
