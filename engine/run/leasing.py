"""Taking the lease of a thread before it is run, and seeing that it is still held."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar

import anyio

from ..checkpoint.lease import Held, ThreadLease
from ..core.task import RunEnv
from ..errors import ThreadBusyError
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
        held = await _taken(env, lease, thread_id)
    except BaseException:
        reports.run_started(env, input, False)  # what ends has begun
        raise
    try:
        yield held
    finally:
        with anyio.CancelScope(shield=True) if env.executor.is_async else nullcontext():
            await _blocking(env, held.release)


async def still(env: RunEnv, held: Held | None) -> None:
    """See that the thread is still held.

    Raises:
        LeaseLostError: it is not.
    """
    if held is not None:
        await _blocking(env, held.check)


async def _taken(env: RunEnv, lease: ThreadLease, thread_id: str) -> Held:
    deadline, pause = time.monotonic() + lease.wait, _PAUSES[0]
    while True:
        taken = await _take(env, lease, thread_id)
        if isinstance(taken, Held):
            return taken
        left = deadline - time.monotonic()
        if left <= 0:
            waited = f" after {lease.wait:g} s" if lease.wait else ""
            raise ThreadBusyError(
                f"thread {thread_id!r} is being run by {taken}{waited}: try again later, or have the lease "
                "wait for it: wait=<seconds>"
            )
        await env.executor.sleep(min(pause, left))
        pause = min(2 * pause, _PAUSES[1])


async def _take(env: RunEnv, lease: ThreadLease, thread_id: str) -> Held | str:
    taken: list[Held | str] = []
    left = False

    def take() -> Held | str:
        taken.append(lease.take(thread_id))
        if left:
            _let_go(taken)
        return taken[0]

    try:
        return await _blocking(env, take)
    except BaseException:
        left = True  # a thread that takes it goes on, and nobody would know
        _let_go(taken)
        raise


def _let_go(taken: list[Held | str]) -> None:
    for one in taken:
        if isinstance(one, Held):
            one.release()


async def _blocking(env: RunEnv, call: Callable[[], T]) -> T:
    """Make a call that blocks, where it holds up nothing else."""
    if env.executor.is_async:
        return await anyio.to_thread.run_sync(call)
    return call()
