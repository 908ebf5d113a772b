"""Tasks on asyncio. Plain asyncio tasks: anyio's task group costs several times as much per task."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from anyio import CancelScope

from ..core.task import Done, NodeTask, RunOne
from .base import LoopExecutor, begun, finished


class AsyncioExecutor(LoopExecutor):
    """Runs tasks as asyncio tasks."""

    def __init__(self, max_concurrency: int | None) -> None:
        self._limit = asyncio.Semaphore(max_concurrency) if max_concurrency else None
        self._loop = asyncio.get_running_loop()

    async def run_all(self, tasks: Sequence[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; the first failure cancels the others."""
        await _Group(self._limit, run_one, done).run(tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Start an asyncio task; from a thread, return a future that its code can wait for."""
        try:
            return asyncio.get_running_loop().create_task(coroutine)
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def settle(self, spawned: Sequence[Any], *, cancel: bool) -> None:
        """Wait for asyncio's futures and, where a thread has made them, for threads'."""
        waiting = [one if isinstance(one, asyncio.Future) else asyncio.wrap_future(one) for one in spawned]
        if cancel:
            for one in waiting:
                one.cancel()
        await asyncio.wait(waiting)
        for one in waiting:
            if not one.cancelled():
                one.exception()  # whoever awaited it has seen it; nobody else need be told by asyncio

    def cancelled_itself(self, error: BaseException) -> bool:
        """Compare with how often the asyncio task around was asked to cancel."""
        task = asyncio.current_task()
        return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()


class _Group:
    """The running tasks of one superstep."""

    def __init__(self, limit: asyncio.Semaphore | None, run_one: RunOne, done: Done) -> None:
        self.limit = limit
        self.run_one = run_one
        self.done = done
        self.loop = asyncio.get_running_loop()
        self.finished = self.loop.create_future()
        self.running: dict[NodeTask, asyncio.Task[None]] = {}
        self.tasks: Sequence[NodeTask] = ()
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
            if self.limit is None:
                await self.run_one(task)
            else:
                async with self.limit:
                    await self.run_one(task)
            for more in await finished(self.done(task)) or ():
                self.start(more)
        except asyncio.CancelledError as cancelled:
            if not self.finished.done():  # the node cancelled itself; nobody asked for it
                self.error = cancelled
        except BaseException as error:  # noqa: BLE001 - whatever it is, ``run`` raises it
            self.error = self.error or error
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
                    if self.failed is not None:
                        await begun(self.tasks, self.failed)
                    waiting = list(self.running.values())
                    for running in waiting:
                        running.cancel()
                    await asyncio.wait(waiting)
                except asyncio.CancelledError as again:
                    cancelled = again
                # One that is cancelled before its first step never gets to remove itself.
                self.running = {task: one for task, one in self.running.items() if not one.done()}
        if cancelled is not None:
            raise cancelled
