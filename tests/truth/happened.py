"""The run as it happened: by what nodes, routers and the checkpointer note, and the engine's events.

The events are taken down on their way to telemetry. Edges and routes are not theirs: they come from the
graph's own rules (``edges.py``), and what nodes and routers have noted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from otel_stream import events as e
from otel_stream.stream.modes import StreamPart
from tests.differential.specs import Graph
from tests.truth.build import Call, Notes, NotingSaver
from tests.truth.edges import Channels, Ran
from tests.truth.execution import Attempt, Execution, Run, Superstep, Task


class Witness:
    """Stands before the telemetry of a root run, and keeps what it is told."""

    def __init__(self, telemetry: Any) -> None:
        self.telemetry = telemetry
        self.events: list[e.Event] = []
        self.parts: list[StreamPart] = []

    @property
    def interest(self) -> int:
        return int(self.telemetry.interest)

    @property
    def outlines(self) -> bool:
        return bool(self.telemetry.outlines)

    @property
    def modes(self) -> frozenset[str]:
        return frozenset(self.telemetry.modes)

    def handler(self, kind: type[e.Event]) -> Callable[[e.Event], None]:
        handle = self.telemetry.handler(kind)

        def note(event: e.Event) -> None:
            self.events.append(event)
            handle(event)

        return note

    def survives(self, error: BaseException) -> bool:
        return bool(self.telemetry.survives(error))

    def on_part(self, part: StreamPart, event: e.Event) -> None:
        self.parts.append(part)
        self.telemetry.on_part(part, event)

    def on_receiver(self, receiver: Any) -> None:
        self.telemetry.on_receiver(receiver)


class Leg(NamedTuple):
    """One call of the graph: who watched it, what the nodes noted meanwhile, and what it answered."""

    witnesses: list[Witness]
    calls: list[Call]
    routes: list[tuple[str, str, tuple[str, ...]]]
    #: Ids of the interrupts that it came with answers to.
    answers: tuple[str, ...]


class Teller:
    """Tells what happened in one leg of a thread. ``roots``: the ids of the root runs so far, by leg."""

    def __init__(
        self, leg: Leg, graph: Graph, notes: Notes, saver: NotingSaver | None, roots: dict[int, str]
    ) -> None:
        self.leg, self.graph, self.notes, self.saver, self.roots = leg, graph, notes, saver, roots
        self.events = [event for witness in leg.witnesses for event in witness.events]
        self.places = {id(event): place for place, event in enumerate(self.events)}
        self.runs = [event.run for event in self.events if isinstance(event, e.RunStarted)]
        self.about: dict[Any, list[e.Event]] = defaultdict(list)
        for event in self.events:
            self.about[e.origin(event)].append(event)
        self.tasks = {task.id: task for task in self.about if isinstance(task, e.Task)}
        self.inside: dict[str, list[e.Run]] = defaultdict(list)
        for run in self.runs:
            if run.parent is not None:
                self.inside[run.parent.id].append(run)

    def remember(self, ends: Collection[e.End]) -> None:
        """Let the checkpointer know which runs were left off, for those that go on from there."""
        for event in self.events:
            if self.saver is not None and isinstance(event, e.RunEnded) and event.end in ends:
                self.saver.interrupted(_place(event.run))

    def roots_here(self) -> list[e.Run]:
        return [run for run in self.runs if run.parent is None]

    def run(self, run: e.Run, graph: Graph) -> Run:
        began, ended = (self._only(run, kind) for kind in (e.RunStarted, e.RunEnded))
        waits = [event for event in self.about[run] if isinstance(event, e.RunInterrupted)]
        root = run.parent is None
        return Run(
            run.root.id,
            run.graph,
            run.ns,
            run.thread_id,
            began.resumed,
            ended.end.value,
            _error(ended.end, ended.error),
            tuple(one.id for one in ended.interrupts),
            self._resumes(run) if began.resumed else None,
            self.leg.answers if root and began.resumed else (),
            tuple(tuple(one.id for one in event.interrupts) for event in waits),
            tuple(self._supersteps(run, graph)),
        )

    def _only(self, origin: Any, kind: Any) -> Any:
        (found,) = [event for event in self.about[origin] if isinstance(event, kind)]
        return found

    def _resumes(self, run: e.Run) -> tuple[str, tuple[str, ...]] | None:
        """Ask the checkpointer which run has stored what this one began with."""
        if self.saver is None:
            return None
        loaded = self._loaded(run)
        assert loaded is not None
        leg = self.saver.stored.get((_place(run), loaded["id"]))
        assert leg is not None or not self.saver.signed
        return None if leg is None else (self.roots[leg], run.ns)

    def _loaded(self, run: e.Run) -> Any:
        """Return the checkpoint that a run began with, None if it was the first there."""
        if self.saver is None:
            return None
        before = sum(_place(one) == _place(run) for one in self.runs[: self.runs.index(run)])
        loads = self.saver.loaded.get((self.saver.leg, _place(run)), [])
        return loads[before] if before < len(loads) else None

    def _supersteps(self, run: e.Run, graph: Graph) -> Iterator[Superstep]:
        channels = Channels(graph, self.notes)
        channels.remember(self._loaded(run) or {})
        started = [event for event in self.about[run] if isinstance(event, e.SuperstepStarted)]
        ended = [event for event in self.about[run] if isinstance(event, e.SuperstepEnded)]
        for begin, end in zip(started, ended, strict=True):
            tasks = [task for task in self.tasks.values() if task.run is run and task.step == begin.step]
            planned = [task for task in begin.tasks if task in tasks]
            ordered = [*planned, *(task for task in tasks if task not in planned)]
            ran = [self._ran(task) for task in ordered]
            for task in ordered:
                self._upwards(task.id)
            edges = channels.edges(ran)
            channels.done(ran)
            failed = end.end in _FAILURES
            yield Superstep(
                begin.step,
                len(begin.tasks),
                end.end.value,
                _error(end.end, self._only(run, e.RunEnded).error) if failed else None,
                tuple(
                    sorted(
                        (self._task(task, edges[task.id], graph) for task in ordered),
                        key=lambda task: (task.node, task.id),
                    )
                ),
            )

    def _ran(self, task: e.Task) -> Ran:
        ended = self._only(task, e.TaskEnded)
        wrote = ended.end is e.End.OK and ended.error is None
        return Ran(
            task.id,
            task.node,
            wrote,
            task.triggers == _SENT,
            ended.end in _FAILURES,
            self.places[id(ended)],
        )

    def _upwards(self, task: str) -> Iterable[str]:
        """Return where a command went that came up from the graph inside a task."""
        inner = {one.id for one in self.tasks.values() if one.run in self.inside[task]}
        for id in inner & self.notes.upwards.keys():
            self.notes.commands[task] = self.notes.upwards[id]
        return self.notes.commands.get(task, ()) if inner & self.notes.upwards.keys() else ()

    def _task(self, task: e.Task, edges: Any, graph: Graph) -> Task:
        ended = self._only(task, e.TaskEnded)
        spec = next((node for node in graph.nodes if node.name == task.node), None)
        inner = graph if spec is None or spec.graph is None else spec.graph
        return Task(
            task.id,
            task.node,
            ended.end.value,
            _error(ended.end, ended.error),
            ended.cached,
            tuple(self._attempts(task, ended)),
            tuple(one.id for one in ended.interrupts),
            edges,
            tuple(self._routes(task)),
            tuple(
                sorted(
                    (call.attempt, call.number)
                    for call in self.leg.calls
                    if call.task == task.id and call.traced
                )
            ),
            tuple(self.run(run, inner) for run in self.inside[task.id]),
        )

    def _routes(self, task: e.Task) -> Iterator[tuple[str, tuple[str, ...]]]:
        if self._only(task, e.TaskEnded).end is e.End.CANCELLED:
            # What a router in a thread has still chosen, nobody heard any more.
            yield from (
                (one.source, one.targets) for one in self.about[task] if isinstance(one, e.RouteChosen)
            )
            return
        yield from ((task.node, (name,)) for name in self._upwards(task.id))
        yield from (route[1:] for route in self.leg.routes if route[0] == task.id)

    def _attempts(self, task: e.Task, ended: Any) -> Iterator[Attempt]:
        """Tell the attempts; how the last one ended is known by how its task did."""
        for event in self.about[task]:
            if not isinstance(event, e.AttemptEnded) or not event.retryable:
                continue
            if event.retry_after is not None:
                yield Attempt(event.attempt, "error", type_name(event.error), event.retry_after)
            else:
                yield Attempt(event.attempt, ended.end.value, _error(ended.end, ended.error))

    # -- what nodes saw, against the engine's events -------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """Yield what nodes have noted otherwise than the engine reports it."""
        noted: dict[str, list[Call]] = defaultdict(list)
        for call in self.leg.calls:
            noted[call.task].append(call)
        for id, calls in noted.items():
            if id not in self.tasks:
                yield f"{calls[0].node} ran, and nobody was told"
                continue
            began = [one.attempt for one in self.about[self.tasks[id]] if isinstance(one, e.AttemptStarted)]
            ended = self._only(self.tasks[id], e.TaskEnded).end.value
            if ended == "cancelled":
                began = began[: len(calls)]  # the last one may not have got as far as the node's code
            if [call.attempt for call in calls] != began:
                yield f"{calls[0].node} was called {[call.attempt for call in calls]}, reported are {began}"
            last = calls[-1].end
            fits = {"ok": {"ok", "error", "cancelled"}, "interrupted": {"interrupted", "cancelled"}}
            if ended not in fits.get(last, {"error", "timeout", "cancelled", "abandoned"}):
                yield f"{calls[-1].node} ended {last}, reported is {ended}"


_SENT = ("__pregel_push",)
_FAILURES = {e.End.ERROR, e.End.TIMEOUT, e.End.RECURSION_LIMIT}


def _place(run: e.Run) -> str:
    """Return the namespace of a run's checkpoints."""
    return "|".join(getattr(run, "path", run.ns))


def _error(end: e.End, error: BaseException | None) -> str | None:
    return type_name(error) if end in _FAILURES else None


def type_name(error: BaseException | None) -> str:
    assert error is not None
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def parts_of(leg: Leg, *, exactly: bool) -> dict[str, tuple[Any, ...]]:
    """Return the parts that were made for export, as ``Execution.parts`` has them."""
    made: dict[str, list[StreamPart]] = defaultdict(list)
    for witness in leg.witnesses:
        for part in witness.parts:
            made[part.run_id or ""].append(part)
    return {
        run: tuple(
            (part.seq, part.type, part.task_id or part.ns, part.to_json() if exactly else None)
            for part in sorted(parts, key=lambda part: part.seq or 0)
        )
        for run, parts in made.items()
    }


__all__ = ["Execution", "Leg", "Teller", "Witness", "parts_of", "type_name"]
