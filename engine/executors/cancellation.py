"""Sync code that nobody can stop: when its run is gone it is told, waited for a while, and then named.

A thread can't be cancelled from outside. What can be done is to let its code ask (``runtime.cancelled``), to
keep it from starting anything more, and to say so when it goes on all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

import anyio
import anyio.to_thread

from otel_stream.stream.wakeup import CancelToken, Waiter, waiter

logger = logging.getLogger(__name__)

#: Seconds that a run which was cancelled waits for its sync nodes before it leaves their threads behind.
THREAD_GRACE = 1.0


class InThread:
    """One call of sync code in a worker thread of the event loop."""

    __slots__ = ("_call", "_claim", "_ended", "_error", "_waiter", "stop")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.stop = CancelToken()
        self._call = call
        #: What the call itself has raised.
        self._error: Exception | None = None
        #: Taken by who comes first: the thread, or who gives the call up before it has begun.
        self._claim = Lock()
        self._ended = False
        self._waiter: Waiter | None = None

    def __call__(self) -> Any:
        if not self._claim.acquire(blocking=False):
            return None
        if self._waiter is not None:
            self._waiter.wake()
        try:
            return self._call()
        except Exception as error:
            self._error = error
            raise
        finally:
            self._ended = True
            if self._waiter is not None:
                self._waiter.wake()

    async def result(self, name: str) -> Any:
        """Return what the call returns; ``name`` is what a warning calls it if it outlives its run.

        A cancellation that gets here first has what the call itself has raised, or raises now, as its cause.
        """
        try:
            return await anyio.to_thread.run_sync(self, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class() as cancellation:
            if not self._claim.acquire(blocking=False) and not self._ended:
                await self._leave(name)
            if self._error is not None:
                cancellation.__cause__ = self._error
            raise

    async def begun(self) -> None:
        """Wait until the call has begun, if it has not; no longer than for its end."""
        if not self._claim.locked():
            self._waiter = waiter()
            if not self._claim.locked():
                await self._waiter.wait(THREAD_GRACE)

    async def _leave(self, name: str) -> None:
        self.stop.ask()
        deadline = time.monotonic() + THREAD_GRACE
        with anyio.CancelScope(shield=True):
            while not self._ended and (left := deadline - time.monotonic()) > 0:
                self._waiter = waiter()
                # Asyncio may cancel the same task again and again; we are on our way out already.
                with suppress(anyio.get_cancelled_exc_class()):
                    if not self._ended:
                        await self._waiter.wait(left)
        if not self._ended:
            logger.warning(
                "%r still runs in its thread %g s after its run has ended, and can't be stopped; "
                "let it return when runtime.cancelled is true, or make it async",
                name,
                THREAD_GRACE,
            )
