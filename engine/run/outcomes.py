"""What a task has come to: kept, cached and reported, before its superstep is over."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Sequence

from otel_stream.encoding import shown
from otel_stream.events import End

from ..core.state import ERROR, ERROR_SOURCE, RESUME
from ..core.task import Memory, NodeTask
from ..errors import add_note
from ..graph.node import NO_WRITES, Writes
from ..types import INTERRUPT
from . import reporting as reports
from .caching import store_writes
from .failures import handler_of
from .resume import give_answers


def task_done(task: NodeTask) -> Awaitable[list[NodeTask] | None] | None:
    """Keep what a task has written, and report its end.

    Returns what there is to await for it, if anything, and that in turn the tasks that take over.
    """
    env = task.env
    if env.memory is None and env.cache is None and task.spec.error_handler is None:
        if env.observer is not None:
            reports.task_ended(task)
        return None
    return _keep_and_report(task)


async def _keep_and_report(task: NodeTask) -> list[NodeTask] | None:
    env = task.env
    try:
        if env.memory is not None:
            await keep(task, env.memory)
        if env.cache is not None and task.spec.cache is not None and task.end is End.OK:
            await store_writes(env, task)
    finally:  # it has ended, also if the saver fails, or if the run is cancelled while it stores
        reports.task_ended(task)
    handler = handler_of(task)
    if handler is None:
        return None
    give_answers(handler)
    reports.task_started(handler)
    return [handler]


async def settle(caller: NodeTask, *, cancel: bool) -> None:
    """Wait for the tasks that one has called, cancelled if so wished. Those that never began end, too."""
    called = caller.pad.called
    futures = [future for _, future in called]
    try:
        await caller.env.executor.settle(futures, cancel=cancel)
    except BaseException:  # no call outlives its caller
        await caller.env.executor.settle(futures, cancel=True)
        raise
    finally:
        for task, _ in called:
            if task.end is None:
                task.end = End.CANCELLED
                reports.task_ended(task)


async def keep(task: NodeTask, memory: Memory) -> None:
    """Keep what a task has written, asked, or failed with, so that a resumed run need not repeat it."""
    given = () if task.scratch is None else task.scratch.answered
    answered: Writes = [(RESUME, given)] if given else []
    if task.end is End.INTERRUPTED:
        await memory.keep(task.id, [(INTERRUPT, task.interrupts), *answered])
    elif task.end is End.OK and task.error is None:
        await memory.keep(task.id, task.writes or [(NO_WRITES, None)])
    elif task.error is not None and task.end is not None and task.end.failed:
        failure: Writes = [(ERROR, task.error), *answered]
        if task.spec.error_handler is not None:  # it is over then: its handler takes over
            failure += [(ERROR_SOURCE, task.node), *(task.writes or ())]
        await _keep_failure(task, memory, failure, task.error)


async def keep_cancelled(tasks: Sequence[NodeTask], memory: Memory, failure: BaseException) -> None:
    """Keep of those that ``failure`` took down with it that they were cancelled, as LangGraph does."""
    for task in tasks:
        if task.end is None or task.end is End.CANCELLED:
            await _keep_failure(task, memory, [(ERROR, CancelledError())], failure)


async def _keep_failure(task: NodeTask, memory: Memory, writes: Writes, failure: BaseException) -> None:
    try:
        await memory.keep(task.id, writes)
    except Exception as broken:  # noqa: BLE001 - what is raised says more
        add_note(failure, f"Not kept in the checkpoint, whose saver raised {shown(broken)}")
