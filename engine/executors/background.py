"""Running a coroutine beside its starter, without a task group that would have to enclose both.

A stream is often an async generator, and a task group must not be open across its ``yield``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from threading import Thread
from typing import Any, Protocol

from anyio import CancelScope

from otel_stream.stream.wakeup import CancelToken

from ..errors import EXITS

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


def only(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Whether ``error`` is one of ``kinds``, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


@contextmanager
def only_stopped(kinds: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Let nothing pass but ``kinds``: how a run ended is on its loop, where everyone who asks can find it."""
    try:
        yield
    except BaseException as error:
        if only(error, kinds):
            raise


async def see_off(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Wait until all have ended, even if we are cancelled meanwhile; that is raised then."""
    cancelled: BaseException | None = None
    with CancelScope(shield=True):  # else anyio would cancel us again at every turn of the loop
        while waiting := [one for one in futures if not one.done()]:
            try:
                await asyncio.wait(waiting)
            except asyncio.CancelledError as again:
                cancelled = again
    if cancelled is not None:
        raise cancelled


class _OnAsyncio:
    def __init__(self, start: Start, context: Context) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(start), context=context)
        _RUNNING.add(self._task)
        self._task.add_done_callback(_RUNNING.discard)
        self._asked = False

    @staticmethod
    async def _run(start: Start) -> None:
        # An exit ends the event loop, from whichever task of it.
        with only_stopped((asyncio.CancelledError, GeneratorExit, *EXITS)):
            await start()

    def cancel(self) -> None:
        # Once, however often we are asked ourselves: what nodes await as they clean up must not be cut off.
        if not self._asked:
            self._asked = True
            self._task.cancel()

    async def wait(self) -> None:
        try:
            if not self._task.done():
                await asyncio.wait((self._task,))
        except asyncio.CancelledError:
            # Whoever waits was cancelled: the run must go too, and be seen off.
            self.cancel()
            await see_off((self._task,))
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
            # Whatever a node raises is for whoever waits: out of a system task it would crash all of trio.
            with self._scope, only_stopped((self._trio.Cancelled, GeneratorExit)):
                await start()
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
            start().send(None)

    def cancel(self) -> None:
        """Ask it to stop: its nodes, and whatever it waits for."""
        self._stop.ask()

    async def wait(self) -> None:
        """Block until it has ended."""
        self._thread.join()
