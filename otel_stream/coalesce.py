"""The index behind the *coalesce* policy: which held part a new one may take the place of."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import msgspec

from otel_stream.modes import StreamPart


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

    def leave(self, place: StreamPart) -> StreamPart:
        """Forget ``place`` and return the part that is in it now."""
        key = _key(place)
        if self._places.get(key) is place:
            del self._places[key]
        return self._now.pop(id(place), place)


def _key(part: StreamPart) -> Hashable | None:
    if part.type != "messages":
        return part.type, part.ns, part.node, part.run_id
    message = getattr(part.data[0], "id", None)
    # Chunks without an id may belong to different messages: joining them would invent text.
    return None if message is None else (part.type, part.ns, part.node, part.run_id, message)


def _joined(older: StreamPart, newer: StreamPart) -> StreamPart:
    """Return ``newer``, holding the text of both if they are chunks of one message."""
    if newer.type != "messages":
        return newer
    before, after = older.data[0], newer.data[0]
    if type(before) is not type(after) or not hasattr(before, "__add__"):
        return newer
    try:
        both: Any = before + after
    except Exception:  # noqa: BLE001 - a chunk that can't be joined is replaced, like any other part
        return newer
    if type(both) is not type(after):  # whole messages add up to something else: a prompt
        return newer
    return msgspec.structs.replace(newer, data=(both, newer.data[1]))
