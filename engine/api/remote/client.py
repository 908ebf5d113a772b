"""What is sent for a task of a node that runs elsewhere, and what is made of what comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Final

from otel_stream.events import (
    AttemptEnded,
    AttemptStarted,
    CustomWritten,
    Event,
    MessageWritten,
    Task,
    TaskStarted,
)
from otel_stream.stream.wakeup import Waiter, in_event_loop, waiter
from otel_stream.telemetry.elsewhere import carrier

from ...checkpoint.words import is_langgraphs
from ...core.continuation import Continuation
from ...core.naming import OWN
from ...core.task import Memory, NodeTask, RunEnv
from ...errors import NodeCancelledError, RemoteNodeError
from ...executors.ray import RemoteCall, joined, workers_of
from ...run.checkpointing import ORIGIN, origin_of, unsigned
from ...run.resume import take_answer
from ...runtime import current_task, show_life
from ...types import MISSING
from .borrowed import LENT
from .code import Code
from .host import Host, Order, Outcome
from .pickling import dumps, loads
from .told import Listener, RunAround, Told, Unended, around

#: Bytes from which on a value of the state is put into Ray's object store, once for all tasks that read it.
_LARGE: Final = 1 << 20
#: How many of those are kept in mind.
_KEPT: Final = 8


async def run(code: Code, value: Any, wait: Callable[[], Waiter]) -> Any:
    """Run the node of the current task in a worker, and return its answer; raises what it raises."""
    task = current_task()
    value, parts = _by_reference(value)
    hearer = _Hearer(task, drains=wait is waiter or not in_event_loop())
    call = RemoteCall(
        task.node,
        code.key,
        lambda: _stored(code, task),
        (_order(task), value),
        parts,
        lambda: _interest(task.env),
        hearer.hear,
        wait,
    )
    try:
        outcome = await workers_of(code.remote, lambda: Host).run(call)
    finally:
        hearer.over()
    return _take(task, Outcome(*outcome))


def _stored(code: Code, task: NodeTask) -> Any:
    ray = joined()
    cluster = ray.get_runtime_context().gcs_address
    with code.lock:
        if code.stored is None or code.stored[0] != cluster:
            try:
                pickled = dumps(code.callback)
            except Exception as error:
                raise TypeError(
                    f"node {task.node!r} runs elsewhere, and its code can't be pickled ({error}): let it "
                    "make what it needs there, in the node or in Remote(setup=...)"
                ) from error
            code.stored = (cluster, ray.put(pickled))
        return code.stored[1]


def _interest(env: RunEnv) -> int:
    """Return what is wanted to be known: of tasks also their attempts.

    Who hears that a task there may be retried wants those, and by then they may be over.
    """
    wanted = 0 if env.observer is None else env.observer.interest
    return wanted | _ATTEMPTS if wanted & TaskStarted.bit else wanted


_ATTEMPTS: Final = AttemptStarted.bit | AttemptEnded.bit


# -- what is sent ----------------------------------------------------------------------------------


class _Large:
    """Large values that were put into Ray's object store last, each with its reference."""

    known: Final[list[tuple[Any, Any]]] = []
    lock: Final = Lock()


def _by_reference(value: Any) -> tuple[Any, dict[str, Any]]:
    """Return an input without its large values, and references to those."""
    large = {key: one for key, one in value.items() if _size(one) >= _LARGE} if type(value) is dict else {}
    if not large:
        return value, {}
    return (
        {key: one for key, one in value.items() if key not in large},
        {key: _reference(one) for key, one in large.items()},
    )


def _size(value: Any) -> int:
    size = len(value) if isinstance(value, (bytes, str)) else getattr(value, "nbytes", 0)
    return size if isinstance(size, int) else 0


def _reference(value: Any) -> Any:
    with _Large.lock:
        for known, reference in _Large.known:
            # What may change is put there anew.
            if known is value and isinstance(value, (bytes, str)):
                return reference
        reference = joined().put(value)
        _Large.known.append((value, reference))
        del _Large.known[:-_KEPT]
        return reference


def _order(task: NodeTask) -> tuple[Any, ...]:
    env, pad, control = task.env, task.pad, task.env.control
    order = Order(
        node=task.node,
        metadata=task.spec.metadata,
        tags=task.spec.tags,
        id=task.id,
        step=task.step,
        seed=task.seed,
        path=task.path,
        triggers=task.triggers,
        attempt=task.attempt,
        first_attempt_at=task.first_attempt_at,
        runs=[tuple(RunAround.of(run)) for run in around(task)[1::2]],
        langgraphs=task.naming is not OWN,
        config=_config(env.config),
        context=env.context,
        recursion_limit=env.recursion_limit,
        checkpoint_id=env.state.checkpoint_id,
        checkpoint_ns=env.checkpoint_ns,
        checkpoint_map=dict(env.checkpoint_map),
        continuation=[getattr(env.continuation, name) for name in Continuation.__slots__],
        answers=pad.answers,
        subgraphs=pad.subgraphs,
        memory=_memory(env),
        stores=env.store is not None,
        drain_reason=None if control is None else control.drain_reason,
        shows_life=task.progress is not None,
        seen=_seen(env),
        carrier=carrier(),
    )
    return tuple(order)  # of Python's own types, as far as the user's values are


def _seen(env: RunEnv) -> tuple[set[str], set[str]]:
    hook = env.langchain
    return (set(), set()) if hook is None else (set(hook.seen), set(hook.inside))


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config without what belongs to this process: callbacks, and what engines add."""
    configurable = config.get("configurable", {})
    return {
        **{key: value for key, value in config.items() if key != "callbacks"},
        "configurable": {key: value for key, value in configurable.items() if not key.startswith("__")},
    }


def _keeper(env: RunEnv) -> Memory | None:
    """Return what the run keeps, or the nearest one around it that keeps anything."""
    around: RunEnv | None = env
    while around is not None:
        if around.memory is not None:
            return around.memory
        around = around.around
    return None


def _memory(env: RunEnv) -> dict[str, Any] | None:
    memory = _keeper(env)
    if memory is None:
        return None
    saver = memory.checkpointer
    lent = (
        {}
        if saver is None
        else {
            "first_version": saver.get_next_version(None, None),
            "langgraphs": is_langgraphs(saver),
        }
    )
    answer = take_answer(env, keep=True)
    return {
        "own": memory is env.memory,
        "lent": saver is not None,
        **lent,
        "durability": memory.durability,
        "pending": list(memory.pending) if memory is env.memory else [],
        **({} if answer is MISSING else {"answer": answer}),
    }


# -- what comes back -------------------------------------------------------------------------------


class _Hearer:
    """Takes what a worker says of a task, and does as if it had happened here."""

    def __init__(self, task: NodeTask, *, drains: bool) -> None:
        self._task = task
        self._drains = drains
        self._listener = Listener(task)
        self._unended = Unended()
        self._unheard: deque[Any] = deque()
        self._answers: list[Any] = []

    async def hear(self, items: Sequence[Any], drains: bool) -> Sequence[Any]:
        """Report what has happened, answer what is asked, and if ``drains``, wait for who must have room."""
        self._unheard.extend(items)
        while self._unheard:
            item = self._unheard.popleft()
            if item[0] == "ask":
                await self._answer(*item[1:])
            else:
                self._note(item)
        observer = self._task.env.observer
        if items and drains and self._drains and observer is not None:
            await observer.drain()
        answers, self._answers = self._answers, []
        return answers

    def over(self) -> None:
        """Report the end of what has begun there and of whose end nothing will be heard."""
        for event in self._unended.ends():
            self._emit(event)

    def _note(self, item: Any) -> None:
        task, kind = self._task, item[0]
        if kind == "custom":
            show_life(task)
            self._emit(CustomWritten(task, loads(item[1]), item[2]))
        elif kind == "message":
            show_life(task)
            chunk, about = loads(item[1])
            self._shown(task, chunk)
            self._emit(MessageWritten(task, chunk, about, item[2]))
        elif kind == "event":
            event = self._listener.hear(Told(*item[1]))
            self._unended.note(event)
            if isinstance(event, MessageWritten):
                self._shown(event.task, event.chunk)
            self._emit(event)
        elif kind == "life" and task.progress is not None:
            task.progress()
        elif kind == "took":
            take_answer(task.env)

    def _emit(self, event: Event) -> None:
        observer = self._task.env.observer
        if observer is not None and observer.interest & event.bit:
            observer.emit(event)

    def _shown(self, task: Task, chunk: Any) -> None:
        name = chunk.get("id") if isinstance(chunk, dict) else getattr(chunk, "id", None)
        if self._task.env.langchain is not None and isinstance(name, str):
            self._task.env.langchain.shown(task, name)

    async def _answer(
        self, number: int, whom: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        well, answer = False, None
        try:
            well, answer = True, await self._asked(whom, method, args, kwargs)
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked
            answer = error
        except BaseException:
            answer = NodeCancelledError(self._task.node)
            raise
        finally:
            self._answers.append((number, well, answer))

    async def _asked(self, whom: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        env = self._task.env
        if method not in LENT[whom]:
            raise AttributeError(f"a node elsewhere asked for {whom}.{method}, which is not lent to it")
        memory = _keeper(env)
        if whom == "memory":
            assert memory is not None
            return await memory.keep(*args)
        lent: Any = env.store if whom == "store" else memory.checkpointer if memory is not None else None
        if whom == "saver" and not getattr(lent, "signed_by_lender", False):
            args = self._signed(method, args)
        if not env.executor.is_async:
            found = getattr(lent, method)(*args, **kwargs)
            return list(found) if method == "list" else found
        if method == "list":
            return [one async for one in lent.alist(*args, **kwargs)]
        return await getattr(lent, f"a{method}")(*args, **kwargs)

    def _signed(self, method: str, args: Sequence[Any]) -> Sequence[Any]:
        """Say with what is stored there which run does so: its span is here."""
        if method not in ("put", "put_writes"):
            return args
        place, what, *others = args
        origin = origin_of(self._listener.run_at(place["configurable"].get("checkpoint_ns", "")))
        if method == "put" and ORIGIN in others[0]:
            others[0] = {**unsigned(others[0]), ORIGIN: origin} if origin else unsigned(others[0])
        elif method == "put_writes":
            what = [(name, [value[0], origin] if name == ORIGIN else value) for name, value in what]
            what = [write for write in what if write[0] != ORIGIN or origin]
        return (place, what, *others)


def _take(task: NodeTask, outcome: Outcome) -> Any:
    """Note down what the task has noted down there, and return its answer, or raise what it raised."""
    pad, control = task.pad, task.env.control
    pad.answers, pad.answered, pad.subgraphs = outcome.answers, outcome.answered, outcome.subgraphs
    pad.pushed = [*outcome.pushed]
    if control is not None and outcome.drain_reason is not None:
        control.request_drain(outcome.drain_reason)
    if outcome.end == "ok":
        return outcome.value
    if outcome.end == "cancelled":
        raise NodeCancelledError(task.node)
    if outcome.value is None:
        raise RemoteNodeError(outcome.words)
    raise loads(outcome.value)
