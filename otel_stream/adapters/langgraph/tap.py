"""What one run of LangGraph's does, as events: the tap on a loop.

Rules of this file
------------------
1. It is told by the hooks (``hooks.py``), and looks at the loop only while it is told: a tap that held the
   loop would keep its state alive.
2. What a part will show is made by LangGraph's own functions, so that it is what LangGraph shows.
3. Every start has its end, once: whatever is open when a superstep or the run is over is ended then.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from threading import Lock
from time import time_ns
from typing import Any, Final

from langgraph import errors
from langgraph.errors import GraphBubbleUp, GraphInterrupt, GraphRecursionError, ParentCommand
from langgraph.pregel._algo import task_path_str
from langgraph.pregel._io import read_channels
from opentelemetry.context import Context as Values
from opentelemetry.context import get_current

from otel_stream import events
from otel_stream.adapters.langgraph import tries, words
from otel_stream.adapters.langgraph.answers import destinations
from otel_stream.adapters.langgraph.attempt import Attempts
from otel_stream.adapters.langgraph.audience import ABANDONED, Audience
from otel_stream.adapters.langgraph.guard import guarded
from otel_stream.adapters.langgraph.identity import goes_on, run_of
from otel_stream.adapters.langgraph.lineage import Lineage
from otel_stream.adapters.langgraph.payloads import payloads
from otel_stream.adapters.langgraph.resuming import resumption
from otel_stream.adapters.langgraph.task import CURRENT, Listener, NodeTask, forget, remember
from otel_stream.events import End, Event, Observer

#: Since 1.2.
GraphDrained: Any = getattr(errors, "GraphDrained", GraphBubbleUp)
_REPLACE = object.__setattr__  # a task is frozen


class RestoredError(Exception):
    """What a task raised in an earlier run, as far as its checkpoint has kept it: as text."""


class _Nobody:
    """Whom a run is told to once its end was told."""

    interest = 0

    def emit(self, event: Event) -> None:
        """Hear nothing."""

    async def drain(self) -> None:
        """Wait for nothing."""


_NOBODY: Final = _Nobody()


class Tap:
    """Tells its ``observer`` what a loop does."""

    __slots__ = (
        "_channels",
        "_lineage",
        "_lock",
        "_may_wait",
        "_open",
        "_over",
        "_started",
        "_step",
        "_visible",
        "around",
        "audience",
        "brief",
        "calls",
        "closing",
        "ears",
        "observer",
        "run",
        "values",
    )

    def __init__(self, audience: Audience, loop: Any, graph: Any, called_by: NodeTask | None) -> None:
        self.audience = audience
        self.observer: Observer = audience.stream
        self.run = run_of(loop, graph, called_by)
        #: The task that this run is part of though LangGraph takes it for one of its own.
        self.around = CURRENT.get() if called_by is None else None
        #: Who hears the messages and tools of nodes; known once the root run has begun.
        self.ears: Listener | None = None if called_by is None else called_by.tap.ears
        #: A handler of LangChain's that tells of what nodes call; the same.
        self.calls: Any = None if called_by is None else called_by.tap.calls
        self._may_wait = False
        #: Whether nothing is to be told but what durations and counts are made of: known once it has begun.
        self.brief = False
        #: What is current below the run's own span.
        self.values: Values | None = None
        self._lineage = Lineage(loop.specs)
        #: The channels, while a superstep begins.
        self._channels: Mapping[str, Any] | None = None
        #: The tasks of the superstep that is going on, and its number.
        self._open: dict[str, NodeTask] = {}
        self._step: int | None = None
        #: Whether any of them is the user's.
        self._visible = False
        #: Whether the superstep's tasks are done, and their writes being applied.
        self.closing = False
        self._started = self._over = False
        self._lock = Lock()
        if called_by is not None:
            called_by.inside = {**(called_by.inside or {}), self: None}

    # -- the run -------------------------------------------------------------------------------------

    def starts(self, loop: Any) -> None:
        """Report the start of the run, now that its checkpoint is loaded and before its input is taken."""
        self._started = True
        run, observer = self.run, self.observer
        resumed = goes_on(loop)
        if resumed:
            guarded(self._resumes, loop)
        if observer.interest & events.RunStarted.bit:
            observer.emit(events.RunStarted(run, loop.input, resumed, time_ns()))
        self.values = run.context.run(get_current)
        # Who wants attempts makes spans, and asks for links; a retried task's are asked for when it is known.
        self.brief = not (self.audience.stream.shows_parts or observer.interest & events.AttemptStarted.bit)

    def _resumes(self, loop: Any) -> None:
        self.run.resumes = resumption(loop)

    def ends(self, loop: Any, error: BaseException | None) -> None:
        """Report the end of the run, and of all that is still open."""
        if self._is_over():
            return
        if not self._started:
            self._started = True
            if self.observer.interest & events.RunStarted.bit:
                self.observer.emit(events.RunStarted(self.run, loop.input, False, time_ns()))
        try:
            end, error = self._how(loop, error)
        except Exception:  # noqa: BLE001 - an exception of the user's, which does not like to be looked at
            end = End.OK if error is None else End.ERROR
        shown = None if isinstance(error, GraphInterrupt | ParentCommand) else error
        self._end_run(end, shown, _interrupts(error), loop.step, getattr(loop, "output", None))

    def is_left_behind(self) -> None:
        """Report the end of the run, whose caller has ended; LangGraph may let it go on for a while."""
        if self._started and not self._is_over():
            self._end_run(End.CANCELLED, None, (), self._step or 0, None)

    def _is_over(self) -> bool:
        """Whether the end of the run was reported; the first who asks is to do it."""
        with self._lock:
            over, self._over = self._over, True
        return over

    def _end_run(
        self, end: End, error: BaseException | None, interrupts: tuple[Any, ...], step: int, result: Any
    ) -> None:
        run, observer = self.run, self.observer
        if self._step is not None:
            self.breaks(end)
        if end is End.INTERRUPTED and run.parent is None and observer.interest & events.RunInterrupted.bit:
            observer.emit(events.RunInterrupted(run, step, interrupts, time_ns()))
        self._lineage.forget()
        self.observer = _NOBODY
        if isinstance(run.parent, NodeTask) and run.parent.inside:
            run.parent.inside.pop(self, None)
        if observer.interest & events.RunEnded.bit:
            observer.emit(events.RunEnded(run, end, result, error, interrupts, step, time_ns()))

    def _how(self, loop: Any, error: BaseException | None) -> tuple[End, BaseException | None]:
        """Tell how the run ends, and what its caller is about to see raised."""
        if error is not None:
            return self._end_of(error), error
        if loop.status == "out_of_steps":
            limit = loop.config.get("recursion_limit")
            said = f"Recursion limit of {limit} reached without hitting a stop condition."
            return End.RECURSION_LIMIT, GraphRecursionError(said)
        if loop.status == "draining":
            return End.DRAINED, GraphDrained(getattr(loop.control, "drain_reason", None) or "shutdown")
        return End.OK, None

    def _end_of(self, error: BaseException) -> End:
        if isinstance(error, GraphBubbleUp):
            return _END_OF_BUBBLES.get(type(error), End.DRAINED)
        if isinstance(error, GraphRecursionError):
            return End.RECURSION_LIMIT
        if isinstance(error, GeneratorExit) or _was_left(error):
            return End.ABANDONED
        if not isinstance(error, Exception):
            return End.CANCELLED
        for task in self._open.values():
            if task.left_by is error and task.end is not None:
                return task.end
        return End.ERROR

    # -- one superstep -------------------------------------------------------------------------------

    def takes_a_break(self) -> bool:
        """Whether a superstep has just begun, and nothing runs yet that could be kept waiting; true once."""
        may, self._may_wait = self._may_wait, False
        return may and self.audience.stream.has_receivers

    def superstep_starts(self, loop: Any) -> None:
        """Report a superstep, the start of its tasks, and the end of those an earlier run has finished."""
        observer, step, now = self.observer, loop.step, time_ns()
        made = [self._task(loop, executable) for executable in loop.tasks.values()]
        tasks = tuple([task for task in made if not task.hidden])
        self._step, self.closing, self._may_wait, self._visible = step, False, True, bool(tasks)
        if not tasks:
            return
        self._channels = loop.channels
        if observer.interest & events.SuperstepStarted.bit:
            observer.emit(events.SuperstepStarted(self.run, step, tasks, now))
        if observer.interest & events.TaskStarted.bit:
            for task in tasks:
                observer.emit(events.TaskStarted(task, now))
        self._channels = None

    def sources_of(self, task: NodeTask) -> tuple[tuple[str, NodeTask], ...]:
        """Return what triggered ``task``, as long as its superstep begins; then nothing."""
        if self._channels is None:
            return ()
        failed = _place_of_the_failed(task.path)
        if failed is not None:
            return tuple((words.ERROR, one) for one in self._open.values() if one.path[:3] == failed)
        return self._lineage.sources(task, self._channels)

    def writes_are_in(self, loop: Any) -> None:
        """Take note of what the tasks are about to write to the channels."""
        self.closing = True
        done = [(self._open[id], one) for id, one in loop.tasks.items() if id in self._open]
        if len(done) > 1:
            done.sort(key=lambda pair: task_path_str(pair[1].path[:3]))
        self._lineage.remember([(task, one.writes) for task, one in done], loop.channels)

    def superstep_ends(self, loop: Any) -> None:
        """Report the end of the superstep, once its writes are applied."""
        if self._step is None:
            return
        updated = None if self.brief else loop.updated_channels
        wrote = frozenset(updated).intersection(_names(loop.stream_keys)) if updated else frozenset()
        self._close(End.OK, wrote)

    def breaks(self, end: End) -> None:
        """Report the end of a superstep that was not completed."""
        if self._step is not None:
            self._close(end, frozenset())

    def _close(self, end: End, wrote: frozenset[str]) -> None:
        observer, step = self.observer, self._step
        assert step is not None
        self._step, self.closing = None, False
        tasks, self._open = self._open, {}
        for task in tasks.values():
            if task.end is None:
                self._end_task(None, task, _unsaid_end(task.left_by), (), cached=False)
        if self._visible and observer.interest & events.SuperstepEnded.bit:
            observer.emit(events.SuperstepEnded(self.run, step, end, wrote, time_ns()))

    # -- tasks ---------------------------------------------------------------------------------------

    def task_joins(self, loop: Any, executable: Any, failed: Any = None) -> None:
        """Report a task that the superstep did not begin with: a call, or the handler of what ``failed``."""
        with self._lock:
            if executable is None or executable.id in self._open:
                return
            task = self._task(loop, executable)
            self._visible = self._visible or not task.hidden
        # What a task calls itself, nobody else has triggered.
        self._channels = {} if failed is None else loop.channels
        if self.observer.interest & events.TaskStarted.bit:
            self.observer.emit(events.TaskStarted(task, time_ns()))
        self._channels = None

    def call_joins(self, loop: Any, executable: Any) -> None:
        """Report a functional task that was called; one that was cached, or had finished, ends, too."""
        self.task_joins(loop, executable)
        if executable is not None and executable.writes:
            self.task_wrote(loop, executable.id, executable.writes, cached=True)

    def _task(self, loop: Any, executable: Any) -> NodeTask:
        config = executable.config or {}
        task = NodeTask(self, self.run, executable, loop.step, config)
        remember(task, config)
        self._open[task.id] = task
        _REPLACE(executable, "proc", Attempts(executable.proc, task))
        return task

    def task_wrote(self, loop: Any, id: str, writes: Sequence[tuple[str, Any]], *, cached: bool) -> None:
        """Report the end of a task, now that its writes are known."""
        task = self._open.get(id)
        if task is None or task.end is not None or self._step is None:
            return
        names = set(map(_NAME, writes))
        if names <= _ANSWERS:
            return
        if words.ERROR in names:
            error = next(value for name, value in writes if name == words.ERROR)
            task.left_by = error if isinstance(error, BaseException) else RestoredError(error)
            end = _END_OF_ERRORS.get(type(error).__name__, End.ERROR)
        else:
            end = End.INTERRUPTED if words.INTERRUPT in names else End.OK
        self._end_task(loop, task, end, writes, cached=cached)

    def _end_task(
        self, loop: Any, task: NodeTask, end: End, writes: Sequence[tuple[str, Any]], *, cached: bool
    ) -> None:
        task.end = end
        for tap in tuple(task.inside or ()):
            tap.is_left_behind()
        executable, task.executable = task.executable, None
        forget(task)
        if task.going is not None:  # it is stopped, and has not noticed yet
            task.failed = (task.going, task.left_by or CancelledError(), time_ns())
            task.going = None
        if task.failed is not None:
            tries.report_failed(self, task, None)
        handoff = task.left_by if isinstance(task.left_by, ParentCommand) and end is End.OK else None
        if handoff is not None:
            task.routes = ((task.node, tuple(destinations(handoff.args[0]))), *task.routes)
        if task.routes:
            tries.report_routes(self, task)
        observer = self.observer
        task.late = task.late or 0  # what is written on its behalf from now on comes too late
        if task.hidden or not observer.interest & events.TaskEnded.bit:
            return
        update = values = None
        interrupts: tuple[Any, ...] = ()
        result: Mapping[str, Any] = {}
        ok = end is End.OK or end.failed  # a node whose edge raises has written
        if writes and executable is not None and not self.brief:
            update, result = payloads(loop, executable, writes, ok=ok, cached=cached)
            if end is End.INTERRUPTED and not _is_call(task):
                interrupts = tuple(_flat(value for name, value in writes if name == words.INTERRUPT))
                values = read_channels(loop.channels, loop.output_keys)
        error = None if end is End.OK or end is End.INTERRUPTED else task.left_by
        # What a subgraph has handed off to the graph of this task is this task's, and written.
        hands_off = handoff is not None and not writes
        observer.emit(
            events.TaskEnded(
                task, end, update, result, error, interrupts, cached, time_ns(), values, hands_off
            )
        )

    # -- state ---------------------------------------------------------------------------------------

    def values_changed(self, loop: Any, values: Any) -> None:
        """Report the state."""
        self.observer.emit(events.ValuesChanged(self.run, loop.step, values, time_ns()))

    def checkpoint_saved(self, loop: Any, shown: Mapping[str, Any]) -> None:
        """Report a checkpoint, as LangGraph shows it."""
        self.observer.emit(
            events.CheckpointSaved(
                self.run,
                loop.step - 1,
                shown["config"],
                shown["parent_config"],
                shown["values"],
                shown["metadata"],
                tuple(shown["next"]),
                tuple(shown["tasks"]),
                time_ns(),
            )
        )

    def checkpoint_written(self, step: int, seconds: float) -> None:
        """Report that the checkpointer has stored a checkpoint."""
        if self.observer.interest & events.CheckpointWritten.bit:
            self.observer.emit(events.CheckpointWritten(self.run, step, seconds, time_ns()))


#: The channel of a write.
_NAME: Final = itemgetter(0)
#: Channels of what is written before a task has ended.
_ANSWERS = frozenset({words.RESUME})
_END_OF_BUBBLES = {GraphInterrupt: End.INTERRUPTED, ParentCommand: End.OK, GraphDrained: End.DRAINED}
_END_OF_ERRORS = {"CancelledError": End.CANCELLED, "NodeTimeoutError": End.TIMEOUT}


#: The type of ``aclose()`` of a generator, which nothing exports; a loop makes a task of it for a lost one.
_CLOSING: Final = "async_generator_athrow"


def _was_left(error: BaseException) -> bool:
    """Whether a stream was left, or is being closed by a loop that ends and cancels that, too."""
    if not isinstance(error, CancelledError):
        return False
    if any(type(said) is str and said == ABANDONED for said in error.args):
        return True
    task = current_task()
    return task is not None and type(task.get_coro()).__name__ == _CLOSING


def _interrupts(error: BaseException | None) -> tuple[Any, ...]:
    return tuple(error.args[0]) if isinstance(error, GraphInterrupt) and error.args else ()


def _unsaid_end(left_by: BaseException | None) -> End:
    """Tell the end of a task that LangGraph lets go without a word, by what its attempt raised."""
    return _END_OF_BUBBLES.get(type(left_by), End.CANCELLED)


def _place_of_the_failed(path: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return the place of the task that the handler at ``path`` is for; None if that is no handler's."""
    return path[:-2] if path[-2:] == ("node_error_handler", False) else None


def _names(keys: str | Sequence[str]) -> Sequence[str]:
    return (keys,) if isinstance(keys, str) else keys


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        yield from value if isinstance(value, tuple | list) else (value,)


def _is_call(task: NodeTask) -> bool:
    """Whether it is the call of a functional task: what it asks, its caller asks."""
    return task.path[:1] == (words.PUSH,) and task.path[-1] is True
