"""Tasks on trio, through anyio's task groups."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import nullcontext
from contextvars import copy_context
from typing import Any

import anyio
import anyio.lowlevel
from anyio import from_thread

from ..core.task import Done, NodeTask, RunOne
from .background import background
from .base import LoopExecutor, begun, finished


class TrioExecutor(LoopExecutor):
    """Runs tasks in a task group."""

    def __init__(self, max_concurrency: int | None) -> None:
        self._limit = anyio.CapacityLimiter(max_concurrency) if max_concurrency else None

    async def run_all(self, tasks: Sequence[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; the first failure cancels the others."""
        errors: list[BaseException] = []

        async def run(task: NodeTask) -> None:
            try:
                try:
                    await run_one(task)
                finally:
                    if self._limit is not None:
                        self._limit.release_on_behalf_of(task)
                # What has ended after all, though it was told to stop, is reported, too.
                with anyio.CancelScope(shield=True) if group.cancel_scope.cancel_called else nullcontext():
                    more = await finished(done(task)) or ()
                for one in more:
                    if self._limit is not None:
                        await self._limit.acquire_on_behalf_of(one)
                    group.start_soon(run, one)
            except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001
                errors.append(error)  # raised below, as itself and not as a group
            if task.failed or errors:
                # Trio shuffles who goes first: those who fail in the same turn have all failed before any is
                # cancelled, so that which one is raised does not depend on luck.
                await anyio.lowlevel.cancel_shielded_checkpoint()
                if task.failed:
                    with anyio.CancelScope(shield=True):
                        await begun(tasks, task)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for task in tasks:
                if self._limit is not None:  # here, and not in the tasks: trio shuffles who goes first
                    await self._limit.acquire_on_behalf_of(task)
                group.start_soon(run, task)
        if errors:
            raise errors[0]

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Start a system task, which may outlive the caller's nursery; in a thread, one with its future."""
        import trio

        # sniffio can't tell: the context that user code runs in says where the run itself is.
        return Spawned(coroutine) if trio.lowlevel.in_trio_run() else self._from_thread(coroutine)

    def _from_thread(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        context = copy_context()

        async def run() -> None:
            try:
                future.set_result(await coroutine)
            except Exception as error:  # noqa: BLE001 - raised to whoever asks for the result
                future.set_exception(error)

        from_thread.run_sync(background, run, context)
        return future

    async def settle(self, spawned: Sequence[Any], *, cancel: bool) -> None:
        """Wait for system tasks, and for those that a thread has started."""
        with anyio.CancelScope(shield=cancel):
            for one in spawned:
                if isinstance(one, Spawned):
                    await one.wait(cancel=cancel)
                elif not one.done():
                    await anyio.to_thread.run_sync(wait, [one])

    def cancelled_itself(self, error: BaseException) -> bool:
        """Trio's cancellation can't be raised by hand."""
        return False


class Spawned:
    """A coroutine that runs by itself; await it for its result."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._result: Any = None
        self._error: Exception | None = None
        self._background = background(self._run, copy_context())

    async def _run(self) -> None:
        try:
            self._result = await self._coroutine
        except Exception as error:  # noqa: BLE001 - raised to whoever awaits
            self._error = error

    async def wait(self, *, cancel: bool) -> None:
        """Wait for the end, whatever it is."""
        if cancel:
            self._background.cancel()
        await self._background.wait()

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self._background.wait().__await__()
        if self._error is not None:
            raise self._error
        return self._result
