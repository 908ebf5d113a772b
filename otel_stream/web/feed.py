"""What happened in one run, for any number of readers: a bounded ring, and cursors into it.

Nothing is copied for a reader, and no reader is waited for: whoever falls off the end of the ring is told
what it missed and goes on from the newest state. Readers are woken together, the more of them the less
often, so that what they cost a run does not grow with their number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, Self

from otel_stream.parts import StreamPart

#: Readers that are woken at once, token by token; above, this many seconds later for each of them.
_FEW: Final = 4
_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.25
#: Bytes that a reader takes at a time.
_HELPING: Final = 256 * 1024


class Entry(NamedTuple):
    """One event: its number in the run, its name, its data as JSON, and the part that it was made of."""

    seq: int
    event: str
    data: bytes
    part: StreamPart | None


class Helping(NamedTuple):
    """What a cursor takes at a time. ``missed`` are the first and last number that it can't have any more."""

    entries: list[Entry]
    missed: tuple[int, int] | None = None


class Feed:
    """The events of one run. ``events`` and ``bytes`` bound what is kept of them."""

    def __init__(self, events: int, bytes: int) -> None:
        self._most_events = events
        self._most_bytes = bytes
        self._entries: deque[Entry] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._due = False
        #: The number of the next event.
        self.next = 0
        #: Whether the last event has come.
        self.closed = False
        #: How many read it now.
        self.readers = 0
        #: What readers at the same place are sent, by that place.
        self.texts: dict[Any, Any] = {}
        #: The newest state of the root, for who has missed something.
        self.newest: Entry | None = None

    @property
    def first(self) -> int:
        """The number of the oldest event that is kept."""
        return self._entries[0].seq if self._entries else self.next

    def append(self, event: str, data: bytes, part: StreamPart | None = None) -> None:
        """Add an event; the oldest ones go if there are too many. Never blocks."""
        entry = Entry(self.next, event, data, part)
        self.next += 1
        self._entries.append(entry)
        self._size += len(data)
        while len(self._entries) > self._most_events or (
            self._size > self._most_bytes and len(self._entries) > 1
        ):
            self._size -= len(self._entries.popleft().data)
        if event == "values":
            self.newest = entry
        self._wake()

    def close(self) -> None:
        """Say that nothing more will come."""
        self.closed = True
        self.texts.clear()
        self._tell()

    def _wake(self) -> None:
        if self._due or not self.readers:
            return
        self._due = True
        pause = 0.0 if self.readers <= _FEW else min(_LONGEST_PAUSE, _PAUSE * self.readers)
        asyncio.get_running_loop().call_later(pause, self._tell)

    def _tell(self) -> None:
        self._due = False
        news, self._news = self._news, asyncio.Event()
        news.set()

    def since(self, seq: int) -> Iterator[Entry]:
        """Yield the events that are kept from ``seq`` on."""
        return islice(self._entries, max(0, seq - self.first), None)


class Cursor:
    """One reader's place in a feed; a context manager, which counts it as long as it reads."""

    def __init__(self, feed: Feed, after: int) -> None:
        """Begin behind the event numbered ``after``; -1 is the beginning."""
        self._feed = feed
        self._next = min(max(after + 1, 0), feed.next)

    def __enter__(self) -> Self:
        self._feed.readers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.readers -= 1

    def take(self) -> Helping | None:
        """Return what there is, None if there is nothing."""
        feed, missed = self._feed, None
        if self._next < feed.first:
            missed = (self._next, feed.first - 1)
            self._next = feed.first
        taken: list[Entry] = []
        size = 0
        for entry in feed.since(self._next):
            taken.append(entry)
            size += len(entry.data)
            if size > _HELPING:
                break
        if missed is not None and feed.newest is not None and feed.newest.seq <= missed[1]:
            taken.insert(0, feed.newest)
        if not taken and missed is None:
            return None
        self._next = max(self._next, taken[-1].seq + 1) if taken else self._next
        return Helping(taken, missed)

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self._feed.closed and self._next >= self._feed.next

    async def wait(self, seconds: float) -> bool:
        """Wait until there is something, or it is over; return whether that was in time."""
        feed = self._feed
        if self._next < feed.next or feed.closed:
            return True
        try:
            async with asyncio.timeout(seconds):
                await feed._news.wait()  # noqa: SLF001 - the two are one idea
        except TimeoutError:
            return False
        return True
