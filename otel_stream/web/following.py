"""Reading a run's feed as LangGraph's clients read it: from anywhere, at any speed, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from time import monotonic

from otel_stream.encoding import encode
from otel_stream.web.feed import Cursor, Entry, Feed, Helping
from otel_stream.web.graphs import LIFE
from otel_stream.web.runs import Hub, LiveRun
from otel_stream.web.wire import HEARTBEAT, event, traceparent_of

#: Events that are shown whatever was asked for.
_ALWAYS = frozenset({"metadata", "error"})
#: Texts that readers share, of a run.
_TEXTS = 8


def chosen(entry: Entry, modes: Collection[str] | None, *, subgraphs: bool) -> bool:
    """Whether an event is shown to who asks for ``modes``, all of them if None."""
    mode, _, inside = entry.event.partition("|")
    mode = mode.partition("/")[0]
    if mode in _ALWAYS:
        return True
    return mode != LIFE and (subgraphs or not inside) and (modes is None or mode in modes)


def written(entry: Entry, *, numbered: bool = True) -> bytes:
    """Write an event with its number and the span that it is from."""
    part = entry.part
    parent = None if part is None else traceparent_of(part.trace_id, part.span_id)
    return event(entry.event, entry.data, id=entry.seq if numbered else None, traceparent=parent)


async def helpings(hub: Hub, run: LiveRun, after: int) -> AsyncIterator[Helping | None]:
    """Yield what happens in a run behind the event numbered ``after``; None where a heartbeat is due.

    It ends with the run, or when the server is about to stop.
    """
    limits = hub.limits
    hub.subscribers += 1
    try:
        with Cursor(run.feed, after) as cursor:
            beat = monotonic() + limits.heartbeat
            while not cursor.over and not hub.stopping.is_set():
                helping = cursor.take()
                if helping is not None:
                    yield helping
                    continue
                if not await _news(hub, cursor, max(0.0, beat - monotonic())):
                    yield None
                if monotonic() >= beat:
                    beat = monotonic() + limits.heartbeat
    finally:
        hub.subscribers -= 1


async def _news(hub: Hub, cursor: Cursor, seconds: float) -> bool:
    """Wait until there is something, or the server stops; return whether that was in time."""
    waiting = asyncio.ensure_future(cursor.wait(seconds))
    stopping = asyncio.ensure_future(hub.stopping.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return stopping.done() or waiting.result()
    finally:
        waiting.cancel()
        stopping.cancel()


def _shared(feed: Feed, entries: Sequence[Entry], wanted: frozenset[str] | None, *, subgraphs: bool) -> bytes:
    """Write events once for all readers at the same place, which most are: they are woken together."""
    if not entries:
        return b""
    key = (entries[0].seq, entries[-1].seq, wanted, subgraphs)
    text = feed.texts.get(key)
    if text is None:
        text = b"".join(written(one) for one in entries if chosen(one, wanted, subgraphs=subgraphs))
        if feed.closed:
            return text
        if len(feed.texts) >= _TEXTS:
            del feed.texts[next(iter(feed.texts))]
        feed.texts[key] = text
    return text


async def events(hub: Hub, run: LiveRun, after: int, modes: Collection[str] | None) -> AsyncIterator[bytes]:
    """Yield the events of a run as they are sent to LangGraph's clients."""
    wanted = None if modes is None else frozenset("messages" if m == "messages-tuple" else m for m in modes)
    subgraphs = run.asked.subgraphs
    async for helping in helpings(hub, run, after):
        if helping is None:
            yield HEARTBEAT
            continue
        entries = helping.entries
        told: list[bytes] = []
        if helping.missed is not None:
            told.append(event("otel", encode({"gap": {"from": helping.missed[0], "to": helping.missed[1]}})))
            if entries and entries[0].seq <= helping.missed[1]:  # the newest state, out of its turn
                newest, *entries = entries
                if chosen(newest, wanted, subgraphs=subgraphs):
                    told.append(written(newest, numbered=False))
        told.append(_shared(run.feed, entries, wanted, subgraphs=subgraphs))
        if any(told):
            yield b"".join(told)
    if hub.stopping.is_set() and not run.feed.closed:
        yield event("otel", b'{"end":"server_stops"}')
