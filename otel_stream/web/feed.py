"""What happened in one run, for any number of readers: a bounded ring, and cursors into it.

Nothing is copied for a reader, and no reader is waited for: whoever falls off the end of the ring is told
what it missed and goes on from the newest state. What readers are sent is written once for all who ask for
the same, in blocks, so that a reader costs a few of these whatever the number of events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, Self

from otel_stream.parts import StreamPart
from otel_stream.web.pace import Pace

#: Bytes that a reader takes at a time.
_HELPING: Final = 256 * 1024
#: What makes a block full.
_BLOCK_EVENTS: Final = 64
_BLOCK_BYTES: Final = 64 * 1024
#: Ways of writing it that a block keeps; who asks for yet another one is written to alone.
_TEXTS: Final = 4


class Entry(NamedTuple):
    """One event: its number in the run, its name, its data as JSON, and the part that it was made of."""

    seq: int
    event: str
    data: bytes
    part: StreamPart | None


class Writing(Protocol):
    """A way of writing events; those that compare equal write the same."""

    def __hash__(self) -> int:
        raise NotImplementedError

    def write(self, entry: Entry) -> bytes:
        """Return what is sent of an event, which may be nothing."""
        raise NotImplementedError


class Block:
    """Events that follow one another, and what readers are sent of them."""

    __slots__ = ("_texts", "entries", "first", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.entries: list[Entry] = []
        self.size = 0
        #: What was written, and where in it each event begins.
        self._texts: dict[Writing, tuple[bytearray, list[int]]] = {}

    @property
    def next(self) -> int:
        """The number of the first event behind it."""
        return self.first + len(self.entries)

    @property
    def full(self) -> bool:
        """Whether it takes no more events."""
        return len(self.entries) >= _BLOCK_EVENTS or self.size >= _BLOCK_BYTES

    def text(self, writing: Writing, start: int) -> bytes | memoryview:
        """Return what is sent of the events from the one numbered ``start`` on, to be copied at once."""
        known = self._texts.get(writing)
        if known is None:
            if len(self._texts) >= _TEXTS:
                return b"".join(writing.write(entry) for entry in self.entries[start - self.first :])
            known = self._texts[writing] = (bytearray(), [])
        text, starts = known
        for entry in self.entries[len(starts) :]:
            starts.append(len(text))
            text += writing.write(entry)
        return memoryview(text)[starts[start - self.first] :]


class Helping(NamedTuple):
    """What a cursor takes at a time, to be read at once.

    ``missed`` are the numbers of the first and the last event that it can't have any more; ``newest`` is then
    the newest state, if that is among them.
    """

    blocks: list[tuple[Block, int]]
    missed: tuple[int, int] | None = None
    newest: Entry | None = None

    @property
    def entries(self) -> Iterator[Entry]:
        """The events, the newest state first if some were missed."""
        if self.newest is not None:
            yield self.newest
        for block, start in self.blocks:
            yield from block.entries[start - block.first :]

    def text(self, writing: Writing) -> bytes:
        """Return what is sent of the events, but for ``newest``."""
        return b"".join(block.text(writing, start) for block, start in self.blocks)


class Feed:
    """The events of one run. ``events`` and ``bytes`` bound what is kept of them."""

    def __init__(self, events: int, bytes: int, pace: Pace | None = None) -> None:
        self._most_events = events
        self._most_bytes = bytes
        self._pace = pace or Pace()
        self._blocks: deque[Block] = deque([Block(0)])
        self._size = 0
        self._waiting: list[asyncio.Future[None]] = []
        #: The number of the oldest event that is kept, and of the next one.
        self.first = self.next = 0
        #: Whether the last event has come.
        self.closed = False
        #: How many read it now.
        self.readers = 0
        #: The newest state of the root, for who has missed something.
        self.newest: Entry | None = None

    @property
    def size(self) -> int:
        """Bytes of the events that are kept."""
        return self._size

    def append(self, event: str, data: bytes, part: StreamPart | None = None) -> None:
        """Add an event; the oldest ones go if there are too many. Never blocks."""
        entry = Entry(self.next, event, data, part)
        last = self._blocks[-1]
        if last.full:
            last = Block(self.next)
            self._blocks.append(last)
        last.entries.append(entry)
        last.size += len(data)
        self._size += len(data)
        self.next += 1
        if event == "values":
            self.newest = entry
        while self.next - self.first > self._most_events or (
            self._size > self._most_bytes and self.next - self.first > 1
        ):
            self._forget()
        if self._waiting:
            self.tell()

    def _forget(self) -> None:
        oldest = self._blocks[0]
        self._size -= len(oldest.entries[self.first - oldest.first].data)
        self.first += 1
        if self.first >= oldest.next and len(self._blocks) > 1:
            self._blocks.popleft()

    def close(self) -> None:
        """Say that nothing more will come."""
        self.closed = True
        self.tell()

    def tell(self) -> None:
        """Let those that wait for something have their turn."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            self._pace.queue(turn)

    def turn(self, next: int) -> asyncio.Future[None]:
        """Return what is done when it is the turn of a reader at ``next``, and there is something for it."""
        turn = self._pace.turn()
        if next < self.next or self.closed:
            self._pace.queue(turn)
        else:
            self._waiting.append(turn)
        return turn

    def leave(self, turn: asyncio.Future[None]) -> None:
        """Forget a reader that waits."""
        turn.cancel()
        if turn in self._waiting:
            self._waiting.remove(turn)

    def since(self, seq: int, most: int) -> list[tuple[Block, int]]:
        """Return the blocks that have the events from ``seq`` on, each with where to begin in it.

        The last of them is the one with which they have ``most`` bytes.
        """
        at = len(self._blocks) - 1
        while at > 0 and self._blocks[at].first > seq:
            at -= 1
        found: list[tuple[Block, int]] = []
        while at < len(self._blocks) and most > 0:
            block = self._blocks[at]
            if seq < block.next:
                found.append((block, max(seq, block.first)))
            most -= block.size
            at += 1
        return found


class Cursor:
    """One reader's place in a feed; a context manager, which counts it as long as it reads."""

    def __init__(self, feed: Feed, after: int) -> None:
        """Begin behind the event numbered ``after``; -1 is the beginning."""
        self._feed = feed
        self._next = min(max(after + 1, 0), feed.next)
        self._turn: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._feed.readers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.readers -= 1
        if self._turn is not None:
            self._feed.leave(self._turn)

    def take(self) -> Helping | None:
        """Return what there is, None if there is nothing."""
        feed, missed, newest = self._feed, None, None
        if self._next < feed.first:
            missed = (self._next, feed.first - 1)
            self._next = feed.first
            if feed.newest is not None and feed.newest.seq <= missed[1]:
                newest = feed.newest
        blocks = feed.since(self._next, _HELPING)
        if blocks:
            self._next = blocks[-1][0].next
        return Helping(blocks, missed, newest) if blocks or missed is not None else None

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self._feed.closed and self._next >= self._feed.next

    async def wait(self, seconds: float) -> bool:
        """Wait for a turn with something to take, or for the end; return whether that was in time.

        Who has waited in vain keeps its place among those that wait.
        """
        if self._turn is None:
            self._turn = self._feed.turn(self._next)
        await asyncio.wait((self._turn,), timeout=seconds)
        if not self._turn.done():
            return False
        self._turn = None
        return True
