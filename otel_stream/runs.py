"""What events are about: runs and tasks, which last as long as what they name, and how they end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Context
from enum import Enum
from functools import cached_property
from typing import Any

import msgspec


class End(Enum):
    """How a run, or one task of it, came to its end. Only the last four are failures."""

    OK = "ok"
    #: Waits for a ``Command(resume=...)`` or a breakpoint to be passed.
    INTERRUPTED = "interrupted"
    #: Cancelled from outside, or because a sibling failed.
    CANCELLED = "cancelled"
    #: Whoever consumed the stream left before its end.
    ABANDONED = "abandoned"
    #: A graceful stop that was asked for at a superstep boundary.
    DRAINED = "drained"
    ERROR = "error"
    TIMEOUT = "timeout"
    RECURSION_LIMIT = "recursion_limit"

    @property
    def failed(self) -> bool:
        """Whether this end counts as an error."""
        return self in _FAILURES


_FAILURES = frozenset({End.ERROR, End.TIMEOUT, End.RECURSION_LIMIT})
_STOPPED = frozenset({None, End.CANCELLED, End.ABANDONED, End.TIMEOUT})


class Resumption(msgspec.Struct, frozen=True):
    """Where an earlier run has left off.

    ``run_id`` and ``traceparent`` are that run's, None if it was not traced; ``interrupts`` are the ids of
    those that are answered now.
    """

    checkpoint_id: str
    run_id: str | None = None
    traceparent: str | None = None
    interrupts: tuple[str, ...] = ()


class Structure:
    """What a graph was declared to be: its nodes and edges, worked out when somebody asks first.

    ``describe`` returns them as values that JSON knows; what it raises, who asks first is told.
    """

    def __init__(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        self._describe: Callable[[], Mapping[str, Any]] | None = describe

    @cached_property
    def text(self) -> str:
        """The nodes and edges as JSON, the same text for the same graph."""
        assert self._describe is not None
        said = msgspec.json.encode(self._describe(), order="deterministic").decode()
        self._describe = None  # it holds the graph
        return said

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits by which ``text`` is known."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


class Run:
    """One execution of one graph; a subgraph's execution is a run with a ``parent`` task."""

    __slots__ = (
        "context",
        "declared",
        "graph",
        "id",
        "metadata",
        "names",
        "ns",
        "parent",
        "resumes",
        "span_id",
        "tags",
        "telemetry",
        "thread_id",
        "trace_id",
        "traceparent",
    )

    def __init__(
        self,
        id: str,
        graph: str,
        *,
        context: Context,
        ns: tuple[str, ...] = (),
        parent: Task | None = None,
        thread_id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        names: Collection[str] = (),
        declared: Structure | None = None,
    ) -> None:
        self.id = id
        self.graph = graph
        #: Path from the root, one ``"<node>:<task id>"`` per level; ``()`` at the root.
        self.ns = ns
        #: The task this run is a subgraph of.
        self.parent = parent
        self.thread_id = thread_id
        self.tags = tuple(tags)
        self.metadata: Mapping[str, Any] = metadata or {}
        #: What the graph's channels are called. Any other key of a state or an update is the user's.
        self.names = names
        #: The caller's context variables; every task's context is a copy.
        self.context = context
        #: 32 and 16 hexadecimal digits, written by telemetry when the run is traced.
        self.trace_id: str | None = None
        self.span_id: str | None = None
        #: The same as a W3C ``traceparent``: an engine keeps it with its checkpoints, for a run to go on.
        self.traceparent: str | None = None
        #: What it goes on from; None for a run that starts over.
        self.resumes: Resumption | None = None
        #: What its graph was declared to be; None where nobody can tell.
        self.declared = declared
        #: A slot for telemetry's own bookkeeping.
        self.telemetry: Any = None

    @property
    def root(self) -> Run:
        """The outermost run: itself unless this is a subgraph. Not stored, so that no run is a circle."""
        return self if self.parent is None else self.parent.run.root

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, graph={self.graph!r}, ns={self.ns!r})"


class Task:
    """One scheduled execution of a node in one superstep, all its attempts included."""

    __slots__ = (
        "_id",
        "attempt",
        "end",
        "input",
        "late",
        "metadata",
        "node",
        "path",
        "run",
        "span_id",
        "step",
        "telemetry",
        "trace_id",
        "triggers",
    )

    def __init__(
        self,
        run: Run,
        node: str,
        step: int,
        *,
        input: Any = None,
        triggers: tuple[str, ...] = (),
        path: tuple[Any, ...] = (),
        id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.run = run
        self.node = node
        self.step = step
        #: The state the node is called with; a ``Send``'s own argument for a pushed task.
        self.input = input
        #: Names of the channels whose update scheduled this task.
        self.triggers = triggers
        #: What orders the writes of one superstep.
        self.path = path
        #: 1 for the first attempt.
        self.attempt = 1
        self.metadata: Mapping[str, Any] = metadata or {}
        self.trace_id: str | None = None
        self.span_id: str | None = None
        self.telemetry: Any = None
        #: How it ended; None as long as it has not.
        self.end: End | None = None
        #: Set when its end is told: how often something was to be shown of it, or on its behalf, after that.
        self.late: int | None = None
        self._id = id

    @property
    def id(self) -> str:
        """Identity of the task: the same when the run is resumed."""
        if self._id is None:
            self._id = self._make_id()
        return self._id

    def _make_id(self) -> str:
        raise NotImplementedError("a task is given its id, or knows how to make it")

    @property
    def was_stopped(self) -> bool:
        """Whether it was ended by its run, and not by what its node returned or raised."""
        return self.end in _STOPPED

    @property
    def retryable(self) -> bool:
        """Whether a failing attempt may be followed by another one."""
        return False

    @property
    def sources(self) -> tuple[tuple[str, Task], ...]:
        """The tasks whose writes scheduled this one, each with the channel, or edge, it wrote to.

        Known when the task starts; empty for what the run's input scheduled, or what was pending in the
        checkpoint that the run went on from.
        """
        return ()

    def __repr__(self) -> str:
        return f"Task(id={self.id!r}, node={self.node!r}, step={self.step!r})"
