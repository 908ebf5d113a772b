"""Tasks without an event loop: in the calling thread, or in a pool when there are several.

The engine's coroutines are driven by hand. They never suspend, with one exception: a run that is pulled by
``stream()`` yields PAUSE when there are parts to hand out, and goes on when they have been taken.
"""

from __future__ import annotations

import queue
import time
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from functools import partial
from threading import Lock, get_ident
from threading import enumerate as enumerate_threads
from typing import Any

from otel_stream.events import End
from otel_stream.stream.wakeup import CANCEL_TOKEN, CancelToken, ThreadWaiter

from ..core.task import Done, NodeTask, RunCall, RunOne
from ..graph.node import Callback
from .background import only
from .base import call_in_place, finished


class _Pause:
    """Awaiting it gives the turn to whoever drives the coroutine."""

    def __await__(self) -> Generator[_Pause, None, None]:
        yield self


PAUSE = _Pause()


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("an async function was awaited without an event loop; use ainvoke or astream")


class _Call(Future[Any]):
    """A future whose work is done by whoever comes first: a thread of the pool, or one that waits for it.

    Callers wait for what they have called. Were that left to the pool, it could be full of those who wait.
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, Any]], helps: Callable[[], bool]) -> None:
        super().__init__()
        self._start = start
        #: Whether the thread that waits may do the work.
        self._helps = helps
        self._context = copy_context()
        self._claim = Lock()

    def run(self) -> None:
        """Do the work, unless somebody does already."""
        if not self._claim.acquire(blocking=False):
            return
        if not self.set_running_or_notify_cancel():
            return
        try:
            self.set_result(self._context.run(drive, self._start()))
        except BaseException as error:  # noqa: BLE001 - raised to whoever asks for the result
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        """Return the result, and help it come about."""
        if self._helps():
            self.run()
        error = self.exception(timeout)  # a Future that is asked for its result takes a false one for none
        if error is not None:
            raise error
        return super().result()


class ThreadExecutor:
    """Runs a lone task in the calling thread, several in a pool of threads.

    ``held`` tells whether parts wait to be handed out; set by ``stream()``. With ``live`` even a lone task
    goes to the pool, so that what it writes can be handed out while it runs.
    """

    is_async = False
    scope: AbstractContextManager[Any] | None = None

    def __init__(self, max_concurrency: int | None) -> None:
        self._workers = max_concurrency
        self._pool: ThreadPoolExecutor | None = None
        #: Its threads: where others wait, they would be one more to work.
        self._threads: set[int] = set()
        self._ended: queue.SimpleQueue[NodeTask | None] = queue.SimpleQueue()
        self.held: Callable[[], bool] | None = None
        self.live = False
        self._waits = False
        self._around = CANCEL_TOKEN.get()
        self._stop = CancelToken()
        self._thread = 0
        self._left = False

    async def call(
        self, callback: Callback, context: Context, value: Any, kwargs: dict[str, Any] | None
    ) -> Any:
        """Call sync code in place.

        Raises:
            TypeError: the node has only an async form.
            CancelledError: the run around this one has ended, and this one runs on in a thread of it.
        """
        func = callback.func
        if self._left or (self._around is not None and self._around.asked):
            raise CancelledError("the run has ended, or the one around it")
        if func is None:
            raise TypeError(
                f'No synchronous function provided to "{callback.name}": it is async; '
                f"use ainvoke or astream, or give the node a sync function"
            )
        return call_in_place(func, context, value, kwargs)

    def begin(self, context: Context) -> None:
        """Let its nodes ask whether they should return, and take note of the thread."""
        context.run(CANCEL_TOKEN.set, self._stop)
        self._thread = get_ident()

    def leave(self) -> bool:
        """Tell its nodes to return, and begin no more."""
        self._left = True
        self._stop.ask()
        return self._thread != get_ident() and any(one.ident == self._thread for one in enumerate_threads())

    async def limited(self, task: NodeTask, context: Context, kwargs: dict[str, Any] | None) -> Any:
        """Refuse: a thread can't be stopped."""
        raise ValueError(
            f"Node timeouts are only supported for async nodes: '{task.node}' was called through invoke or "
            f"stream; use ainvoke or astream"
        )

    async def sleep(self, seconds: float) -> None:
        """Block the thread; in the pool, until another task has failed."""
        if self._pool is None:
            time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop to block
            return
        sleeper = ThreadWaiter()
        self._stop.add(sleeper)
        try:
            if not self._stop.asked:
                sleeper.block(seconds)
        finally:
            self._stop.discard(sleeper)

    def wake(self) -> None:
        """Tell ``run_all``, if it waits, that there are parts to hand out; from any thread."""
        if self._waits:
            self._ended.put(None)

    async def run_all(self, tasks: Sequence[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run ``tasks`` side by side; after a failure none behind it begins; the others are waited for."""
        self._waits = True
        futures = {task: self.submit(self._run, task, run_one) for task in tasks}
        try:
            await self._run_out(futures, run_one, done)
        finally:
            self._waits = False
            if futures:
                self._leave(futures)

    async def _run_out(self, futures: dict[NodeTask, Future[Any]], run_one: RunOne, done: Done) -> None:
        places = {task: place for place, task in enumerate(futures)}
        while futures:
            task = self._ended.get()
            if task is not None and futures.pop(task, None) is not None:
                if task.end is not End.CANCELLED:  # by sys.exit, say: that is the loop's to report
                    more = await finished(done(task)) or []
                    futures.update((task, self.submit(self._run, task, run_one)) for task in more)
                if task.failed:
                    self._stop.ask()
                    for waiting in [one for one in _behind(task, places, futures) if futures[one].cancel()]:
                        del futures[waiting]
            if self.held is not None and self.held():
                await PAUSE

    def _leave(self, futures: dict[NodeTask, Future[Any]]) -> None:
        """Wait for the threads of a run that was left: what they do ends before it, and counts no more."""
        self._stop.ask()
        wait([future for future in futures.values() if not future.cancel()])
        for task in futures:
            task.end = End.CANCELLED

    def _run(self, task: NodeTask, run_one: RunOne) -> None:
        try:
            drive(run_one(task))  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - a node that calls sys.exit must not leave the run waiting
            task.error = error
        finally:
            self._ended.put(task)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run ``function(*args)`` in the pool, seeing the caller's context variables."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self._workers, thread_name_prefix="engine", initializer=lambda: self._threads.add(get_ident())
            )
        return self._pool.submit(copy_context().run, function, *args)

    def spawn(self, task: NodeTask, run: RunCall) -> Future[Any]:
        """Run a task that another one has called in the pool, or in the thread that waits for its result."""
        call = _Call(partial(run, task), self._may_help)
        self.submit(call.run)
        return call

    def _may_help(self) -> bool:
        return self._workers is None or get_ident() in self._threads

    async def settle(self, spawned: Sequence[Any], *, cancel: bool) -> None:
        """Wait for what runs in the pool; what has not been started can still be cancelled."""
        waiting = [one for one in spawned if not (cancel and one.cancel())]
        wait(waiting)

    def is_cancellation(self, error: BaseException) -> bool:
        """Look for what is raised in threads that were told to return, and in coroutines that are closed."""
        return only(error, (CancelledError, GeneratorExit))

    def cancelled_itself(self, error: BaseException) -> bool:
        """Ask whether anybody has told the threads to return."""
        return only(error, CancelledError) and not self._stop.asked

    def close(self) -> None:
        """Ask the threads that still run to return, and wait until they have."""
        if self._pool is not None:
            self._stop.ask()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _behind(failed: NodeTask, places: Mapping[NodeTask, int], tasks: Iterable[NodeTask]) -> list[NodeTask]:
    """Return the tasks that come after a failed one. Those before it have their turn, and may fail, too."""
    place = places.get(failed, -1)
    return [task for task in tasks if places.get(task, len(places)) > place]
