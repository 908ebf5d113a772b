"""Events between processes: what they are about is the same run and the same task at both ends."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import Any, Final, NamedTuple

import msgspec

from otel_stream.events import (
    AttemptEnded,
    AttemptStarted,
    End,
    Event,
    Run,
    RunEnded,
    RunStarted,
    Structure,
    SuperstepEnded,
    SuperstepStarted,
    Task,
    TaskEnded,
    TaskStarted,
)

from ...core.naming import Naming
from ...core.task import GraphRun, NodeTask, path_of
from ...errors import NodeCancelledError, NodeError
from .pickling import Pickler


class Told(NamedTuple):
    """An event as bytes, and how its task was getting on."""

    event: bytes
    #: Runs and tasks that are named for the first time, each with its number; what they are inside of first.
    new: tuple[tuple[int, bytes], ...] = ()
    task: int | None = None
    attempt: int = 1
    end: str | None = None


class Teller:
    """Names runs and tasks by numbers. Those around the node that runs here are known at both ends."""

    def __init__(self, task: NodeTask) -> None:
        self._numbers: dict[int, int] = {}
        #: Kept, so that no other one gets the identity.
        self._named: list[Any] = []
        self._new: list[tuple[int, bytes]] = []
        for one in around(task):
            self._number(one)

    def tell(self, event: Event) -> Told:
        """Turn ``event`` into bytes; what its payloads are now, whatever becomes of them."""
        self._new = []
        said = self._dumps(event)
        task = getattr(event, "task", None)
        if task is None:
            return Told(said, tuple(self._new))
        end = None if task.end is None else task.end.value
        return Told(said, tuple(self._new), self._numbers[id(task)], task.attempt, end)

    def _dumps(self, value: Any) -> bytes:
        file = io.BytesIO()
        _Naming(file, self.name).dump(value)
        return file.getvalue()

    def name(self, value: Any) -> Any:
        """Return how ``value`` is called in what is pickled; None if it is none of ours."""
        if isinstance(value, Context):
            return ("context", 0)
        if not isinstance(value, (Task, GraphRun)):
            return None
        if id(value) not in self._numbers:
            about = _about_run(value) if isinstance(value, GraphRun) else _about_task(value)
            self._new.append((self._number(value), self._dumps(about)))
        return ("about", self._numbers[id(value)])

    def _number(self, one: Any) -> int:
        self._named.append(one)
        self._numbers[id(one)] = len(self._named) - 1
        return len(self._named) - 1


class _Naming(Pickler):
    """Pickles all but runs and tasks, which it names."""

    def __init__(self, file: io.BytesIO, name: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self._name = name

    def persistent_id(self, value: Any) -> Any:
        return self._name(value)


class Listener:
    """Finds runs and tasks again by their numbers."""

    def __init__(self, task: NodeTask) -> None:
        self._known: dict[int, Any] = dict(enumerate(around(task)))
        self._runs: dict[str, GraphRun] = {}

    def run_at(self, namespace: str) -> GraphRun | None:
        """Return the run that was told of last whose checkpoints are there."""
        return self._runs.get(namespace)

    def hear(self, told: Told) -> Event:
        """Return the event that was told."""
        for number, about in told.new:
            make, given = self._loads(about)
            self._known[number] = new = make(*given)
            if isinstance(new, GraphRun):
                self._runs["|".join(new.path)] = new
        event: Event = self._loads(told.event)
        if told.task is not None:
            task = self._known[told.task]
            task.attempt = told.attempt
            if told.end is not None:
                task.end, task.late = End(told.end), task.late or 0
        return event

    def _loads(self, said: bytes) -> Any:
        known = self._known

        class Unpickler(pickle.Unpickler):
            def persistent_load(self, name: tuple[str, int]) -> Any:
                return copy_context() if name[0] == "context" else known[name[1]]

        return Unpickler(io.BytesIO(said)).load()


class Unended:
    """What was told to have begun and not to have ended: a worker may be lost, or not end in time."""

    def __init__(self) -> None:
        #: In the order in which they began. A task has one attempt at a time, a run one superstep.
        self._begun: dict[tuple[type[Event], int], Event] = {}
        #: Run → its last superstep.
        self._steps: dict[int, int] = {}

    def note(self, event: Event) -> None:
        """Take note of a beginning, or of an end."""
        kind = type(event)
        if kind in _BEGINNINGS:
            self._begun[kind, id(_of(event))] = event
        elif kind in _BEGUN:
            self._begun.pop((_BEGUN[kind], id(_of(event))), None)
        if isinstance(event, SuperstepStarted):
            self._steps[id(event.run)] = event.step

    def ends(self) -> Iterator[Event]:
        """Yield an end for each, as one that was cancelled, what began last first."""
        while self._begun:
            _, event = self._begun.popitem()
            step = self._steps.get(id(_of(event)), -1)
            yield _cancelled(event, step, time.time_ns())


_BEGUN: Final[Mapping[type[Event], type[Event]]] = {
    RunEnded: RunStarted,
    SuperstepEnded: SuperstepStarted,
    TaskEnded: TaskStarted,
    AttemptEnded: AttemptStarted,
}
_BEGINNINGS: Final = frozenset(_BEGUN.values())


def _of(event: Event) -> Run | Task:
    """Return the run or task that an event is about."""
    about: Run | Task = event.run if hasattr(event, "run") else event.task  # type: ignore[attr-defined]
    return about


def _cancelled(event: Event, step: int, now: int) -> Event:
    """Return the end of what has begun with ``event``; ``step`` is the last one of a run."""
    if isinstance(event, RunStarted):
        return RunEnded(event.run, End.CANCELLED, None, None, (), step, now)
    if isinstance(event, SuperstepStarted):
        return SuperstepEnded(event.run, event.step, End.CANCELLED, frozenset(), now)
    if isinstance(event, AttemptStarted):
        stopped = NodeCancelledError(event.task.node)
        return AttemptEnded(event.task, event.attempt, stopped, None, now, event.retryable)
    assert isinstance(event, TaskStarted)
    event.task.end, event.task.late = End.CANCELLED, event.task.late or 0
    return TaskEnded(event.task, End.CANCELLED, None, {}, None, (), False, now)


def around(task: Task | None) -> list[Any]:
    """Return a task, its run, the task that is inside of, and so on: in an order that both ends agree on."""
    found: list[Any] = []
    while task is not None:
        found += (task, task.run)
        task = task.run.parent
    return found


class RunAround(NamedTuple):
    """A run that the task is inside of, and the task that this run is inside of: ``(node, step, id)``."""

    id: str
    graph: str
    path: tuple[str, ...]
    ns: tuple[str, ...]
    thread_id: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    parent: tuple[str, int, str] | None

    @classmethod
    def of(cls, run: Run) -> RunAround:
        """Describe a run."""
        above = run.parent
        parent = None if above is None else (above.node, above.step, above.id)
        about = (run.thread_id, run.tags, dict(run.metadata))
        return cls(run.id, run.graph, path_of(run), run.ns, *about, parent)

    def made(self, around: GraphRun | None, naming: Naming, context: Context) -> GraphRun:
        """Return what stands for the run, inside of what stands for the one ``around`` it."""
        above = None
        if self.parent is not None and around is not None:
            node, step, id = self.parent
            above = Task(around, node, step, id=id)
        return GraphRun(
            self.id,
            self.graph,
            context=context,
            path=self.path,
            ns=self.ns,
            naming=naming,
            parent=above,
            thread_id=self.thread_id,
            tags=self.tags,
            metadata=self.metadata,
        )


class TaskElsewhere(Task):
    """A task of a run that goes on in another process."""

    # What a task here works out when it is asked.
    __slots__ = (
        "failure",
        "interrupts",
        "ns",
        "retryable",  # pyright: ignore[reportIncompatibleMethodOverride]
        "sources",  # pyright: ignore[reportIncompatibleMethodOverride]
    )

    failure: NodeError | None
    interrupts: tuple[Any, ...]
    ns: str
    retryable: bool
    sources: tuple[tuple[str, Task], ...]


def _about_task(task: Task) -> Any:
    fields = {name: getattr(task, name) for name in ("node", "step", "input", "triggers", "path", "id")}
    worked_out = {
        "ns": getattr(task, "ns", ""),
        "retryable": task.retryable,
        "sources": task.sources,
        "failure": getattr(task, "failure", None),
    }
    return (_task, (task.run, fields, dict(task.metadata), worked_out))


def _about_run(run: GraphRun) -> Any:
    fields = {
        name: getattr(run, name)
        for name in ("id", "graph", "ns", "parent", "thread_id", "tags", "path", "naming", "channels")
    }
    declared = None if run.declared is None else run.declared.text
    return (_run, (fields, dict(run.metadata), declared, run.resumes))


def _task(
    run: GraphRun, fields: Mapping[str, Any], metadata: Mapping[str, Any], worked_out: Mapping[str, Any]
) -> TaskElsewhere:
    named = dict(fields)
    task = TaskElsewhere(run, named.pop("node"), named.pop("step"), **named, metadata=metadata)
    for name, value in worked_out.items():
        setattr(task, name, value)
    task.interrupts = ()
    return task


def _run(
    fields: Mapping[str, Any], metadata: Mapping[str, Any], declared: str | None, resumes: Any
) -> GraphRun:
    structure = None if declared is None else Structure(lambda: msgspec.json.decode(declared))
    run = GraphRun(**fields, metadata=metadata, declared=structure, context=copy_context())
    if resumes is not None:
        run.goes_on_from(resumes)
    return run
