"""What an executor is, and what those with an event loop share."""

from __future__ import annotations

import sys
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Generator, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from itertools import takewhile
from typing import Any

import anyio
import anyio.to_thread

from otel_stream.encoding import shown
from otel_stream.stream.wakeup import CANCEL_TOKEN

from ..core.task import NodeTask, RunCall
from ..errors import NodeTimeoutError
from ..graph.node import PLAIN, Callback, is_runnable
from ..task_config import CURRENT_TASK
from .background import on_trio, only
from .cancellation import InThread
from .places import Places


def tell_to_stop(tasks: Sequence[NodeTask], failed: NodeTask | None) -> dict[NodeTask, InThread]:
    """Tell the threads of ``tasks`` to return; whoever does so cancels the tasks, all of them at once.

    But not yet those that it returns: they come before ``failed``, and wait for a thread. Whether they fail,
    too, must not depend on who is given a thread first.
    """
    before = list(takewhile(lambda task: task is not failed, tasks)) if failed is not None else []
    for task in tasks:
        if task.thread is not None:
            task.thread.tell()
    return {t: t.thread for t in before if t.thread is not None and not t.thread.has_begun}


async def finished(later: Awaitable[list[NodeTask] | None] | None) -> list[NodeTask] | None:
    """Await what ``Done`` returned."""
    return None if later is None else await later


class InContext:
    """Awaits a coroutine inside a ``contextvars.Context`` without the cost of a task of its own."""

    __slots__ = ("_context", "_coroutine")

    def __init__(self, context: Context, coroutine: Any) -> None:
        self._context = context
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        run, coroutine, closed = self._context.run, self._coroutine, False
        try:
            waiting = run(coroutine.send, None)
            while True:
                try:
                    sent = yield waiting
                except BaseException as thrown:  # noqa: BLE001 - passed on into the coroutine
                    closed = isinstance(thrown, GeneratorExit)
                    waiting = run(coroutine.throw, thrown)
                else:
                    waiting = run(coroutine.send, sent)
        except StopIteration as stop:
            return stop.value
        except GeneratorExit as error:
            if closed:
                raise
            raise mistaken(error) from error


def mistaken(error: BaseException) -> RuntimeError:
    """Return what to raise in place of what, raised by user code in a coroutine, would look like its end."""
    return RuntimeError(f"a node raised {shown(error)}")


def _call(func: Any, context: Context, value: Any, kwargs: dict[str, Any] | None) -> Any:
    try:
        return context.run(func, value, **kwargs) if kwargs else context.run(func, value)
    except (StopIteration, GeneratorExit) as error:
        raise mistaken(error) from error


def call_in_place(func: Any, context: Context, value: Any, kwargs: dict[str, Any] | None) -> Any:
    """Call sync code, and a runnable that it answers with, where the run itself runs."""
    try:
        answer = context.run(func, value, **kwargs) if kwargs else context.run(func, value)
    except (StopIteration, GeneratorExit) as error:
        raise mistaken(error) from error
    if type(answer) not in PLAIN and is_runnable(answer):
        return context.run(answer.invoke, value)
    return answer


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def stops(error: BaseException) -> bool:
    """Whether ``error`` is how code is stopped on the event loop that runs here, and no failure of it."""
    cancelled = sys.modules["trio"].Cancelled if on_trio() else CancelledError
    return only(error, (cancelled, GeneratorExit))


class LoopExecutor:
    """What asyncio and trio have in common."""

    is_async = True
    live = False
    scope: AbstractContextManager[Any] | None = None

    def __init__(self, max_concurrency: int | None) -> None:
        self._places = Places(max_concurrency) if max_concurrency else None

    async def _run_call(self, task: NodeTask, run: RunCall) -> Any:
        """Run a task that another one has called, as soon as there is a place for it."""
        if self._places is None or task.caller is None:
            return await run(task)
        async with self._places.of_call(task, task.caller):
            return await run(task)

    async def call(
        self, callback: Callback, context: Context, value: Any, kwargs: dict[str, Any] | None
    ) -> Any:
        """Await async code in place; send sync code to a thread."""
        afunc = callback.afunc
        if afunc is None:
            answer = await self._in_thread(callback, context, value, kwargs)
        else:
            made = context.run(afunc, value, **kwargs) if kwargs else context.run(afunc, value)
            answer = await InContext(context, made if hasattr(made, "send") else _await(made))
        if type(answer) not in PLAIN and is_runnable(answer):
            answer = await InContext(context, answer.ainvoke(value))
        return answer

    async def _in_thread(
        self, callback: Callback, context: Context, value: Any, kwargs: dict[str, Any] | None
    ) -> Any:
        task = context.get(CURRENT_TASK)

        def call() -> Any:
            context.run(CANCEL_TOKEN.set, thread.stop)
            return _call(callback.func, context, value, kwargs)

        thread = InThread(call)
        if task is not None:
            task.thread = thread
        return await thread.result(callback.name, self._threads)

    async def _threads(self, job: InThread) -> Any:
        return await anyio.to_thread.run_sync(job, abandon_on_cancel=True)

    async def limited(self, task: NodeTask, context: Context, kwargs: dict[str, Any] | None) -> Any:
        """Limit an attempt by its policy; the idle limit starts anew with every sign of progress."""
        policy = task.timeout
        assert policy is not None
        whole_limit, idle_limit = policy.run_seconds, policy.idle_seconds
        started = time.monotonic()
        idle = anyio.CancelScope(deadline=_deadline(idle_limit))

        def progress() -> None:
            idle.deadline = _deadline(idle_limit)

        task.progress = progress if idle_limit is not None else None
        with anyio.CancelScope(deadline=_deadline(whole_limit)) as whole, idle:
            return await self.call(task.spec.callback, context, task.input, kwargs)
        raise NodeTimeoutError(
            task.node,
            time.monotonic() - started,
            kind="run" if whole.cancelled_caught else "idle",
            idle_timeout=idle_limit,
            run_timeout=whole_limit,
        )

    def is_cancellation(self, error: BaseException) -> bool:
        """Ask the event loop."""
        return stops(error)

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        await anyio.sleep(seconds)

    def close(self) -> None:
        """Nothing is held."""


def _deadline(seconds: float | None) -> float:
    return float("inf") if seconds is None else anyio.current_time() + seconds
