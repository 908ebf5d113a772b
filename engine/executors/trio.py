"""Tasks on trio, through anyio's task groups."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel
from anyio import from_thread

from ..core.task import Done, NodeTask, RunCall, RunOne
from .background import Start, background
from .base import LoopExecutor, finished, stops, tell_to_stop
from .cancellation import InThread


class TrioExecutor(LoopExecutor):
    """Runs tasks in a task group."""

    def __init__(self, max_concurrency: int | None) -> None:
        super().__init__(max_concurrency)
        #: What runs for the futures that code in threads waits for.
        self._behind: WeakKeyDictionary[Any, Spawned] = WeakKeyDictionary()
        self._around = anyio.CancelScope()
        self.scope: AbstractContextManager[Any] | None = self._around

    def begin(self, context: Context) -> None:
        """Take note of the run of trio's that this is."""
        import trio

        self._token = trio.lowlevel.current_trio_token()

    def leave(self) -> bool:
        """Cancel that scope."""
        import trio

        try:
            self._token.run_sync_soon(self._around.cancel)
        except trio.RunFinishedError:
            return False
        return not trio.lowlevel.in_trio_run()

    async def run_all(self, tasks: Sequence[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; the first failure cancels the others."""
        errors: list[BaseException] = []
        scopes: dict[NodeTask, anyio.CancelScope] = {}

        async def run(task: NodeTask) -> None:
            scopes[task] = scope = anyio.CancelScope()
            try:
                try:
                    with scope:
                        await run_one(task)
                finally:
                    if self._places is not None:
                        self._places.leave(task)
                # What has ended after all, though it was told to stop, is reported, too.
                with anyio.CancelScope(shield=True) if group.cancel_scope.cancel_called else nullcontext():
                    more = await finished(done(task)) or ()
                for one in more:
                    if self._places is not None:
                        await self._places.take(one)
                    group.start_soon(run, one)
            except BaseException as error:
                if stops(error):
                    raise
                errors.append(error)  # raised below, as itself and not as a group
            if task.failed or errors:
                # Trio shuffles who goes first: those who fail in the same turn have all failed before any is
                # cancelled, so that which one is raised does not depend on luck.
                await anyio.lowlevel.cancel_shielded_checkpoint()
                late = tell_to_stop(tasks, task if task.failed else None)
                await _cancel(group.cancel_scope, [(scopes[one], thread) for one, thread in late.items()])

        async with anyio.create_task_group() as group:
            for task in tasks:
                if self._places is not None:  # here, and not in the tasks: trio shuffles who goes first
                    await self._places.take(task)
                group.start_soon(run, task)
        if errors:
            raise errors[0]

    def spawn(self, task: NodeTask, run: RunCall) -> Any:
        """Start a system task, which may outlive the caller's nursery; in a thread, one with its future."""
        import trio

        start = partial(self._run_call, task, run)
        # sniffio can't tell: the context that user code runs in says where the run itself is.
        if trio.lowlevel.in_trio_run():
            return Spawned(start)
        future: Future[Any] = Future()
        around = copy_context()
        self._behind[future] = from_thread.run_sync(lambda: around.run(Spawned, start, future))
        return future

    async def settle(self, spawned: Sequence[Any], *, cancel: bool) -> None:
        """Wait for system tasks, and for those that a thread has started."""
        running: list[Spawned] = [self._behind.get(one) or one for one in spawned]
        try:
            if not cancel:
                await _ended(running)
        finally:
            for one in running:
                one.cancel()
            with anyio.CancelScope(shield=True):
                await _ended(running)

    def cancelled_itself(self, error: BaseException) -> bool:
        """Trio's cancellation can't be raised by hand."""
        return False


async def _cancel(group: anyio.CancelScope, late: Sequence[tuple[anyio.CancelScope, InThread]]) -> None:
    """Cancel a group at once; those that are ``late`` when they have begun, or were told long ago."""
    for scope, _ in late:
        scope.shield = True
    group.cancel()
    with anyio.CancelScope(shield=True):
        for scope, thread in late:
            await thread.begun()
            scope.shield = False


class Spawned:
    """A coroutine that runs by itself; await it for its result, which a ``future`` is given, too."""

    def __init__(self, start: Start, future: Future[Any] | None = None) -> None:
        self._start = start
        self._future: Future[Any] = future or Future()
        self._background = background(self._run, copy_context())

    async def _run(self) -> None:
        future = self._future
        try:
            result = await self._start()
        except BaseException as error:
            if stops(error):
                future.cancel()
                raise
            if future.set_running_or_notify_cancel():
                future.set_exception(error)  # raised to whoever awaits
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(result)

    def cancel(self) -> None:
        """Ask it to stop."""
        self._background.cancel()

    async def wait(self) -> None:
        """Wait for the end, whatever it is."""
        await self._background.wait()

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from self._background.wait().__await__()
        return self._future.result()


async def _ended(running: Sequence[Spawned]) -> None:
    for one in running:
        await one.wait()
