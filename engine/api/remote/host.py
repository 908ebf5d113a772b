"""Where a node runs that runs elsewhere: an actor, and a task that stands for the one of the graph."""

from __future__ import annotations

import asyncio
import os
import platform
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from otel_stream.events import End, Run
from otel_stream.telemetry.elsewhere import attempt_span, end_attempt, flush

from ...core.continuation import Continuation
from ...core.lineage import Lineage
from ...core.naming import naming
from ...core.state import State
from ...core.task import Failing, GraphRun, NodeTask, RunEnv, path_of
from ...errors import GraphBubbleUp, GraphInterrupt, add_note
from ...executors import async_executor
from ...executors.packing import packed, unpacked
from ...executors.ray import Said
from ...graph.description import Description
from ...graph.node import Callback, Node
from ...graph.program import Program, View
from ...graph.spec import GraphSpec
from ...run.attempt import answer_of
from ...run.messages_mode import langchain_hook
from ...runtime import RunControl
from ...task_config import CURRENT_TASK
from .borrowed import BorrowedMemory, BorrowedStore, Questions, borrowed_saver
from .outlet import Outlet
from .pickling import dumps, loads
from .told import RunAround

#: Nodes whose code a worker keeps at hand.
_NODES: Final = 256
#: Tasks that it remembers to have been stopped before they began.
_STOPPED: Final = 1024
#: Of a graph that is elsewhere.
_PROGRAM: Final = Program(None, {}, {}, (), (), input_keys=())
_DESCRIPTION: Final = Description(dict, dict, dict, None)
_VIEW: Final = View.of(())


class Order(NamedTuple):
    """A task, as its graph's process describes it. All of it can be pickled, and goes as a plain tuple."""

    node: str
    metadata: Mapping[str, Any] | None
    tags: tuple[str, ...]
    id: str
    step: int
    seed: str
    path: tuple[Any, ...]
    triggers: tuple[str, ...]
    attempt: int
    first_attempt_at: float | None
    #: What makes a ``RunAround`` of each run around it, the innermost first.
    runs: Sequence[tuple[Any, ...]]
    #: Whether tasks are named as LangGraph does.
    langgraphs: bool
    config: Mapping[str, Any]
    context: Any
    recursion_limit: int
    checkpoint_id: str
    checkpoint_ns: str
    checkpoint_map: Mapping[str, str]
    continuation: Sequence[Any]
    #: Answers to its interrupts, and how many graphs it has called.
    answers: Sequence[Any]
    subgraphs: int
    memory: Mapping[str, Any] | None
    stores: bool
    drain_reason: str | None
    shows_life: bool
    #: Messages that were shown before, and those that only subgraphs have shown.
    seen: tuple[set[str], set[str]]
    carrier: Mapping[str, str]


class Outcome(NamedTuple):
    """How a task has ended: its answer or what it raised, and what it noted down."""

    end: str
    value: Any = None
    #: What was raised in words, should it not be possible to have it here.
    words: str = ""
    answers: Sequence[Any] = ()
    answered: Sequence[Any] = ()
    pushed: Sequence[tuple[str, Any]] = ()
    subgraphs: int = 0
    drain_reason: str | None = None


class Host:
    """The actor. It runs tasks of any node, whose code it is given the first time."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, Callback] = OrderedDict()
        self._tasks: dict[int, _Hosted] = {}
        #: Tasks that are to be stopped as soon as they begin.
        self._stopped: OrderedDict[int, None] = OrderedDict()
        self._never = asyncio.Event()

    async def ready(self, setup: Callable[[], Any] | None) -> None:
        """Call what is to be called before the first task, once."""
        if setup is not None and not hasattr(self, "_set_up"):
            self._set_up = True
            made = setup()
            if hasattr(made, "__await__"):
                await made

    async def watch(self) -> None:
        """Never return: whoever waits for it hears of this process's end."""
        await self._never.wait()

    async def begin(
        self, said: Any, code: Sequence[Any] = (), parts: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        """Begin a task, and return the first of what there is to say of it: a ``Said``, packed.

        ``said``, packed: its number, what is wanted to be known, the key of its node's code, its ``Order``,
        and its input. ``code``: that itself, if it is not known here; ``parts`` of its input are elsewhere.
        """
        number, interest, key, order, value = unpacked(said)
        callback = await self._callback(key, code)
        if callback is None:
            return packed(tuple(Said((), lacks_code=True)))
        if parts:  # what was too large to be sent with each task
            value = {**value, **{name: await ref for name, ref in parts.items()}}
        if number in self._stopped:
            del self._stopped[number]
            return packed(tuple(Said((), tuple(Outcome("cancelled")))))
        hosted = self._tasks[number] = _Hosted(callback, Order(*order), value, interest)
        hosted.start()
        await asyncio.sleep(0)  # what waits for nothing has ended then
        return await self._next(number, hosted, interest)

    async def more(self, said: Any) -> Any:
        """Return the next of what there is to say; what was said before has been heard."""
        number, interest, answers = unpacked(said)
        hosted = self._tasks[number]
        hosted.questions.take(answers)
        return await self._next(number, hosted, interest)

    async def _next(self, number: int, hosted: _Hosted, interest: int) -> Any:
        said = await hosted.outlet.next(interest)
        if said.end is not None:
            self._tasks.pop(number, None)
        return packed(tuple(said))

    async def stop(self, number: int) -> None:
        """Have a task stop. Its end is said as any other is."""
        hosted = self._tasks.get(number)
        if hosted is not None:
            hosted.stop()
            return
        self._stopped[number] = None  # unless it has ended, it is yet to begin
        if len(self._stopped) > _STOPPED:
            self._stopped.popitem(last=False)

    async def leave(self) -> None:
        """Export the telemetry of this process, which is about to be ended."""
        await asyncio.to_thread(flush)

    async def _callback(self, key: str, code: Sequence[Any]) -> Callback | None:
        if key not in self._nodes:
            if not code:
                return None
            self._nodes[key] = loads(await code[0])
            if len(self._nodes) > _NODES:
                self._nodes.popitem(last=False)
        self._nodes.move_to_end(key)
        return self._nodes[key]


class _Hosted:
    """One task in progress."""

    def __init__(self, callback: Callback, order: Order, value: Any, interest: int) -> None:
        self._order = order
        run = _runs(order)
        spec = Node(order.node, callback, metadata=order.metadata, tags=order.tags)
        self.task = task = NodeTask(
            run,
            spec,
            order.step,
            seed=order.seed,
            input=value,
            path=order.path,
            triggers=order.triggers,
        )
        task._id = order.id  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]
        task.attempt, task.first_attempt_at = order.attempt, order.first_attempt_at
        self.outlet = Outlet(task, interest)
        self.questions = Questions(self.outlet)
        self._control = RunControl()
        if order.drain_reason is not None:
            self._control.request_drain(order.drain_reason)
        self._running: asyncio.Task[None] | None = None
        task.env = self._env(run)
        if task.env.langchain is not None:
            task.env.langchain.seen |= order.seen[0]
            task.env.langchain.inside |= order.seen[1]
        task.pad.answers, task.pad.subgraphs = order.answers, order.subgraphs
        if order.shows_life:
            task.progress = lambda: self.outlet.say(("life",))

    def _env(self, run: GraphRun) -> RunEnv:
        order, memory, above = self._order, None, _above(run)
        if order.memory is not None:
            own, lent = self._borrowed(dict(order.memory))
            if own:
                memory = lent
            elif above is not None:
                above.memory = lent
        continuation = Continuation(None)
        for name, known in zip(Continuation.__slots__, order.continuation, strict=True):
            setattr(continuation, name, known)
        return RunEnv(
            spec=GraphSpec(run.graph, _PROGRAM, _DESCRIPTION),
            program=_PROGRAM,
            run=run,
            config=dict(order.config),
            executor=async_executor(order.config.get("max_concurrency")),
            observer=self.outlet,
            view=_VIEW,
            output=_VIEW,
            state=State({}, checkpoint_id=order.checkpoint_id, track=False),
            lineage=Lineage(frozenset(), {}),
            failing=Failing(None),
            continuation=continuation,
            recursion_limit=order.recursion_limit,
            memory=memory,
            store=BorrowedStore(self.questions) if order.stores else None,
            context=order.context,
            control=self._control,
            langchain=langchain_hook(self.outlet, None),
            parent_task=above,  # type: ignore[arg-type]
            checkpoint_ns=order.checkpoint_ns,
            checkpoint_map=order.checkpoint_map,
        )

    def _borrowed(self, kept: dict[str, Any]) -> tuple[bool, BorrowedMemory]:
        """Return what is kept by the task's run, or else by one around it, and which of the two."""
        own, saver = kept.pop("own"), None
        if kept.pop("lent"):
            saver = borrowed_saver(
                self.questions, kept.pop("first_version"), langgraphs=kept.pop("langgraphs")
            )
        took = partial(self.outlet.say, ("took",))
        return own, BorrowedMemory(self.questions, took, checkpointer=saver, **kept)

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        assert self._running is not None
        if self.task.thread is not None:
            self.task.thread.tell()
        self._running.cancel()

    async def _run(self) -> None:
        task, order = self.task, self._order
        context = copy_context()
        context.run(CURRENT_TASK.set, task)
        span = attempt_span(order.carrier, context, order.node, order.id, order.attempt)
        ended, error = End.CANCELLED, None
        outcome = Outcome("cancelled")
        try:
            outcome = self._outcome("ok", await answer_of(task, task.env, context))
            ended = End.OK
        except GraphBubbleUp as bubble:
            ended = End.INTERRUPTED if isinstance(bubble, GraphInterrupt) else End.OK
            outcome = self._raised(bubble)
        except asyncio.CancelledError:
            pass  # it was stopped, or has cancelled itself: its graph knows which
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the graph's process raises it
            ended, error = End.ERROR, failure
            add_note(failure, _where(failure))
            outcome = self._raised(failure)
        finally:
            end_attempt(span, ended, error)
            self.outlet.finish(tuple(outcome))

    def _raised(self, error: BaseException) -> Outcome:
        words = f"{type(error).__qualname__}: {error}"
        try:
            carried = dumps(error)
            loads(carried)
        except Exception:  # noqa: BLE001 - its class may do anything
            carried = None
        return self._outcome("raised", carried, words)

    def _outcome(self, end: str, value: Any, words: str = "") -> Outcome:
        pad = self.task.pad
        asked = self._control.drain_reason
        return Outcome(
            end,
            value,
            words,
            pad.answers,
            pad.answered,
            pad.pushed,
            pad.subgraphs,
            asked if asked != self._order.drain_reason else None,
        )


def _runs(order: Order) -> GraphRun:
    """Return the run of the task, inside of those around it."""
    run: GraphRun | None = None
    context = copy_context()
    names = naming(langgraphs=order.langgraphs)
    for one in reversed(order.runs):
        run = RunAround(*one).made(run, names, context)
    assert run is not None
    return run


class _Above:
    """Stands for a task that the node's run is inside of: it says where that is, and has nothing else."""

    langchain = observer = None
    end = None

    def __init__(self, ns: str, above: _Above | None) -> None:
        self.ns = ns
        self.memory: BorrowedMemory | None = None
        self.parent_task = above

    @property
    def env(self) -> _Above:
        return self

    @property
    def around(self) -> _Above | None:
        return self.parent_task

    def heard_by(self, _: Any) -> None:
        """Leave it: what is heard here is the node's own."""


def _above(run: Run) -> _Above | None:
    """Return what stands for the task that ``run`` is inside of; its namespace is that of the run's."""
    task = run.parent
    if task is None:
        return None
    return _Above("|".join((*path_of(task.run), f"{task.node}:{task.id}")), _above(task.run))


def _where(error: BaseException) -> str:
    trace = "".join(traceback.format_exception(error, chain=True)).rstrip()
    return f"In process {os.getpid()} on {platform.node()}:\n{trace}"
