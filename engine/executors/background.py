"""Running a coroutine beside its starter, without a task group that would have to enclose both.

A stream is often an async generator, and a task group must not be open across its ``yield``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from pathlib import Path
from threading import Thread, get_ident
from typing import Any, Protocol
from weakref import ref

from anyio import CancelScope

from otel_stream.stream.wakeup import CancelToken, in_event_loop

from ..errors import EXITS

Start = Callable[[], Coroutine[Any, Any, Any]]


class Background(Protocol):
    """A coroutine that runs by itself; whoever started it sees to its end."""

    def cancel(self) -> None:
        """Ask it to stop."""

    async def wait(self) -> None:
        """Wait until it has ended; never raises what it raised, and goes on waiting when cancelled."""

    def end_here(self, gone: Callable[[], None], *, closes: bool) -> bool:
        """End it at once, if it is left where its event loop does not run and may never run again.

        Where the loop runs, have it end there, unless that ``closes`` what is left. Returns whether it was
        seen to; ``gone`` is called before anything is stopped.
        """
        ...


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
        loop = asyncio.get_running_loop()
        _forget_closed_loops(loop)
        self._thread = get_ident()
        self._task = loop.create_task(self._run(start), context=context)
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

    def end_here(self, gone: Callable[[], None], *, closes: bool) -> bool:
        loop = self._task.get_loop()
        if self._task.done() or (closes and loop.is_running()):
            return False
        gone()
        if loop.is_closed():
            _unwind([self._task])
        elif self._thread == get_ident() and not in_event_loop():
            self.cancel()
            with suppress(RuntimeError):  # it has stopped in the middle of something, and can't run just now
                loop.run_until_complete(asyncio.wait((self._task,), timeout=LOST_GRACE))
        else:
            loop.call_soon_threadsafe(self.cancel)
        return True


class _Last:
    """The event loop that was used last; nearly always the only one."""

    loop: ref[asyncio.AbstractEventLoop] | None = None


def _forget_closed_loops(loop: asyncio.AbstractEventLoop) -> None:
    """Unwind what was left on event loops that are closed by now, when there is a new one."""
    last = _Last.loop
    if last is None or last() is not loop:
        _Last.loop = ref(loop)
        _unwind([task for task in tuple(_RUNNING) if task.get_loop().is_closed()])


def _unwind(left: Sequence[asyncio.Task[Any]]) -> None:
    """Let tasks that no event loop will ever run again clean up as far as they can without one."""
    for loop in {task.get_loop() for task in left}:
        inside = [task for task in asyncio.all_tasks(loop) if task not in _RUNNING and _is_ours(task)]
        for task in [*inside, *(one for one in left if one.get_loop() is loop)]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            _RUNNING.discard(task)
            coroutine: Any = task.get_coro()
            for _ in range(_AWAITS):
                with suppress(BaseException):  # it awaits something as it cleans up: in vain
                    coroutine.close()
                    break


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(_HERE)


_HERE = str(Path(__file__).parent)
#: Seconds that a run takes at most to end where its generator is lost.
LOST_GRACE = 1.0
#: How often what cleans up may await something before it is given up, where nothing can be awaited.
_AWAITS = 8


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

    def end_here(self, gone: Callable[[], None], *, closes: bool) -> bool:
        return False  # trio ends with everything that runs in it


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

    def end_here(self, gone: Callable[[], None], *, closes: bool) -> bool:
        """Leave it to its thread."""
        return False
