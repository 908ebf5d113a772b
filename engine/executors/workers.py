"""Threads for the sync code of an asyncio loop.

What ``anyio.to_thread`` does, within its limit of threads, but without its two turns of the loop, its cancel
scope and its queue with conditions for each call: a fourth of the CPU time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final
from weakref import WeakKeyDictionary, finalize, ref

import anyio.to_thread
from anyio import CancelScope, WouldBlock

from .cancellation import InThread

# What makes a thread one of anyio's has no public name.
_anyio: Any = sys.modules.get("anyio._core._eventloop")
_HAS_NAMES: Final = all(
    hasattr(_anyio, name) for name in ("claim_worker_thread", "get_async_backend", "threadlocals")
)

#: Seconds that a thread waits for more to do; as the interpreter ends, until it looks if its loop goes on.
IDLE: Final = 10.0
_LOOKS: Final = 0.1

_Idle = deque["_Worker"]
_Job = tuple["Workers", InThread, asyncio.Future[Any]]


class _Look:
    """No job: the one who takes it looks whether there will be others."""


class Workers:
    """Run what one graph run has for the threads of its event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._idle = _idle_of(self.loop)
        self._limiter = anyio.to_thread.current_default_thread_limiter()
        if _HAS_NAMES:
            self._backend = _anyio.get_async_backend()
            #: What anyio knows the threads of this loop by.
            self._marks: dict[str, Any] = {}

    async def call(self, job: InThread) -> Any:
        """Return what ``job`` returns or raises; who is cancelled meanwhile leaves it behind.

        ``anyio.from_thread`` works in it.
        """
        if not _HAS_NAMES:
            return await anyio.to_thread.run_sync(job, abandon_on_cancel=True)
        try:
            self._limiter.acquire_on_behalf_of_nowait(job)
        except WouldBlock:
            await self._limiter.acquire_on_behalf_of(job)
        try:
            answer = self.loop.create_future()
            try:
                worker = self._idle.pop()
            except IndexError:
                worker = _Worker(self.loop, self._idle)
                worker.start()
            worker.take(self, job, answer)
            return await answer
        finally:
            self._limiter.release_on_behalf_of(job)

    def marks(self) -> dict[str, Any]:
        """Return what makes the thread that asks one of anyio's."""
        if not self._marks:
            with _anyio.claim_worker_thread(self._backend, self.loop):
                self._marks = dict(vars(_anyio.threadlocals))
        return self._marks

    def tell(self, answer: asyncio.Future[Any], told: Callable[[], None]) -> None:
        """Have ``told`` called on the loop, if somebody waits for ``answer``."""
        try:
            self.loop.call_soon_threadsafe(_tell, answer, told)
        except RuntimeError:
            if not self.loop.is_closed():  # else there is nobody left to tell
                raise


def _tell(answer: asyncio.Future[Any], told: Callable[[], None]) -> None:
    if not answer.done():
        told()


class _Worker(threading.Thread):
    """A thread of one event loop; while it is idle it is among those that ``idle`` has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle: _Idle) -> None:
        # The interpreter waits at its end for what a thread runs, where it waits for its loop, too.
        is_daemon = threading.current_thread().daemon or not _WOKEN_AT_EXIT
        super().__init__(name="graph worker", daemon=is_daemon)
        self._loop = ref(loop)
        self._idle = idle
        self._jobs: SimpleQueue[_Job | _Look | None] = SimpleQueue()
        self._scope = CancelScope()

    def take(self, workers: Workers, job: InThread, answer: asyncio.Future[Any]) -> None:
        """Run ``job``; called on the loop."""
        if self._scope.cancel_called:
            self._scope = CancelScope()
        job.scope = self._scope
        self._jobs.put((workers, job, answer))

    def end(self) -> None:
        """Run nothing more; for who has taken it out of the idle ones."""
        self._jobs.put(None)

    def look(self) -> None:
        """Wait no longer than the loop runs."""
        self._jobs.put(_Look())

    def run(self) -> None:
        """Run jobs, until none comes for ``IDLE`` seconds or there can be none."""
        while (job := self._next()) is not None:
            if not isinstance(job, _Look):
                self._work(*job)
            del job

    def _next(self) -> _Job | _Look | None:
        with suppress(Empty):
            return self._jobs.get(timeout=_LOOKS if _exit.is_set() else IDLE)
        loop = self._loop()
        if _exit.is_set() and loop is not None and loop.is_running():
            return _Look()  # its program goes on; and no thread begins any more
        try:
            self._idle.remove(self)
        except ValueError:  # somebody has taken it, for a job which is on its way
            return self._jobs.get()
        return None

    def _work(self, workers: Workers, job: InThread, answer: asyncio.Future[Any]) -> None:
        of_anyio = vars(_anyio.threadlocals)
        of_anyio.update(workers.marks(), current_cancel_scope=self._scope)
        try:
            told = partial(answer.set_result, job())
        except BaseException as error:  # noqa: BLE001 - raised to whoever waits
            told = partial(answer.set_exception, error)
        of_anyio.clear()
        self._idle.append(self)
        workers.tell(answer, told)
        if workers.loop.is_closed():
            _end(self._idle)  # itself among them


#: The idle threads of each event loop; and the same in a list, since others may change a dict meanwhile.
_IDLE: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, _Idle]()
_ALL: Final[list[tuple[ref[asyncio.AbstractEventLoop], _Idle]]] = []
_exit: Final = threading.Event()


def _idle_of(loop: asyncio.AbstractEventLoop) -> _Idle:
    found = _IDLE.get(loop)
    if found is None:
        for other, idle in tuple(_ALL):
            closed = other()
            if closed is None or closed.is_closed():
                _end(idle)
        found = _IDLE[loop] = deque()
        entry = ref(loop), found
        _ALL.append(entry)
        finalize(loop, _forget, entry).atexit = False
    return found


def _forget(entry: tuple[ref[asyncio.AbstractEventLoop], _Idle]) -> None:
    _ALL.remove(entry)
    _end(entry[1])


def _end(idle: _Idle) -> None:
    with suppress(IndexError):
        while True:
            idle.pop().end()


def _forget_threads() -> None:
    for _, idle in _ALL:
        idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)  # a child has none of its parent's


def _end_all() -> None:
    _exit.set()
    for other, idle in tuple(_ALL):
        loop = other()
        if loop is None or not loop.is_running():
            _end(idle)
        else:
            for worker in tuple(idle):
                worker.look()


def _registered() -> bool:
    """Have idle threads end before the interpreter waits for them; ``atexit`` comes after that."""
    register = getattr(threading, "_register_atexit", None)  # it has no public name
    with suppress(RuntimeError):  # it waits for them already
        if register is not None:
            register(_end_all)
            return True
    return False


_WOKEN_AT_EXIT: Final = _registered()
