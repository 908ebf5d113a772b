"""Sync code that nobody can stop: when its run is gone it is told, waited for a while, and then named.

A thread can't be cancelled from outside. What can be done is to let its code ask (``runtime.cancelled``), to
keep it from starting anything more, and to say so when it goes on all the same.
"""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Final

import anyio
import anyio.lowlevel

from otel_stream.stream.wakeup import CancelToken, Waiter, leave, waiter, wake_all

logger = logging.getLogger(__name__)

#: Seconds that a run which was cancelled waits for its sync nodes before it leaves their threads behind.
THREAD_GRACE = 1.0

#: Seconds after which it is looked whether such a node has begun anything that can be stopped.
_AGAIN = 0.05

_STOPPED: Final = object()

#: Awaits what a function returns or raises in a thread; whoever is cancelled meanwhile leaves it behind.
Threads = Callable[["InThread"], Awaitable[Any]]


class InThread:
    """One call of sync code in a worker thread of the event loop."""

    __slots__ = ("_call", "_claim", "_ended", "_error", "_told", "_waiting", "scope", "stop")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.stop = CancelToken()
        self._call = call
        #: Of the thread that has it, for code that asks anyio whether it is cancelled.
        self.scope: anyio.CancelScope | None = None
        #: What the call itself has raised.
        self._error: BaseException | None = None
        #: Taken by who comes first: the thread, or who gives the call up before it has begun.
        self._claim = Lock()
        self._ended = False
        #: When it was told to return.
        self._told: float | None = None
        #: Who waits for its beginning, or its end.
        self._waiting: deque[Waiter] = deque()

    def __call__(self) -> Any:
        if not self._claim.acquire(blocking=False):
            return None
        wake_all(self._waiting)
        try:
            return self._call()
        except CancelledError:
            if self._told is None:
                raise
            return _STOPPED  # as it was told
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ended = True
            wake_all(self._waiting)

    def tell(self) -> None:
        """Tell it to return, for which it has ``THREAD_GRACE`` from now on; who tells it cancels it, too."""
        if self._told is None:
            self._told = time.monotonic()
            self.stop.ask()
        if self.scope is not None and not self._ended:
            self.scope.cancel()

    async def result(self, name: str, threads: Threads) -> Any:
        """Return what the call returns; ``name`` is what a warning calls it if it outlives its run.

        A cancellation that gets here first has what the call itself has raised, or raises now, as its cause.
        """
        try:
            answer = await threads(self)
            while answer is _STOPPED:
                await anyio.sleep_forever()  # its cancellation is on the way
        except anyio.get_cancelled_exc_class() as cancellation:
            if not self._claim.acquire(blocking=False) and not self._ended:
                await self._leave(name)
            if self._error is not None:
                cancellation.__cause__ = self._error
            raise
        return answer

    @property
    def has_begun(self) -> bool:
        """Whether the thread runs it, or has."""
        return self._claim.locked()

    async def begun(self) -> None:
        """Wait, after it was told to return, until it has begun; no longer than for its end."""
        while not self.has_begun and self._left() > 0:
            await self._news(lambda: self.has_begun)

    def _left(self) -> float:
        """Return the seconds that somebody who was told to return may still take."""
        return 0 if self._told is None else self._told + THREAD_GRACE - time.monotonic()

    async def _news(self, known: Callable[[], bool], most: float = THREAD_GRACE) -> None:
        news = waiter()
        self._waiting.append(news)
        try:
            if not known():
                await news.wait(max(0.0, min(most, self._left())))
        finally:
            leave(self._waiting, news)

    async def _stop_on_the_loop(self) -> None:
        """Stop what the thread has the event loop do; once more, what it has begun since then."""
        if self.scope is not None:
            with self.scope:  # as it is entered
                await anyio.lowlevel.checkpoint()

    async def _leave(self, name: str) -> None:
        self.tell()
        with anyio.CancelScope(shield=True):
            while not self._ended and self._left() > 0:
                # Asyncio may cancel the same task again and again; we are on our way out already.
                with suppress(anyio.get_cancelled_exc_class()):
                    await self._stop_on_the_loop()
                    await self._news(lambda: self._ended, _AGAIN)
        if not self._ended:
            logger.warning(
                "%r still runs in its thread %g s after its run has ended, and can't be stopped; "
                "let it return when runtime.cancelled is true, or make it async",
                name,
                THREAD_GRACE,
            )
