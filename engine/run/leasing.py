"""Taking the lease of a thread before it is run or changed, and seeing that it is still held."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar

import anyio

from ..checkpoint.lease import Held, ThreadLease
from ..core.task import Executor, RunEnv
from ..errors import ThreadBusyError
from ..task_config import CURRENT_TASK
from . import reporting as reports

T = TypeVar("T")

#: Seconds between attempts: doubled from the first to the second.
_PAUSES: Final = (0.02, 0.5)


@asynccontextmanager
async def leased(env: RunEnv, input: Any) -> AsyncIterator[Held | None]:
    """Hold the thread of a root run, if it has one and its graph asks for it.

    Raises:
        ThreadBusyError: another worker has it, for longer than is waited for it.
    """
    lease, thread_id = env.spec.lease, env.run.thread_id
    if lease is None or thread_id is None or env.memory is None or env.parent_task is not None:
        yield None
        return
    try:
        held = await _taken(env.executor, lease, thread_id)
    except BaseException:
        reports.run_started(env, input, False)  # what ends has begun
        raise
    async with _released(env.executor, held):
        yield held


@asynccontextmanager
async def leased_for_update(
    executor: Executor, lease: ThreadLease | None, thread_id: str
) -> AsyncIterator[Held | None]:
    """Hold a thread whose state is changed from outside of a run; a node of a run on it has it already.

    Raises:
        ThreadBusyError: another worker has it, for longer than is waited for it.
    """
    task = CURRENT_TASK.get()
    inside = task is not None and task.run.root.thread_id == thread_id
    if lease is None or (inside and lease.holds(thread_id)):
        yield None
        return
    held = await _taken(executor, lease, thread_id)
    async with _released(executor, held):
        yield held


async def still(executor: Executor, held: Held | None) -> None:
    """See that the thread is still held.

    Raises:
        LeaseLostError: it is not.
    """
    if held is not None:
        await _blocking(executor, held.check)


@asynccontextmanager
async def _released(executor: Executor, held: Held) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True) if executor.is_async else nullcontext():
            await _blocking(executor, held.release)


async def _taken(executor: Executor, lease: ThreadLease, thread_id: str) -> Held:
    deadline, pause = time.monotonic() + lease.wait, _PAUSES[0]
    while True:
        taken = await _take(executor, lease, thread_id)
        if isinstance(taken, Held):
            return taken
        left = deadline - time.monotonic()
        if left <= 0:
            waited = f" after {lease.wait:g} s" if lease.wait else ""
            raise ThreadBusyError(
                f"thread {thread_id!r} is being run by {taken}{waited}: try again later, or have the lease "
                "wait for it: wait=<seconds>"
            )
        await executor.sleep(min(pause, left))
        pause = min(2 * pause, _PAUSES[1])


async def _take(executor: Executor, lease: ThreadLease, thread_id: str) -> Held | str:
    taken: list[Held | str] = []
    left = False

    def take() -> Held | str:
        taken.append(lease.take(thread_id))
        if left:
            _let_go(taken)
        return taken[0]

    try:
        return await _blocking(executor, take)
    except BaseException:
        left = True  # a thread that takes it goes on, and nobody would know
        _let_go(taken)
        raise


def _let_go(taken: list[Held | str]) -> None:
    for one in taken:
        if isinstance(one, Held):
            one.release()


async def _blocking(executor: Executor, call: Callable[[], T]) -> T:
    """Make a call that blocks, where it holds up nothing else."""
    if executor.is_async:
        return await anyio.to_thread.run_sync(call)
    return call()
