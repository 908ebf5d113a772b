"""Functional tasks at run time: calls that a running task makes, beside itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..cache.lookup import cached_writes
from ..core.state import RETURN, NodeTask
from ..errors import GraphInterrupt
from ..executors import finished
from . import reporting as reports
from .attempt import run_task
from .resume import take_back

if TYPE_CHECKING:
    from .loop import RunLoop


def call(loop: RunLoop, task: NodeTask, caller: NodeTask) -> Any:
    """Run a functional task beside its caller; return a future of its result."""
    task.loop = loop
    take_back(loop, [task])
    reports.task_started(loop, task)
    future = loop.executor.spawn(_run(loop, task))
    loop.called.setdefault(caller, []).append(future)
    return future


async def _run(loop: RunLoop, task: NodeTask) -> Any:
    restored = task.writes is not None
    if not restored and loop.cache is not None:
        await cached_writes(loop, [task])
    if task.writes is None:
        try:
            await run_task(task)
        finally:
            await finished(loop.task_done(task))
    elif restored:
        reports.task_ended(loop, task)
    if task.interrupts:
        raise GraphInterrupt(task.interrupts)
    if task.error is not None:
        raise task.error
    return next((value for name, value in task.writes or () if name == RETURN), None)
