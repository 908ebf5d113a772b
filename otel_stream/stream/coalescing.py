"""The index behind the *coalesce* policy: which held part a new one may take the place of."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import msgspec

from otel_stream.stream.modes import StreamPart, message_id


class Newest:
    """Knows the newest held part of every key: mode, namespace, node and message id.

    The buffer keeps *places* in a queue, each the part that was first held there. What has taken
    its place since is known here, so that nothing ever moves within the queue.
    """

    __slots__ = ("_now", "_places")

    def __init__(self) -> None:
        self._places: dict[Hashable, StreamPart] = {}
        self._now: dict[int, StreamPart] = {}

    def hold(self, part: StreamPart) -> None:
        """Make ``part`` the newest place of its key."""
        key = _key(part)
        if key is not None:
            self._places[key] = part

    def replace(self, part: StreamPart) -> StreamPart | None:
        """Put ``part`` in the newest place of its key; return what it replaced, None if there is no place."""
        key = _key(part)
        place = self._places.get(key) if key is not None else None
        if place is None:
            return None
        older = self._now.get(id(place), place)
        self._now[id(place)] = _joined(older, part)
        return older

    def at(self, place: StreamPart) -> StreamPart:
        """Return the part that is in ``place`` now."""
        return self._now.get(id(place), place)

    def leave(self, place: StreamPart) -> StreamPart:
        """Forget ``place`` and return the part that is in it now."""
        key = _key(place)
        if self._places.get(key) is place:
            del self._places[key]
        return self._now.pop(id(place), place)


def _key(part: StreamPart) -> Hashable | None:
    if part.type != "messages":
        return part.type, part.ns, part.node, part.run_id
    message = message_id(part)
    # Chunks without an id may belong to different messages: joining them would invent text.
    return None if message is None else (part.type, part.ns, part.node, part.run_id, message)


def _joined(older: StreamPart, newer: StreamPart) -> StreamPart:
    """Return ``newer``, holding the text of both if they are chunks of one message."""
    if newer.type != "messages":
        return newer
    return msgspec.structs.replace(newer, data=joined(older.data, newer.data))


def joined(older: Any, newer: Any) -> Any:
    """Return the data of two *messages* parts as one: the text of both, the metadata of the newer.

    Where they can't be joined, the newer replaces the older, as any other part does.
    """
    try:
        both: Any = _sum(older[0], newer[0])
    except Exception:  # noqa: BLE001 - a chunk that can't be joined is replaced
        return newer
    # Whole messages add up to something else: a prompt.
    return (both, newer[1]) if type(both) is type(newer[0]) else newer


def _sum(before: Any, after: Any) -> Any:
    """Return two chunks as one; None or an exception if they don't fit."""
    if type(before) is not type(after):
        return None
    if isinstance(after, dict):
        content = before["content"] + after["content"]
        return {**before, **after, "content": content} if isinstance(content, str) else None
    return before + after
