"""Tasks on a Ray cluster: workers, which are async actors, and the conversation with one about a task.

A task is one call, ``begin``, and as many of ``more`` as it takes until its worker has nothing to say of it:
what it says comes in groups, and the next one is asked for when there is room for it. So a node whose
audience has none stands still, and one that only answers costs one call.

It works in every world of ``executors``, as the rest of the engine does: what waits is a ``Waiter``.
"""

from __future__ import annotations

import atexit
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from itertools import count
from threading import Lock
from types import ModuleType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from anyio import CancelScope

from otel_stream.stream.wakeup import ThreadWaiter, Waiter, in_event_loop, stop_asked, waiter

from ..errors import WorkerLostError, add_note
from ..policies import Remote
from .packing import packed, unpacked

#: Seconds that a node is given to end which was stopped; its worker is ended then.
STOP_GRACE: Final = 10.0
#: Calls of a worker beside those of its tasks: those that stop tasks, and the one that tells of its death.
_SPARE: Final = 16
#: Tells calls apart.
_numbers: Final = count(1)

#: Takes what a worker says of a task, in order; returns what it is to be told, once there is room for more,
#: if that is to be waited for. What it has not come to when it is stopped comes first the next time.
Hear = Callable[[Sequence[Any], bool], Awaitable[Sequence[Any]]]


class RemoteCall(NamedTuple):
    """A task that is to run elsewhere."""

    node: str
    #: What workers know the node's code by, and what puts it where they get it: into Ray's object store.
    key: str
    code: Callable[[], Any]
    #: What ``begin`` is told, besides that, the number of the call and what is wanted of it.
    request: Sequence[Any]
    #: Parts of its input that are in Ray's object store.
    parts: Mapping[str, Any]
    #: Which events somebody wants now.
    interest: Callable[[], int]
    hear: Hear
    #: What makes a waiter: ``ThreadWaiter`` where only the thread may wait.
    wait: Callable[[], Waiter] = waiter


class Said(NamedTuple):
    """What a worker says at a time. ``end``: how the task ended, None while it goes on.

    ``lacks_code``: it has not begun it, since it does not know the node's code any more.
    """

    items: Sequence[Any]
    end: Any = None
    lacks_code: bool = False


class Worker:
    """One actor, as this process sees it."""

    __slots__ = ("actor", "begin", "busy", "known", "left", "lost", "more", "ready")

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        #: Call its methods; Ray makes them anew whenever they are looked up.
        self.begin: Callable[..., Any] = actor.begin.remote
        self.more: Callable[..., Any] = actor.more.remote
        #: Keys of the code that it was sent.
        self.known: set[str] = set()
        #: Tasks that it runs.
        self.busy = 0
        #: Why there is no reaching it any more.
        self.lost: str | None = None
        #: Whether it has answered, and is to be given no more tasks.
        self.ready = self.left = False


class _Conversation:
    """What is said of one task, from its beginning to its end."""

    def __init__(self, worker: Worker, call: RemoteCall) -> None:
        self.worker, self.call = worker, call
        self._number = next(_numbers)
        #: The call of the actor that has not been answered, or whose answer nobody has taken.
        self._asked: Any = None

    async def to_the_end(self) -> Any:
        """Begin the task, hear all that is said of it, and return how it ended.

        Raises:
            WorkerLostError: the worker died.
            TypeError: what is sent to it, or comes back, is nothing that can be sent.
        """
        self._begin()
        return await self._hear_out(lambda ref: _result(ref, self.call.wait), drains=True)

    def stop(self) -> None:
        """Have the task stopped, if it was ever begun."""
        if self._asked is not None:
            with suppress(*_deaths()):
                self.worker.actor.stop.remote(self._number)

    async def seen_off(self) -> bool:
        """Stop the task and hear the rest of what is said of it; return whether its end has come in time."""
        if self._asked is None:
            return True
        deadline = time.monotonic() + STOP_GRACE
        self.stop()
        try:
            await self.call.hear((), False)
            await self._hear_out(lambda ref: _in_time(ref, self.call.wait, deadline), drains=False)
        except Exception:  # noqa: BLE001 - what it was stopped for is raised
            return False
        return True

    async def _hear_out(self, answered: Callable[[Any], Awaitable[Any]], *, drains: bool) -> Any:
        while True:
            said = await self._answer(answered)
            if said.lacks_code:
                self.worker.known.discard(self.call.key)
                self._begin()
                continue
            self.worker.known.add(self.call.key)
            replies = await self.call.hear(said.items, drains)
            if said.end is not None:
                return said.end
            self._ask(self.worker.more, (replies,))

    def _begin(self) -> None:
        call = self.call
        # A reference that goes along is kept account of by Ray, which costs as much as the rest of a call.
        code = () if call.key in self.worker.known else (call.code(),)
        references = (code, call.parts) if code or call.parts else ()
        self._ask(self.worker.begin, (call.key, *call.request), *references)

    def _ask(self, ask: Callable[..., Any], about: Sequence[Any], *references: Any) -> None:
        with self._explained():
            self._asked = ask(packed((self._number, self.call.interest(), *about)), *references)

    async def _answer(self, answered: Callable[[Any], Awaitable[Any]]) -> Said:
        with self._explained():
            return Said(*unpacked(await answered(self._asked)))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        worker, node = self.worker, self.call.node
        try:
            yield
        except _deaths() as death:
            worker.lost = worker.lost or _reason(death)
            raise WorkerLostError(node, worker.lost, begun=True) from death
        except TypeError as error:
            add_note(error, f"What node {node!r} is sent, or sends back, can't be pickled")
            raise


class Workers:
    """The workers of nodes that share them, in this process. They end with it, or with ``close``."""

    def __init__(self, remote: Remote, host: Callable[[], type[Any]]) -> None:
        self._remote = remote
        self._host = host
        self._all: list[Worker] = []
        self._lock = Lock()
        self._waiting: list[Waiter] = []
        _POOLS[self] = None

    async def run(self, call: RemoteCall) -> Any:
        """Run a task on one of them and return how it ended.

        Raises:
            WorkerLostError: the worker died, or is out of reach.
            TypeError: what is sent to it, or comes back, is nothing that can be sent.
        """
        worker = await self._place(call.wait)
        try:
            if not worker.ready:
                await self._meet(worker, call)
            return await self._converse(_Conversation(worker, call))
        finally:
            self._leave(worker)

    async def _converse(self, talk: _Conversation) -> Any:
        worker, call = talk.worker, talk.call
        try:
            return await talk.to_the_end()
        except WorkerLostError:
            self._end(worker)
            raise
        except BaseException as failure:
            on_loop = call.wait is waiter and in_event_loop()
            if on_loop and isinstance(failure, GeneratorExit):  # nothing can be awaited any more
                talk.stop()
                raise
            # A cancellation that comes again must not keep the node from being seen off.
            with CancelScope(shield=True) if on_loop else nullcontext():
                ended = await talk.seen_off()
            worker.left = worker.left or not ended
            raise

    async def _meet(self, worker: Worker, call: RemoteCall) -> None:
        """Wait until a worker has started and called ``setup``."""
        try:
            await _result(worker.actor.ready.remote(self._remote.setup), call.wait)
        except _deaths() as death:
            worker.lost = worker.lost or _reason(death)
            raise WorkerLostError(call.node, worker.lost, begun=False) from death
        except BaseException:
            self._end(worker)  # its setup failed, or nobody waits for it; the next task tries another one
            raise
        if not worker.ready:
            worker.ready = True
            watched = worker.actor.watch.remote().future()
            watched.add_done_callback(partial(self._gone, worker))

    # -- who has room -----------------------------------------------------------------------------

    async def _place(self, wait: Callable[[], Waiter]) -> Worker:
        while True:
            with self._lock:
                worker = self._free()
                if worker is not None:
                    worker.busy += 1
                    return worker
                news = wait()
                self._waiting.append(news)
            await news.wait()
            if stop_asked():
                raise CancelledError("the run of this node has ended")

    def _free(self) -> Worker | None:
        able = [one for one in self._all if one.lost is None and not one.left]
        self._all = [one for one in self._all if one in able or one.busy]
        least = min(able, key=lambda one: one.busy, default=None)
        if least is not None and least.busy == 0:
            return least
        if len(able) < self._remote.workers:
            made = Worker(self._actor())
            self._all.append(made)
            return made
        return least if least is not None and least.busy < self._remote.concurrency else None

    def _actor(self) -> Any:
        ray, remote = joined(), self._remote
        return (
            ray.remote(self._host())
            .options(
                num_cpus=remote.num_cpus,
                num_gpus=remote.num_gpus,
                resources=dict(remote.resources) if remote.resources else None,
                # What dies is not begun again behind our back.
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=2 * remote.concurrency + _SPARE,
            )
            .remote()
        )

    def _leave(self, worker: Worker) -> None:
        with self._lock:
            worker.busy -= 1
            over = worker.left and not worker.busy
        if over:
            self._end(worker)
        self._tell()

    def _gone(self, worker: Worker, watched: Any) -> None:
        worker.lost = worker.lost or _reason(watched.exception())
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.wake()

    def _end(self, worker: Worker) -> None:
        """See to it that a worker does nothing any more."""
        worker.left = True
        with suppress(Exception):
            joined().kill(worker.actor, no_restart=True)

    def close(self) -> None:
        """End all workers, once they have exported their telemetry."""
        with self._lock:
            workers, self._all = self._all, []
        leaving = []
        for one in workers:
            one.left = True
            with suppress(Exception):
                leaving.append(one.actor.leave.remote())
        with suppress(Exception):
            ray = joined()
            ray.wait(leaving, num_returns=len(leaving), timeout=STOP_GRACE) if leaving else None
            for one in workers:
                ray.kill(one.actor, no_restart=True)


_POOLS: Final[WeakKeyDictionary[Workers, None]] = WeakKeyDictionary()
_SHARED: Final[dict[tuple[Any, ...], Workers]] = {}
_LOCK: Final = Lock()


def workers_of(remote: Remote, host: Callable[[], type[Any]]) -> Workers:
    """Return the workers of nodes with this ``Remote``: the same for an equal one, made when first needed."""
    pool = remote.pool
    with _LOCK:
        workers = _SHARED.get(pool)
        if workers is None:
            workers = _SHARED[pool] = Workers(remote, host)
        return workers


def close_workers() -> None:
    """End the workers of this process; the next remote task makes new ones. Called when the process ends."""
    with _LOCK:
        pools = [*_SHARED.values()]
        _SHARED.clear()
    for pool in pools:
        pool.close()


def joined() -> ModuleType:
    """Return Ray, whose cluster this process has joined.

    Raises:
        RuntimeError: it is not installed, or the process has joined none.
    """
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise RuntimeError(
            'a node with on=Remote(...) runs on Ray, which is not installed: pip install "otel-stream[ray]"'
        ) from error
    if not ray.is_initialized():
        raise RuntimeError(
            "a node with on=Remote(...) runs on a Ray cluster, and this process has joined none: call "
            'ray.init(address="HOST:PORT") first, or ray.init(_node_ip_address="127.0.0.1")'
        )
    _leave_before_ray()
    return ray


class _Leaving:
    registered = False


def _leave_before_ray() -> None:
    # What is registered last is called first: Ray's own, which ends its connection, has been by now.
    if not _Leaving.registered:
        _Leaving.registered = True
        atexit.register(close_workers)


async def _result(ref: Any, wait: Callable[[], Waiter]) -> Any:
    """Wait for a call of an actor, wherever that is: on an event loop, or in a thread."""
    future = ref.future()
    while not future.done():
        news = wait()
        future.add_done_callback(partial(_wake, news))
        if not future.done():
            await news.wait()
        if not future.done() and stop_asked():
            raise CancelledError("the run of this node has ended")
    return future.result()


async def _in_time(ref: Any, wait: Callable[[], Waiter], deadline: float) -> Any:
    """Wait for a call of an actor where nothing is to be stopped any more.

    Raises:
        TimeoutError: it is not answered before ``deadline``.
    """
    future, news = ref.future(), wait()
    left = max(0.0, deadline - time.monotonic())
    if isinstance(news, ThreadWaiter):  # which does not wait in a thread that was asked to return
        return future.result(left)
    future.add_done_callback(partial(_wake, news))
    if not future.done():
        await news.wait(left)
    return future.result(0)


def _wake(news: Waiter, _: Any) -> None:
    news.wake()


def _deaths() -> tuple[type[BaseException], ...]:
    exceptions = import_module("ray.exceptions")
    return (exceptions.RayActorError, exceptions.NodeDiedError, exceptions.WorkerCrashedError)


def _reason(death: BaseException | None) -> str:
    return "it has left" if death is None else type(death).__name__
