"""Tasks on asyncio. Plain asyncio tasks: anyio's task group costs several times as much per task."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .base import Done, LoopExecutor, RunOne

if TYPE_CHECKING:
    from ..state import NodeTask


class AsyncioExecutor(LoopExecutor):
    """Runs a lone task in place, several as asyncio tasks."""

    def __init__(self, max_concurrency: int | None) -> None:
        self._limit = asyncio.Semaphore(max_concurrency) if max_concurrency else None

    async def run_all(self, tasks: list[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; the first failure cancels the others."""
        if len(tasks) == 1:
            await run_one(tasks[0])
            await done(tasks[0])
            return
        await _Group(self._limit, run_one, done).run(tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start an asyncio task."""
        return asyncio.get_running_loop().create_task(coroutine)


class _Group:
    """The running tasks of one superstep."""

    def __init__(self, limit: asyncio.Semaphore | None, run_one: RunOne, done: Done) -> None:
        self.limit = limit
        self.run_one = run_one
        self.done = done
        self.loop = asyncio.get_running_loop()
        self.finished = self.loop.create_future()
        self.running: dict[NodeTask, asyncio.Task[None]] = {}
        self.error: BaseException | None = None

    async def run(self, tasks: list[NodeTask]) -> None:
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
            await self.done(task)
        except asyncio.CancelledError as cancelled:
            if not self.finished.done():  # the node cancelled itself; nobody asked for it
                self.error = cancelled
        except BaseException as error:  # noqa: BLE001 - whatever it is, ``run`` raises it
            self.error = self.error or error
        finally:
            del self.running[task]
            stop = not self.running or self.error is not None or task.failed
            if stop and not self.finished.done():
                self.finished.set_result(None)

    async def _cancel(self) -> None:
        """Cancel what still runs and wait for it, even if we are cancelled again meanwhile."""
        if not self.finished.done():
            self.finished.set_result(None)
        cancelled: BaseException | None = None
        while self.running:
            waiting = list(self.running.values())
            for running in waiting:
                running.cancel()
            try:
                await asyncio.wait(waiting)
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled is not None:
            raise cancelled
