"""Tasks on asyncio. Plain asyncio tasks: anyio's task group costs several times as much per task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

from anyio import CancelScope

from ..core.task import Done, NodeTask, RunCall, RunOne
from .background import only, see_off
from .base import LoopExecutor, finished, tell_to_stop
from .cancellation import InThread
from .places import Places
from .workers import Workers


class AsyncioExecutor(LoopExecutor):
    """Runs tasks as asyncio tasks."""

    def __init__(self, max_concurrency: int | None) -> None:
        super().__init__(max_concurrency)
        self._loop = asyncio.get_running_loop()
        self._running: ref[asyncio.Task[Any]] | None = None
        #: What runs for the futures that code in threads waits for; it may go on when those are cancelled.
        self._behind: WeakKeyDictionary[Any, asyncio.Task[Any]] = WeakKeyDictionary()
        #: Made for the first sync code.
        self._workers: Workers | None = None

    def begin(self, context: Context) -> None:
        """Take note of the asyncio task that is running; whoever loses it loses the run."""
        task = asyncio.current_task()
        self._running = None if task is None else ref(task)

    def leave(self) -> bool:
        """Cancel that asyncio task."""
        task = None if self._running is None else self._running()
        if task is None or not self._loop.is_running():
            return False
        with suppress(RuntimeError):  # it is closed by now
            self._loop.call_soon_threadsafe(task.cancel)
        return _running_loop() is not self._loop

    async def run_all(self, tasks: Sequence[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; the first failure cancels the others."""
        await _Group(self._places, run_one, done).run(tasks)

    async def _threads(self, job: InThread) -> Any:
        if self._workers is None:
            self._workers = Workers()
        return await self._workers.call(job)

    def spawn(self, task: NodeTask, run: RunCall) -> Any:
        """Start an asyncio task; from a thread, return a future that its code can wait for."""
        here = _running_loop()
        if here is self._loop:
            return self._loop.create_task(self._run_call(task, run))
        future: Future[Any] = Future()
        shown = future if here is None else asyncio.wrap_future(future)
        self._loop.call_soon_threadsafe(self._start_behind, future, shown, task, run)
        return shown

    def _start_behind(self, future: Future[Any], shown: Any, task: NodeTask, run: RunCall) -> None:
        running = self._loop.create_task(self._run_call(task, run))
        self._behind[shown] = running
        running.add_done_callback(partial(_hand_over, future))

        def stop(future: Future[Any]) -> None:
            if future.cancelled():
                self._loop.call_soon_threadsafe(running.cancel)

        future.add_done_callback(stop)

    async def settle(self, spawned: Sequence[Any], *, cancel: bool) -> None:
        """Wait for asyncio's tasks, and for those behind the futures that a thread has made."""
        waiting: list[asyncio.Task[Any]] = [self._behind.get(one) or one for one in spawned]
        try:
            if not cancel:
                await asyncio.wait(waiting)
        finally:
            for one in waiting:
                one.cancel()
            await see_off(waiting)
        for one in waiting:
            if not one.cancelled():
                one.exception()  # whoever awaited it has seen it; nobody else need be told by asyncio

    def cancelled_itself(self, error: BaseException) -> bool:
        """Compare with how often the asyncio task around was asked to cancel."""
        task = asyncio.current_task()
        return only(error, asyncio.CancelledError) and task is not None and not task.cancelling()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _hand_over(future: Future[Any], ended: asyncio.Task[Any]) -> None:
    """Let a thread have what an asyncio task has come to."""
    if ended.cancelled():
        future.cancel()
    if not future.set_running_or_notify_cancel():
        return
    error = ended.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(ended.result())


class _Group:
    """The running tasks of one superstep."""

    def __init__(self, places: Places | None, run_one: RunOne, done: Done) -> None:
        self.places = places
        self.run_one = run_one
        self.done = done
        self.loop = asyncio.get_running_loop()
        self.finished = self.loop.create_future()
        self.running: dict[NodeTask, asyncio.Task[None]] = {}
        self.tasks: Sequence[NodeTask] = ()
        #: Those that were cancelled: once, so that what they await as they clean up is not cut off.
        self.asked: set[NodeTask] = set()
        #: The first that failed.
        self.failed: NodeTask | None = None
        self.error: BaseException | None = None

    async def run(self, tasks: Sequence[NodeTask]) -> None:
        self.tasks = tasks
        for task in tasks:
            self.start(task)
        try:
            if self.running:
                await self.finished
        finally:
            if self.running:
                await self._cancel()
        if self.error is not None:
            raise self.error

    def start(self, task: NodeTask) -> None:
        self.running[task] = self.loop.create_task(self._run(task))

    async def _run(self, task: NodeTask) -> None:
        try:
            if self.places is None:
                await self.run_one(task)
            else:
                await self.places.take(task)
                try:
                    await self.run_one(task)
                finally:
                    self.places.leave(task)
            for more in await finished(self.done(task)) or ():
                self.start(more)
        except asyncio.CancelledError as cancelled:
            if not self.finished.done():  # the node cancelled itself; nobody asked for it
                self.error = cancelled
        except BaseException as error:  # noqa: BLE001 - whatever it is, ``run`` raises it
            self.error = error if self.error is None else self.error
        finally:
            del self.running[task]
            stop = not self.running or self.error is not None or task.failed
            if stop and not self.finished.done():
                self.failed = task if task.failed else None
                self.finished.set_result(None)

    async def _cancel(self) -> None:
        """Cancel what still runs and wait for it, even if we are cancelled again meanwhile."""
        if not self.finished.done():
            self.finished.set_result(None)
        cancelled: BaseException | None = None
        with CancelScope(shield=True):  # else anyio would cancel us again at every turn of the loop
            while self.running:
                try:
                    await self._ask()
                    await see_off(self.running.values())
                except asyncio.CancelledError as again:
                    cancelled = again
                # One that is cancelled before its first step never gets to remove itself.
                self.running = {task: one for task, one in self.running.items() if not one.done()}
        if cancelled is not None:
            raise cancelled

    async def _ask(self) -> None:
        late = tell_to_stop(self.tasks, self.failed)
        self._ask_each([task for task in self.running if task not in late])
        for task, thread in late.items():
            await thread.begun()
            self._ask_each([task])

    def _ask_each(self, tasks: Sequence[NodeTask]) -> None:
        for task in tasks:
            if task in self.running and task not in self.asked:
                self.asked.add(task)
                self.running[task].cancel()
