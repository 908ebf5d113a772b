"""A task of LangGraph's as events know it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.pregel.debug import map_debug_tasks
from opentelemetry.context import Context as Values

from otel_stream.adapters.langgraph.audience import Audience
from otel_stream.adapters.langgraph.words import CONF, HIDDEN, SCRATCHPAD, TASK_ID
from otel_stream.events import Observer, Run, Task


class Listener(Protocol):
    """Who hears what models say, and has to be told what nodes are given and return."""

    def node_begins(self, task: NodeTask, config: Mapping[str, Any]) -> None:
        """Take note of what a node is given."""

    def node_answers(self, task: NodeTask, config: Mapping[str, Any], answer: Any) -> None:
        """Take note of the ``answer`` of a node."""

    def node_fails(self, task: NodeTask) -> None:
        """Take note that an attempt returns nothing."""


class Teller(Protocol):
    """What a task knows of who tells of its run: the tap."""

    audience: Audience
    observer: Observer
    #: Who hears the messages and tools of nodes.
    ears: Listener | None
    #: A handler of LangChain's that tells of what nodes call.
    calls: Any
    #: Whether nothing is to be told but what durations and counts are made of.
    brief: bool
    #: What is current below the run's own span.
    values: Values | None
    #: The task that this run is part of though LangGraph takes it for one of its own.
    around: NodeTask | None

    def sources_of(self, task: NodeTask) -> tuple[tuple[str, NodeTask], ...]:
        """Return what triggered ``task``, as long as its superstep begins; then nothing."""
        ...

    def is_left_behind(self) -> None:
        """Report the end of the run, for its caller has ended."""


class NodeTask(Task):
    """A task, what it was made of, and what has become of it so far.

    ``executable`` is LangGraph's own; it is let go with the task's end, since it leads back here.
    """

    # Defaults are the class's: one of these is made for every task, and most tasks change few of them.

    #: Which task triggered it; asked for when it starts, and then let go.
    _sources: tuple[tuple[str, Task], ...] | None = None
    #: What is current in the attempt that goes on.
    values: Values | None = None
    #: The runs that it has called and that still go on; None until there is one.
    inside: dict[Teller, None] | None = None
    #: By which it is found as long as it runs.
    key = 0
    #: The number of the attempt that goes on.
    going: int | None = None
    #: What its last attempt raised; and the same with its number and the time, until it is reported.
    left_by: BaseException | None = None
    failed: tuple[int, BaseException, int] | None = None
    #: What edges have chosen in this attempt, and not been reported for yet.
    routes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __init__(self, tap: Teller, run: Run, executable: Any, step: int, config: Mapping[str, Any]) -> None:
        self.executable: Any = executable
        super().__init__(
            run,
            executable.name,
            step,
            input=executable.input,
            triggers=tuple(executable.triggers),
            path=executable.path,
            id=executable.id,
        )
        self.tap = tap
        #: LangGraph's own business, the taking in of the input: nobody is told of it.
        self.hidden = HIDDEN in (config.get("tags") or ())
        policies = executable.retry_policy
        self._retryable = bool(policies) and any(policy.max_attempts > 1 for policy in policies)

    @property
    def retryable(self) -> bool:
        return self._retryable

    @property
    def sources(self) -> tuple[tuple[str, Task], ...]:
        if self._sources is None:
            self._sources = self.tap.sources_of(self)
        return self._sources

    def forget_sources(self) -> None:
        """Let go of who triggered it: else the last task of a run would keep all others alive."""
        self._sources = ()

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What LangGraph shows of the config's metadata. Worked out when somebody asks, while it runs."""
        if self.executable is None:
            return {}
        shown: Mapping[str, Any] = next(iter(map_debug_tasks([self.executable])), {})
        found: Mapping[str, Any] = shown.get("metadata", {})
        return found

    @metadata.setter
    def metadata(  # pyright: ignore[reportIncompatibleVariableOverride] - a field that nobody sets
        self, given: Mapping[str, Any]
    ) -> None:
        """Leave it: it is LangGraph's to say."""


#: The task whose code runs here.
CURRENT: Final[ContextVar[NodeTask | None]] = ContextVar("otel_stream_langgraph_task", default=None)

#: By the scratchpad that LangGraph hands to everything a task calls, for where context variables don't reach.
_RUNNING: Final[dict[int, NodeTask]] = {}


def remember(task: NodeTask, config: Mapping[str, Any]) -> None:
    """Let ``calling_task`` find a task by what it hands on, until it has ended."""
    task.key = id(config.get(CONF, {}).get(SCRATCHPAD))
    _RUNNING[task.key] = task


def forget(task: NodeTask) -> None:
    """Let go of a task that has ended."""
    if _RUNNING.get(task.key) is task:
        del _RUNNING[task.key]


def running_here() -> NodeTask | None:
    """Return the task whose code runs here; in a thread of its own, too, by the config it was handed."""
    task = CURRENT.get()
    if task is None:
        config = var_child_runnable_config.get()
        if config is not None:
            task = _RUNNING.get(id((config.get(CONF) or {}).get(SCRATCHPAD)))
    return task


def calling_task(config: Mapping[str, Any]) -> NodeTask | None:
    """Return the task that a graph is called by; None for a run of its own, or if the task is not known."""
    configurable = config.get(CONF, {})
    called_by = configurable.get(TASK_ID)
    if called_by is None:
        return None
    task = CURRENT.get()
    if task is None or task.id != called_by:
        task = _RUNNING.get(id(configurable.get(SCRATCHPAD)))
    return task if task is not None and task.id == called_by else None
