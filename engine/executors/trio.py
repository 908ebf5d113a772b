"""Tasks on trio, through anyio's task groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from .base import Done, LoopExecutor, RunOne

if TYPE_CHECKING:
    from ..superstep import NodeTask


class TrioExecutor(LoopExecutor):
    """Runs a lone task in place, several in a task group."""

    def __init__(self, max_concurrency: int | None) -> None:
        self._limit = anyio.CapacityLimiter(max_concurrency) if max_concurrency else None

    async def run_all(self, tasks: list[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; the first failure cancels the others."""
        if len(tasks) == 1:
            await run_one(tasks[0])
            await done(tasks[0])
            return
        errors: list[BaseException] = []

        async def run(task: NodeTask) -> None:
            try:
                if self._limit is None:
                    await run_one(task)
                else:
                    async with self._limit:
                        await run_one(task)
                await done(task)
            except Exception as error:
                errors.append(error)
            if task.failed or errors:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(run, task)
        if errors:
            raise errors[0]
