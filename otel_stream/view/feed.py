"""News for browsers. A subscriber is a cursor into the store, so a slow or stuck one costs nothing.

What it is told next is what changed since the version that it knows: many changes of one run are one piece of
news, nothing is told twice, and after a cut it goes on from the version it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from otel_stream.encoding import joined
from otel_stream.view.reading import NotThere, Reader

#: Seconds between two pieces of news of one run, and of the list.
_RUN_EVERY: Final = 0.12
_LIST_EVERY: Final = 0.4
#: Seconds of silence after which it is said that the server is there.
_HEARTBEAT: Final = 5.0
#: Browsers that may listen at once.
MAX_LISTENERS: Final = 64


class Crowded(Exception):
    """There are more listeners than are served."""


class Feed:
    """Tells listeners what was committed; on one event loop."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._version = 0
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self.listeners = 0
        self._loop = asyncio.get_running_loop()

    def told(self, version: int) -> None:
        """Say that a version was committed; from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, version)

    def close(self) -> None:
        """End every stream."""
        self._closed.set()
        self._news.set()

    def listen(self, key: str | None, after: int) -> AsyncIterator[bytes]:
        """Return what happens from version ``after`` on, to one run or to the list, as server-sent events.

        Raises:
            Crowded: there are enough listeners.
        """
        if self.listeners >= MAX_LISTENERS:
            raise Crowded(f"{MAX_LISTENERS} pages are open; close some")
        return self._listen(key, after)

    def _tell(self, version: int) -> None:
        self._version = max(self._version, version)
        self._news.set()
        self._news = asyncio.Event()

    async def _listen(self, key: str | None, after: int) -> AsyncIterator[bytes]:
        self.listeners += 1
        try:
            every = _LIST_EVERY if key is None else _RUN_EVERY
            read: Callable[[int], tuple[int, dict[str, Any]]] = (
                self._list if key is None else partial(self._run, key)
            )
            first = True
            while not self._closed.is_set():
                news = self._news
                try:
                    after, told = await run_in_threadpool(read, after)
                except NotThere as error:
                    yield _event("gone", {"why": str(error)}, after)
                    return
                if told or first:
                    yield _event("news", told, after)
                    first = False
                await asyncio.sleep(every)
                if not self._closed.is_set() and not await _within(news, _HEARTBEAT):
                    yield b": here\r\n\r\n"
            yield _event("closing", {"why": "the viewer was stopped"}, after)
        finally:
            self.listeners -= 1

    def _list(self, after: int) -> tuple[int, dict[str, Any]]:
        version, rows = self._reader.changed(after)
        return version, {"version": version, "runs": rows} if rows else {}

    def _run(self, key: str, after: int) -> tuple[int, dict[str, Any]]:
        told = self._reader.run(key, after)
        news = told["spans"] or told["events"] or told["run"]["version"] > after
        return told["version"], told if news else {}


def _event(name: str, data: Any, version: int) -> bytes:
    # JSON has no line breaks, so what names and texts contain ends no event.
    return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (name.encode(), joined(data), version)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
