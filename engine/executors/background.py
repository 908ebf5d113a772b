"""Running a coroutine beside its starter, without a task group that would have to enclose both.

A stream is often an async generator, and a task group must not be open across its ``yield``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from threading import Thread
from typing import Any, Protocol

from anyio import CancelScope

from otel_stream.stream.wakeup import CancelToken

Start = Callable[[], Coroutine[Any, Any, Any]]


class Background(Protocol):
    """A coroutine that runs by itself; whoever started it sees to its end."""

    def cancel(self) -> None:
        """Ask it to stop."""

    async def wait(self) -> None:
        """Wait until it has ended; never raises what it raised, and goes on waiting when cancelled."""


def on_trio() -> bool:
    """Whether this is a trio task. Trio is never imported here: a program that runs it has done so."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


def background(start: Start, context: Context) -> Background:
    """Start ``start()`` in ``context``, on the event loop that is running here."""
    if on_trio():
        return _OnTrio(start, context)
    return _OnAsyncio(start, context)


#: The event loop itself holds its tasks only weakly.
_RUNNING: set[asyncio.Task[Any]] = set()


class _OnAsyncio:
    def __init__(self, start: Start, context: Context) -> None:
        self._task = asyncio.get_running_loop().create_task(_quietly(start), context=context)
        _RUNNING.add(self._task)
        self._task.add_done_callback(_RUNNING.discard)

    def cancel(self) -> None:
        self._task.cancel()

    async def wait(self) -> None:
        try:
            if not self._task.done():
                await asyncio.wait((self._task,))
        except asyncio.CancelledError:
            # Whoever waits was cancelled: the run must go too, and be seen off. Asking it once is enough,
            # however often we are asked ourselves.
            self._task.cancel()
            with CancelScope(shield=True):
                while not self._task.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait((self._task,))
            raise


class _OnTrio:
    def __init__(self, start: Start, context: Context) -> None:
        import trio

        self._trio = trio
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        trio.lowlevel.spawn_system_task(self._run, start, context=context)

    async def _run(self, start: Start) -> None:
        try:
            # An exit in a node is for whoever waits: out of a system task it would crash all of trio.
            with self._scope, suppress(SystemExit, KeyboardInterrupt):
                await _quietly(start)
        finally:
            self._done.set()

    def cancel(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        try:
            await self._done.wait()
        except self._trio.Cancelled:
            self._scope.cancel()
            with self._trio.CancelScope(shield=True):
                await self._done.wait()
            raise


class InThread:
    """A coroutine that never suspends, in a thread of its own; ``wait`` blocks."""

    def __init__(self, start: Start, context: Context, stop: CancelToken) -> None:
        self._stop = stop
        # A run that its program leaves behind must not keep the interpreter from its end.
        self._thread = Thread(target=context.run, args=(self._run, start), name="graph run", daemon=True)
        self._thread.start()

    @staticmethod
    def _run(start: Start) -> None:
        with suppress(BaseException):  # kept by the loop; and the end of a coroutine, which is one, too
            _quietly(start).send(None)

    def cancel(self) -> None:
        """Ask it to stop: its nodes, and whatever it waits for."""
        self._stop.ask()

    async def wait(self) -> None:
        """Block until it has ended."""
        self._thread.join()


async def _quietly(start: Start) -> None:
    """Run to the end; the outcome is on the loop, where everyone who asks can find it."""
    with suppress(Exception):  # kept by the loop, and raised to its callers
        await start()
