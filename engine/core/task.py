"""A task, and what it runs in: the values all tasks of a run share, and what they may ask of whom.

Nothing here runs anything. What executes tasks, keeps checkpoints and hears LangChain is further up; its
shape, as tasks see it, is declared here, so that a task's ``env`` has a type without an import upwards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from otel_stream.events import End, Observer, Resumption, Run, Structure, Task

from ..channels import Channel
from ..errors import NodeError, is_invalid_resume
from ..graph.node import Callback, Node, Writes
from ..graph.program import Program, View
from ..graph.spec import GraphSpec
from ..policies import TimeoutPolicy
from ..types import Config, Interrupt
from .continuation import Continuation
from .lineage import Lineage
from .naming import OWN, Naming
from .state import PUSH, State


class GraphRun(Run):
    """A run, where its checkpoints are, and the rules of its state."""

    __slots__ = ("channels", "naming", "path")

    def __init__(
        self,
        id: str,
        graph: str,
        *,
        context: Context,
        path: tuple[str, ...],
        ns: tuple[str, ...] = (),
        channels: Mapping[str, Channel] | None = None,
        naming: Naming = OWN,
        parent: Task | None = None,
        thread_id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        declared: Structure | None = None,
    ) -> None:
        #: The graph's channels, none of them in use: they know how writes are merged.
        self.channels = channels or {}
        super().__init__(
            id,
            graph,
            context=context,
            ns=ns,
            parent=parent,
            thread_id=thread_id,
            tags=tags,
            metadata=metadata,
            names=self.channels,
            declared=declared,
        )
        #: The namespace of its checkpoints. Its parts go under ``ns``, which begins where the stream does.
        self.path = path
        self.naming = naming

    def goes_on_from(self, earlier: Resumption) -> None:
        """Say where an earlier run has left off, before anybody is told that this one starts."""
        self.resumes = earlier

    def names_by(self, naming: Naming) -> None:
        """Say how its tasks are named, before any of them is."""
        self.naming = naming

    def merge(self, key: str, old: Any, new: Any) -> Any:
        """Return the one write to ``key`` that does what ``old`` and then ``new`` do."""
        channel = self.channels.get(key)
        return new if channel is None else channel.merge(old, new)


def path_of(run: Run) -> tuple[str, ...]:
    """Return the namespace of a run's checkpoints."""
    return run.path if isinstance(run, GraphRun) else run.ns


def without_ids(namespace: str) -> str:
    """Return a namespace by the names of its nodes alone: the same in every run."""
    return "|".join(part.split(":")[0] for part in namespace.split("|"))


# -- whom a task may ask ---------------------------------------------------------------------------

RunOne = Callable[["NodeTask"], Awaitable[None]]
#: Runs a task that another one has called, and returns its result.
RunCall = Callable[["NodeTask"], Coroutine[Any, Any, Any]]
#: Takes note of a task's end. Returns what to await for it, if anything, and that the tasks that take over.
Done = Callable[["NodeTask"], Awaitable["list[NodeTask] | None"] | None]


class Executor(Protocol):
    """Runs user code. ``run_all`` is where supersteps spend their time."""

    #: Whether there is an event loop to await on.
    is_async: bool
    #: What a run to its end is awaited within so that it can be left; None where it can be as it is.
    scope: AbstractContextManager[Any] | None
    #: Whether even a lone task must go through ``run_all``, instead of running where the loop runs.
    live: bool

    async def call(
        self, callback: Callback, context: Context, value: Any, kwargs: dict[str, Any] | None
    ) -> Any:
        """Call user code inside ``context``; raises what it raises."""

    async def limited(self, task: NodeTask, context: Context, kwargs: dict[str, Any] | None) -> Any:
        """Call a task's node under its timeout policy; raises NodeTimeoutError."""

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""

    async def run_all(self, tasks: Sequence[NodeTask], run_one: RunOne, done: Done) -> None:
        """Run tasks side by side and await ``done`` for each as it ends, never two at once.

        The first task that ``failed`` stops the others: they are waited for, and those behind it that have
        not begun never do.
        """

    def spawn(self, task: NodeTask, run: RunCall) -> Any:
        """Run a task beside the one that has called it; return a future of its result. From any thread."""

    async def settle(self, spawned: Sequence[Any], *, cancel: bool) -> None:
        """Wait until what was spawned has ended, cancelled if so wished; never raises what it raised."""

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether ``error`` is how code is stopped here, or a group of nothing else, and no failure of it."""
        ...

    def cancelled_itself(self, error: BaseException) -> bool:
        """Whether user code raised a cancellation that nobody had asked for."""
        ...

    def begin(self, context: Context) -> None:
        """Take note of where the run goes on, all of whose code has copies of ``context``."""

    def leave(self) -> bool:
        """Stop the run, from any thread; return whether this one can wait for that, and need not run it."""
        ...

    def close(self) -> None:
        """Let go of what the executor holds."""


class Memory(Protocol):
    """What a run keeps for those that go on from it: its checkpoints, as its tasks see them."""

    #: The checkpointer, as subgraphs inherit it.
    checkpointer: Any
    durability: str
    #: What tasks have written at the checkpoint where the run is: (task id, channel, value).
    pending: list[tuple[str, str, Any]]

    async def keep(self, task_id: str, writes: Sequence[tuple[str, Any]]) -> None:
        """Keep a task's writes until the superstep is over."""

    def of_task(self, task_id: str) -> Writes:
        """Return what was kept of a task."""
        ...

    def outcome_of(self, task_id: str) -> Writes:
        """Return what a task has written, if it has finished."""
        ...

    def answers_of(self, task_id: str) -> Sequence[Any]:
        """Return the answers a task has been given before."""
        ...

    def take_answer(self, *, keep: bool = False) -> Any:
        """Take the one answer that was given without an interrupt id; MISSING if none is, or it is taken.

        ``keep``: only look at it.
        """


#: What callbacks still have to do, to be awaited; None: nothing.
Later: TypeAlias = Awaitable[None] | None


class ModelCalls(Protocol):
    """Lets LangChain's calls in nodes inherit the run's config, and shows their messages."""

    @property
    def tells(self) -> bool:
        """Whether there are callbacks to be told of what runs."""
        ...

    def begin(self, env: RunEnv, input: Any) -> Later:
        """Tell the callbacks of the run's config that it starts."""

    def resumed(self, env: RunEnv) -> Later:
        """Tell the callbacks that the run goes on from a checkpoint."""

    def interrupted(self, env: RunEnv, status: str, interrupts: tuple[Any, ...]) -> Later:
        """Tell the callbacks that the run stops and waits."""

    def end(self, result: Any, error: BaseException | None) -> Later:
        """Tell the callbacks how the run ended."""

    def failed(self, task: NodeTask, error: BaseException) -> Later:
        """Tell the callbacks that a node raised."""

    def attempt(self, task: NodeTask, context: Context) -> Later:
        """Prepare for the calls of an attempt, which runs in ``context``."""

    def answer(self, task: NodeTask, answer: Any) -> Later:
        """Report messages that the node returns and that nobody has seen."""

    def complete(self, task: NodeTask, config: Config) -> None:
        """Add to a task's config what LangChain's and LangGraph's functions look for in it."""

    #: Ids of messages that were shown, and of those that only subgraphs have shown.
    seen: set[str]
    inside: set[str]

    def shown(self, task: Task, id: str) -> None:
        """Take note that ``task`` shows a message."""


# -- what tasks share ------------------------------------------------------------------------------


class Failing:
    """Whether a task of this run, or one around it, has failed for good: nothing new is begun then."""

    __slots__ = ("_around", "_given_up")

    def __init__(self, around: Failing | None) -> None:
        self._around = around
        self._given_up = False

    def give_up(self) -> None:
        """Tell the others of the superstep that they are in vain."""
        self._given_up = True

    @property
    def given_up(self) -> bool:
        """Whether there is no point in another attempt."""
        return self._given_up or (self._around is not None and self._around.given_up)


@dataclass(slots=True, kw_only=True, eq=False)
class RunEnv:
    """What a run's tasks share, the same from its start to its end."""

    spec: GraphSpec
    program: Program
    run: GraphRun
    config: Config
    executor: Executor
    observer: Observer | None
    #: What *values* and *updates* show, and what the result is made of.
    view: View
    output: View
    state: State
    lineage: Lineage
    failing: Failing
    #: What it hands to the runs inside it about going on.
    continuation: Continuation
    recursion_limit: int
    memory: Memory | None = None
    store: Any = None
    cache: Any = None
    context: Any = None
    control: Any = None
    langchain: ModelCalls | None = None
    parent_task: NodeTask | None = None
    #: Where its checkpoints are, and where those of the runs around it: namespace → id.
    checkpoint_ns: str = ""
    checkpoint_map: Mapping[str, str]
    #: Breakpoints.
    before: Any = ()
    after: Any = ()
    #: Awaited after every superstep; a run that is pulled by its caller waits here for its turn.
    drain: Callable[[], Awaitable[None]] | None = None

    def heard_by(self, langchain: ModelCalls | None) -> None:
        """Have LangChain heard from now on: a node may be the first to load it."""
        self.langchain = langchain

    def lies_in(self, checkpoints: Mapping[str, str]) -> None:
        """Say where the runs around it have their checkpoints, as what it goes on from knows."""
        self.checkpoint_map = checkpoints

    @property
    def around(self) -> RunEnv | None:
        """What the run around this one shares with its tasks."""
        return self.parent_task.env if self.parent_task is not None else None


class Scratchpad:
    """What a task notes down while it runs: what it asks, and whom it calls."""

    __slots__ = ("answered", "answers", "asked", "called", "calls", "context", "pushed", "subgraphs")

    def __init__(self) -> None:
        #: Answers to its interrupts, in the order they are asked.
        self.answers: Sequence[Any] = ()
        #: How many graphs it has called, in all attempts: none goes on from what a failed one has kept.
        self.subgraphs = 0
        #: For a functional task: the context that it was called in.
        self.context: Context | None = None
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Forget what the attempt before has come by."""
        #: The answers this attempt has come by, for its checkpoint.
        self.answered: Sequence[Any] = ()
        #: How many interrupts, and functional calls, it has come by so far.
        self.asked = 0
        self.calls = 0
        #: Those calls, each with its future.
        self.called: list[tuple[NodeTask, Any]] = []
        #: What it has written to the state while it still runs.
        self.pushed: Writes = []


#: Metadata that says where a task is, which its parts say anyway.
_PLACE = frozenset({"checkpoint_id", "checkpoint_map", "checkpoint_ns", "thread_id"})


class NodeTask(Task):
    """A task together with what running it produces."""

    __slots__ = (
        "cached",
        "caller",
        "env",
        "error",
        "first_attempt_at",
        "handles",
        "interrupts",
        "progress",
        "scratch",
        "seed",
        "spec",
        "thread",
        "timeout",
        "writes",
    )

    #: What it shares with the others of its run; a task that only stands for one, as in a snapshot, has none.
    env: RunEnv

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
        self.trace_id = self.span_id = self.telemetry = self.late = self._id = None
        #: What its writes were: None until it has ended.
        self.writes: Writes | None = None
        self.end: End | None = None
        self.error: BaseException | None = None
        self.interrupts: tuple[Any, ...] = ()
        #: For an error handler: the task that failed.
        self.handles: NodeTask | None = None
        self.cached = False
        #: Who has called a functional task; its interrupts are the caller's.
        self.caller: NodeTask | None = None
        #: Its notes, if it has made any; ``pad`` opens them.
        self.scratch: Scratchpad | None = None
        #: The call of its sync code in a thread, if there was one.
        self.thread: Any = None
        #: What to call when the node shows that it is alive; set while an idle timeout runs.
        self.progress: Callable[[], None] | None = None
        #: Seconds since the epoch.
        self.first_attempt_at: float | None = None

    def _make_id(self) -> str:
        """Derive the id from the checkpoint and the task's place, so that a resumed run finds it again."""
        return self.naming.task(self, self._around)

    @property
    def _around(self) -> tuple[str, ...]:
        """The namespace that it is in: its run's, or its caller's."""
        return path_of(self.run) if self.caller is None else (self.caller.ns,)

    @property
    def naming(self) -> Naming:
        """How it is named, and what it asks."""
        return self.run.naming if isinstance(self.run, GraphRun) else OWN

    def question(self, value: Any, answered: int, schema: Any = None) -> Interrupt:
        """Return what it asks after ``answered`` answers; the id is the same each time the run is resumed."""
        return Interrupt(value, self.naming.question(self.ns, answered), schema)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What *tasks* shows of the run's metadata and tags, and the node's; not where the task is."""
        about = {**self.run.metadata, **(self.spec.metadata or {})}
        shown = {key: value for key, value in about.items() if key not in _PLACE}
        return {**shown, "tags": list(self.run.tags)} if self.run.tags else shown

    @metadata.setter
    def metadata(  # pyright: ignore[reportIncompatibleVariableOverride] - a field that nobody sets
        self, given: Mapping[str, Any]
    ) -> None:
        """Leave it: it is the run's and the node's."""

    @property
    def pad(self) -> Scratchpad:
        """Its notes: most tasks make none."""
        if self.scratch is None:
            self.scratch = Scratchpad()
        return self.scratch

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
        if self.handles is not None:
            return ((self.triggers[0], self.handles),)
        if self.caller is not None or not hasattr(self, "env"):
            return ()
        return self.env.lineage.sources(self)

    @property
    def failure(self) -> NodeError | None:
        """For an error handler: what it is to handle."""
        failed = self.handles
        return None if failed is None or failed.error is None else NodeError(failed.node, failed.error)

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
        return "|".join((*self._around, f"{self.node}:{self.id}"))

    @property
    def former_ns(self) -> str | None:
        """The namespace it had before its run started a branch; None if there is no other one."""
        former = self.env.continuation.former
        if former is None:
            return None
        around = former.path if self.caller is None else (str(self.caller.former_ns),)
        was = copy(self)
        was.seed, was.step = former.checkpoint_id, former.step
        return "|".join((*around, f"{self.node}:{self.naming.task(was, around)}"))
