"""Waiting for one another across threads and event loops: asyncio, trio, or a plain thread.

A waiter is made by the one who waits, where it waits, and woken once by anybody, from anywhere.
``wake`` never raises and never blocks: whoever waited may be long gone, and its loop with it. It may run
foreign code, that of an event loop, and so is called without any lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import deque
from contextvars import ContextVar
from typing import Any, Protocol


class Waiter(Protocol):
    """One wait."""

    def wake(self) -> None:
        """Let ``wait`` return, in whatever thread it is."""

    async def wait(self, seconds: float | None = None) -> None:
        """Return once woken, or after that many ``seconds``."""


class AsyncioWaiter:
    """Waits in a task of the running asyncio loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def wake(self) -> None:
        # By the loop and not by its thread, which may run another one by now.
        if _current_loop() is self._loop:
            self._set()
        else:
            with contextlib.suppress(Exception):  # the loop is closed, or about to be
                self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        timer = None if seconds is None else self._loop.call_later(seconds, self._set)
        try:
            await self._future
        finally:
            if timer is not None:
                timer.cancel()


class TrioWaiter:
    """Waits in a trio task."""

    __slots__ = ("_event", "_token", "_trio")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def wake(self) -> None:
        if self._is_here():
            self._event.set()
        else:
            with contextlib.suppress(Exception):  # the run is over
                self._token.run_sync_soon(self._event.set)

    def _is_here(self) -> bool:
        try:
            return bool(self._trio.lowlevel.current_trio_token() is self._token)
        except RuntimeError:  # no run of trio's is here
            return False

    async def wait(self, seconds: float | None = None) -> None:
        with self._trio.move_on_after(float("inf") if seconds is None else seconds):
            await self._event.wait()


class CancelToken:
    """Whether the code that runs here should return, because nobody waits for it any longer.

    A thread can't be cancelled; it can be asked, and woken if it waits.
    """

    __slots__ = ("_around", "_asked", "_sleepers")

    def __init__(self) -> None:
        self._around = CANCEL_TOKEN.get()
        self._asked = False
        self._sleepers: list[ThreadWaiter] = []

    def ask(self) -> None:
        """Ask it to return. From any thread."""
        self._asked = True
        for sleeper in tuple(self._sleepers):
            sleeper.wake()

    @property
    def asked(self) -> bool:
        """Whether it was asked, or the code around it was."""
        return self._asked or (self._around is not None and self._around.asked)

    def add(self, sleeper: ThreadWaiter) -> None:
        """Wake ``sleeper`` when asked, or when the code around is."""
        self._sleepers.append(sleeper)
        if self._around is not None:
            self._around.add(sleeper)

    def discard(self, sleeper: ThreadWaiter) -> None:
        """Forget ``sleeper``, which was added."""
        self._sleepers.remove(sleeper)
        if self._around is not None:
            self._around.discard(sleeper)


#: The nearest one around the code that runs here.
CANCEL_TOKEN: ContextVar[CancelToken | None] = ContextVar("otel_stream_stop", default=None)


def stop_asked() -> bool:
    """Return whether the code that runs here should return."""
    stop = CANCEL_TOKEN.get()
    return stop is not None and stop.asked


class ThreadWaiter:
    """Blocks its thread; for consumers without an event loop, and coroutines driven by hand."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # woken before
            self._lock.release()

    async def wait(self, seconds: float | None = None) -> None:
        self.block(seconds)

    def block(self, seconds: float | None = None) -> None:
        """Do what ``wait`` does, without a coroutine; return, too, when this thread's code is asked to."""
        stop = CANCEL_TOKEN.get()
        if stop is None:
            self._lock.acquire(timeout=-1 if seconds is None else seconds)
            return
        stop.add(self)
        try:
            if not stop.asked:
                self._lock.acquire(timeout=-1 if seconds is None else seconds)
        finally:
            stop.discard(self)


def waiter() -> Waiter:
    """Return a waiter that fits where it is called."""
    trio = _current_trio()
    if trio is not None:
        return TrioWaiter(trio)
    loop = _current_loop()
    return ThreadWaiter() if loop is None else AsyncioWaiter(loop)


async def yield_turn() -> None:
    """Let the other tasks of the event loop run once, if there is one; a point of cancellation."""
    trio = _current_trio()
    if trio is not None:
        await trio.lowlevel.checkpoint()
    elif _current_loop() is not None:
        await asyncio.sleep(0)


def in_event_loop() -> bool:
    """Return whether blocking this thread would block an event loop."""
    return _current_trio() is not None or _current_loop() is not None


def _current_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _current_trio() -> Any:
    """Return the module if this is a trio task. It is never imported: who runs trio has done so."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


def wake_all(waiters: deque[Waiter]) -> None:
    """Wake all ``waiters``, each once, whoever else does the same."""
    while waiters:
        try:
            sleeper = waiters.popleft()
        except IndexError:
            return
        sleeper.wake()


def leave(waiters: deque[Waiter], one: Waiter) -> None:
    """Take ``one`` from those who wait, if it was not woken."""
    if waiters:
        with contextlib.suppress(ValueError):
            waiters.remove(one)
