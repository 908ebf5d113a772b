"""How tasks are run: in the calling thread and a pool, on asyncio, or on trio.

An executor calls user code, sleeps, limits time, and runs the tasks of one superstep side by side. The
rest of the engine is written once, as coroutines that ask it.
"""

from ..core.task import Executor
from .asyncio import AsyncioExecutor
from .background import on_trio
from .base import InContext, call_in_place, finished, stops
from .threads import PAUSE, ThreadExecutor, drive

__all__ = [
    "PAUSE",
    "Executor",
    "InContext",
    "ThreadExecutor",
    "async_executor",
    "call_in_place",
    "drive",
    "finished",
    "stops",
]


def async_executor(max_concurrency: int | None) -> Executor:
    """Return the executor for the event loop that is running here."""
    if on_trio():
        from .trio import TrioExecutor

        return TrioExecutor(max_concurrency)
    return AsyncioExecutor(max_concurrency)
