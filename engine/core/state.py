"""What the decisions of ``superstep.py`` work on: the state of a run, its tasks, and what they write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from otel_stream.events import End, Run, Task

from ..channels import Channel
from ..errors import is_invalid_resume
from ..graph.node import NO_WRITES, Node, Writes
from ..policies import TimeoutPolicy
from ..types import INTERRUPT
from .lineage import sources_of

#: Who writes what comes from outside: input, and commands.
INPUT = "__input__"
PULL = "__pregel_pull"
PUSH = "__pregel_push"
ERROR = "__error__"
#: Beside ERROR: an error handler takes over.
ERROR_SOURCE = "__error_source_node__"
RESUME = "__resume__"
RETURN = "__return__"
#: Writes that are not for a channel.
CONTROL = frozenset({NO_WRITES, PUSH, RESUME, INTERRUPT, RETURN, ERROR, ERROR_SOURCE})


class State:
    """The channels of one run and, where a checkpoint or breakpoint needs them, their versions."""

    __slots__ = ("channels", "checkpoint_id", "live", "next_version", "seen", "track", "version", "versions")

    def __init__(
        self,
        channels: dict[str, Channel],
        *,
        checkpoint_id: str,
        track: bool,
        next_version: Callable[[Any, None], Any] | None = None,
    ) -> None:
        self.channels = channels
        #: What the ids of this superstep's tasks derive from.
        self.checkpoint_id = checkpoint_id
        #: Whether versions are kept at all; a run that can't be resumed or paused needs none.
        self.track = track
        self.next_version = next_version or _increment
        self.version: Any = None
        self.versions: dict[str, Any] = {}
        #: node → channel → version the node has acted on.
        self.seen: dict[str, dict[str, Any]] = {}
        #: Transient channels that hold a value, and must be cleared unless written again.
        self.live: set[str] = set()

    def load(
        self, values: Mapping[str, Any], versions: dict[str, Any], seen: dict[str, dict[str, Any]]
    ) -> None:
        """Take over what a checkpoint stored."""
        for name, value in values.items():
            channel = self.channels.get(name)
            if channel is not None:
                channel.load(value)
                if channel.transient and channel.available:
                    self.live.add(name)
        self.versions = versions
        self.seen = seen
        self.version = max(versions.values()) if versions else None


def _increment(current: Any, _channel: None) -> int:
    return 1 if current is None else current + 1


class GraphRun(Run):
    """A run, where its checkpoints are, and the rules of its state."""

    __slots__ = ("channels", "path")

    def __init__(
        self,
        id: str,
        graph: str,
        *,
        path: tuple[str, ...],
        ns: tuple[str, ...] = (),
        channels: Mapping[str, Channel] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(id, graph, ns=ns, **rest)
        #: The graph's channels, none of them in use: they know how writes are merged.
        self.channels = channels or {}
        #: The namespace of its checkpoints. Its parts go under ``ns``, which begins where the stream does.
        self.path = path

    def merge(self, key: str, old: Any, new: Any) -> Any:
        """Return the one write to ``key`` that does what ``old`` and then ``new`` do."""
        channel = self.channels.get(key)
        return new if channel is None else channel.merge(old, new)


def path_of(run: Run) -> tuple[str, ...]:
    """Return the namespace of a run's checkpoints."""
    return run.path if isinstance(run, GraphRun) else run.ns


class NodeTask(Task):
    """A task together with what running it produces."""

    __slots__ = (
        "answered",
        "answers",
        "asked",
        "cached",
        "caller",
        "calls",
        "end",
        "error",
        "failure",
        "first_attempt_at",
        "interrupts",
        "loop",
        "progress",
        "pushed",
        "seed",
        "spec",
        "subgraphs",
        "thread",
        "timeout",
        "writes",
    )

    def __init__(
        self,
        run: Run,
        spec: Node,
        step: int,
        *,
        seed: str,
        input: Any,
        path: tuple[Any, ...],
        triggers: tuple[str, ...],
        timeout: TimeoutPolicy | None = None,
    ) -> None:
        # Spelled out instead of super().__init__: this runs once per task, on the hot path.
        self.run = run
        self.spec = spec
        self.node = spec.name
        self.step = step
        self.seed = seed
        self.input = input
        self.path = path
        self.triggers = triggers
        self.timeout: TimeoutPolicy | None = timeout if timeout is not None else spec.timeout
        self.attempt = 1
        self.metadata = spec.metadata or {}
        self.trace_id = self.span_id = self.telemetry = self._id = None
        #: What its writes were: None until it has ended.
        self.writes: Writes | None = None
        self.end: End | None = None
        self.error: BaseException | None = None
        self.interrupts: tuple[Any, ...] = ()
        #: Answers to its interrupts, in the order they are asked.
        self.answers: Sequence[Any] = ()
        #: The answers this attempt has come by, for its checkpoint.
        self.answered: Sequence[Any] = ()
        #: For an error handler: what it is to handle.
        self.failure: Any = None
        self.cached = False
        #: Who has called a functional task; its interrupts are the caller's.
        self.caller: NodeTask | None = None
        #: How many interrupts, and functional calls, this attempt has come by so far.
        self.asked = 0
        self.calls = 0
        #: What it has written to the state while it still runs.
        self.pushed: Writes | None = None
        #: How many graphs it has called, in all attempts: none goes on from what a failed one has kept.
        self.subgraphs = 0
        #: The call of its sync code in a thread, if there was one.
        self.thread: Any = None
        #: The loop that scheduled it.
        self.loop: Any = None
        #: What to call when the node shows that it is alive; set while an idle timeout runs.
        self.progress: Callable[[], None] | None = None
        #: Seconds since the epoch.
        self.first_attempt_at: float | None = None

    def _make_id(self) -> str:
        """Derive the id from the checkpoint and the task's place, so that a resumed run finds it again."""
        place = f"{self.seed}\0{path_of(self.run)}\0{self.step}\0{self.node}\0{self.path}"
        digest = blake2b(place.encode(), digest_size=16).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"

    @property
    def is_pushed(self) -> bool:
        """Whether a ``Send`` scheduled it."""
        return self.path[0] == PUSH and isinstance(self.path[1], int)

    @property
    def retryable(self) -> bool:
        """Whether a failing attempt may be followed by another one."""
        return bool(self.spec.retry) and self.spec.retryable

    @property
    def sources(self) -> tuple[tuple[str, Task], ...]:
        """The tasks whose writes scheduled this one, each with the channel; while it has not ended."""
        return () if self.caller is not None or self.loop is None else sources_of(self)

    @property
    def failed(self) -> bool:
        """Whether it ended in an error that nobody handles, and that takes the others down with it."""
        if self.end is None or not self.end.failed or self.spec.error_handler is not None:
            return False
        # An answer that did not fit concerns one question; what was done with the others' is kept.
        return self.error is None or not is_invalid_resume(self.error)

    @property
    def ns(self) -> str:
        """The namespace of the task: ``node:id`` below its run's, or its caller's.

        Its subgraph's checkpoints are under it.
        """
        name = f"{self.node}:{self.id}"
        return "|".join((*path_of(self.run), name)) if self.caller is None else f"{self.caller.ns}|{name}"


class Writer(Protocol):
    """Whatever has written: a task, or one of the pseudo-tasks below."""

    @property
    def node(self) -> str: ...
    @property
    def triggers(self) -> tuple[str, ...]: ...
    @property
    def writes(self) -> Sequence[tuple[str, Any]] | None: ...


class Written(NamedTuple):
    """Writes that no node made: input, commands, ``update_state``."""

    node: str
    triggers: tuple[str, ...]
    writes: Sequence[tuple[str, Any]]
