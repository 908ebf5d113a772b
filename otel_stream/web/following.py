"""Reading a run's feed as LangGraph's clients read it: from anywhere, at any speed, each event once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import NamedTuple

from otel_stream.encoding import encode
from otel_stream.web.feed import Cursor, Entry, Feed, Helping
from otel_stream.web.graphs import LIFE
from otel_stream.web.runs import Hub, LiveRun
from otel_stream.web.wire import HEARTBEAT, event, traceparent_of

#: Events that are shown whatever was asked for.
_ALWAYS = frozenset({"metadata", "error"})


class Chosen(NamedTuple):
    """How events are written to LangGraph's clients: those of ``modes``, all of them if None."""

    modes: frozenset[str] | None
    subgraphs: bool

    def write(self, entry: Entry, *, numbered: bool = True) -> bytes:
        """Write an event with its number and the span that it is from; nothing if it is not asked for."""
        if not self._has(entry.event):
            return b""
        part = entry.part
        parent = None if part is None else traceparent_of(part.trace_id, part.span_id)
        return event(entry.event, entry.data, id=entry.seq if numbered else None, traceparent=parent)

    def _has(self, event: str) -> bool:
        mode, _, inside = event.partition("|")
        mode = mode.partition("/")[0]
        if mode in _ALWAYS:
            return True
        return mode != LIFE and (self.subgraphs or not inside) and (self.modes is None or mode in self.modes)


async def helpings(hub: Hub, feed: Feed, after: int) -> AsyncIterator[Helping | None]:
    """Yield what happens in a run behind the event numbered ``after``; None where a heartbeat is due.

    It ends with its feed, or when the server is about to stop.
    """
    hub.subscribers += 1
    try:
        with Cursor(feed, after) as cursor:
            while not cursor.over and not hub.stopping.is_set():
                if not await cursor.wait(hub.limits.heartbeat):
                    yield None
                elif not hub.stopping.is_set() and (helping := cursor.take()) is not None:
                    yield helping
    finally:
        hub.subscribers -= 1


async def events(hub: Hub, run: LiveRun, after: int, modes: Collection[str] | None) -> AsyncIterator[bytes]:
    """Yield the events of a run as they are sent to LangGraph's clients."""
    wanted = None if modes is None else frozenset("messages" if m == "messages-tuple" else m for m in modes)
    writing = Chosen(wanted, run.asked.subgraphs)
    async for helping in helpings(hub, run.feed, after):
        if helping is None:
            yield HEARTBEAT
        elif text := _gap(helping, writing) + helping.text(writing):
            yield text
    if hub.stopping.is_set() and not run.feed.closed:
        yield event("otel", b'{"end":"server_stops"}')


def _gap(helping: Helping, writing: Chosen) -> bytes:
    """Say what was missed, and what has become of the state since then, out of its turn."""
    if helping.missed is None:
        return b""
    first, last = helping.missed
    newest = b"" if helping.newest is None else writing.write(helping.newest, numbered=False)
    return event("otel", encode({"gap": {"from": first, "to": last}})) + newest
