"""Functional tasks at run time: calls that a running task makes, beside itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from ..core.state import PUSH, RETURN
from ..core.task import NodeTask
from ..errors import GraphInterrupt
from ..executors import finished
from ..graph.node import Node
from . import reporting as reports
from .attempt import run_task
from .caching import cached_writes
from .outcomes import task_done
from .resume import take_back


def call(spec: Node, caller: NodeTask, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a functional task beside its caller; return a future of its result.

    Raises:
        RuntimeError: its caller has ended, whose call it would be.
    """
    if caller.end is not None:
        raise RuntimeError(
            f"task {spec.name!r} was called after {caller.node!r} had ended; await what calls it there"
        )
    pad = caller.pad
    index, pad.calls = pad.calls, pad.calls + 1
    path = (PUSH, caller.path, index, True)
    input = (args, kwargs)
    task = NodeTask(caller.run, spec, caller.step, seed=caller.seed, input=input, path=path, triggers=(PUSH,))
    task.caller, task.env = caller, caller.env
    take_back(task.env, [task])
    task.pad.context = copy_context()  # what its caller has set is there
    reports.task_started(task)
    future = task.env.executor.spawn(task, _run)
    pad.called.append((task, future))
    return future


async def _run(task: NodeTask) -> Any:
    restored = task.writes is not None
    if not restored and task.env.cache is not None:
        await cached_writes(task.env, [task], task_done)
    if task.writes is None:
        try:
            await run_task(task)
        finally:
            await finished(task_done(task))
    elif restored:
        reports.task_ended(task)
    if task.interrupts:
        raise GraphInterrupt(task.interrupts)
    if task.error is not None:
        raise task.error
    return next((value for name, value in task.writes or () if name == RETURN), None)
