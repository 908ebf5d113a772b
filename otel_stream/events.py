"""The vocabulary: everything an engine can report, and who listens.

Rules of this file
------------------
1. It is a leaf: it imports nothing else of ours, no OpenTelemetry, no event loop.
2. An event is immutable and carries references, never copies: converting payloads is
   the consumer's business, at the very end of its path.
3. An engine asks ``observer.interest`` before it builds an event, so that what nobody
   wants costs one integer test.

``Run`` and ``Task`` are the two things events are *about*. They are identities that live as
long as what they name, shared by all their events; an observer may write the ids of the
trace onto them, which is how a stream part and its span come to share one origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from typing import Any, ClassVar, Protocol

import msgspec

# What events are about belongs to the vocabulary; it has files of its own because it has state.
from otel_stream.calls import Call as Call
from otel_stream.runs import End as End
from otel_stream.runs import Resumption as Resumption
from otel_stream.runs import Run as Run
from otel_stream.runs import Structure as Structure
from otel_stream.runs import Task as Task


class Event(msgspec.Struct, frozen=True):
    """Something that happened. ``time`` is in nanoseconds since the Unix epoch."""

    #: One bit per kind of event, for :attr:`Observer.interest`.
    bit: ClassVar[int] = 0


class RunStarted(Event, frozen=True):
    """The first event of every run. ``resumed``: it goes on from a checkpoint."""

    bit: ClassVar[int] = 1 << 0
    run: Run
    input: Any
    resumed: bool
    time: int


class RunEnded(Event, frozen=True):
    """The last event of every run, exactly once, however it ended.

    ``error`` is what the caller is about to see raised; ``interrupts`` what the run waits for.
    """

    bit: ClassVar[int] = 1 << 1
    run: Run
    end: End
    result: Any
    error: BaseException | None
    interrupts: tuple[Any, ...]
    step: int
    time: int


class SuperstepStarted(Event, frozen=True):
    """All ``tasks`` of the superstep are about to run side by side."""

    bit: ClassVar[int] = 1 << 2
    run: Run
    step: int
    tasks: tuple[Task, ...]
    time: int


class SuperstepEnded(Event, frozen=True):
    """Every task has ended and, if ``end`` is OK, their writes have been applied.

    ``wrote`` names the channels that changed.
    """

    bit: ClassVar[int] = 1 << 3
    run: Run
    step: int
    end: End
    wrote: frozenset[str]
    time: int


class TaskStarted(Event, frozen=True):
    """Always followed by exactly one :class:`TaskEnded` of the same task."""

    bit: ClassVar[int] = 1 << 4
    task: Task
    time: int


class AttemptStarted(Event, frozen=True):
    """The node's code is about to be called inside ``context``.

    An observer may set context variables in ``context`` (``context.run(var.set, ...)``); they
    are seen by user code and vanish with the attempt, so nothing ever needs to be detached.
    ``retryable`` tells that the node has a retry policy that allows more than one attempt.
    """

    bit: ClassVar[int] = 1 << 5
    task: Task
    attempt: int
    context: Context
    retryable: bool
    time: int


class AttemptEnded(Event, frozen=True):
    """``retry_after`` is the pause before the next attempt in seconds, None if this was the last.

    ``retryable`` as in :class:`AttemptStarted`.
    """

    bit: ClassVar[int] = 1 << 6
    task: Task
    attempt: int
    error: BaseException | None
    retry_after: float | None
    time: int
    retryable: bool = False


class TaskEnded(Event, frozen=True):
    """The task's writes are known.

    ``update``: what the node returned, by LangGraph's rule for *updates*: a mapping, a list of
    mappings if it wrote one key more than once, or None if it wrote no output key.
    ``result``: the same writes, channel by channel, for *tasks*.
    ``cached``: they come from the cache or a checkpoint; the node was not called.
    ``values``: the state to show beside ``interrupts``, None if there are none.
    ``hands_off``: it ended with commands for the graph around, and has no update of its own.
    """

    bit: ClassVar[int] = 1 << 7
    task: Task
    end: End
    update: Any
    result: Mapping[str, Any]
    error: BaseException | None
    interrupts: tuple[Any, ...]
    cached: bool
    time: int
    values: Any = None
    hands_off: bool = False


class ValuesChanged(Event, frozen=True):
    """The complete state after input or a superstep, if an output channel changed."""

    bit: ClassVar[int] = 1 << 8
    run: Run
    step: int
    values: Any
    time: int


class CheckpointSaved(Event, frozen=True):
    """A checkpoint exists and the tasks that come next are known.

    ``tasks`` are mappings in the form of LangGraph's *checkpoints* mode.
    """

    bit: ClassVar[int] = 1 << 9
    run: Run
    step: int
    config: Mapping[str, Any]
    parent_config: Mapping[str, Any] | None
    values: Any
    metadata: Mapping[str, Any]
    next: tuple[str, ...]
    tasks: tuple[Mapping[str, Any], ...]
    time: int


class CustomWritten(Event, frozen=True):
    """A node wrote ``data`` through its ``StreamWriter``."""

    bit: ClassVar[int] = 1 << 10
    task: Task
    data: Any
    time: int


class MessageWritten(Event, frozen=True):
    """A chunk of a message, or a whole one, of a chat model called in a node."""

    bit: ClassVar[int] = 1 << 11
    task: Task
    chunk: Any
    metadata: Mapping[str, Any]
    time: int


class ToolReported(Event, frozen=True):
    """A tool that a node has called begins, has something to show, or ends.

    ``data`` is a mapping: ``event`` is ``tool-started``, ``tool-output-delta``, ``tool-finished`` or
    ``tool-error``, ``tool_call_id`` says which call it is of.
    """

    bit: ClassVar[int] = 1 << 16
    task: Task
    data: Mapping[str, Any]
    time: int


class RunInterrupted(Event, frozen=True):
    """The run stops and waits. ``interrupts`` is empty at a static breakpoint.

    Comes before :class:`RunEnded`; a task's own ``interrupt()`` is in its :class:`TaskEnded` too.
    """

    bit: ClassVar[int] = 1 << 12
    run: Run
    step: int
    interrupts: tuple[Any, ...]
    time: int


class RouteChosen(Event, frozen=True):
    """A conditional edge, or a ``Command(goto=...)``, of ``task`` chose where to go next."""

    bit: ClassVar[int] = 1 << 13
    task: Task
    source: str
    targets: tuple[str, ...]
    time: int


class CheckpointWritten(Event, frozen=True):
    """A checkpointer has stored a checkpoint, ``seconds`` after it was asked to.

    ``size``: in bytes, as it was serialised; None if it was not.
    """

    bit: ClassVar[int] = 1 << 14
    run: Run
    step: int
    seconds: float
    time: int
    size: int | None = None


class MessageReturned(Event, frozen=True):
    """A node of the root returned a message that only its subgraphs had shown: for who sees no subgraphs."""

    bit: ClassVar[int] = 1 << 15
    task: Task
    chunk: Any
    metadata: Mapping[str, Any]
    time: int


class CallStarted(Event, frozen=True):
    """A node calls a model, a tool or a retriever. Told where that happens, before it does.

    An observer may give the call a ``context`` for what is done inside it.
    """

    bit: ClassVar[int] = 1 << 17
    task: Task
    call: Call
    time: int


class CallEnded(Event, frozen=True):
    """The call is over: its answer is complete, it was left, or it raised ``error``."""

    bit: ClassVar[int] = 1 << 18
    task: Task
    call: Call
    error: BaseException | None
    time: int


EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    RunEnded,
    SuperstepStarted,
    SuperstepEnded,
    TaskStarted,
    AttemptStarted,
    AttemptEnded,
    TaskEnded,
    ValuesChanged,
    CheckpointSaved,
    CustomWritten,
    MessageWritten,
    RunInterrupted,
    RouteChosen,
    CheckpointWritten,
    MessageReturned,
    ToolReported,
    CallStarted,
    CallEnded,
)

#: Interest in everything.
ALL = (1 << len(EVENTS)) - 1


def origin(event: Event) -> Run | Task:
    """Return what an event is about: the task if it has one, else the run."""
    task = getattr(event, "task", None)
    return task if task is not None else event.run  # type: ignore[attr-defined, no-any-return]


class Observer(Protocol):
    """What an engine knows of its audience."""

    #: The bits of the events that somebody wants *now*; it may change while a run goes on.
    interest: int

    def emit(self, event: Event) -> None:
        """Take note of ``event``. O(1), from any thread; never raises, never blocks."""

    async def drain(self) -> None:
        """Wait until every ``block`` receiver has room again; at superstep boundaries."""
