"""Foresight: who gets what of which event is decided when somebody comes or leaves, not when it happens.

Rules of this file
------------------
1. ``ways`` says what is made of one kind of event and for whom, by their places in the audience. It knows
   what they want and not who they are, so it is kept: a run with an audience like the last one plans nothing.
2. ``Desk.compiled`` makes one function of that: what is to be done about such an event. ``emit`` calls it.
3. What several consumers want is made once: a *way* makes data and gives it to all who want it.
4. Where nobody but receivers with filters is on a way, it is asked first whether any of them can want the
   data, going by where the event comes from: then it is counted, and never built.
5. What nodes write themselves is handed on as it is: no data to make, nothing that can fail, one short way.
6. Under the lock nothing is called but what puts a part where it is to wait. Foreign code makes the data
   before that, and is told of the part after.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from threading import RLock
from typing import Any, NamedTuple, Protocol, TypeAlias

from msgspec import structs

from otel_stream.config import Custom, StreamConfig, StreamMode
from otel_stream.events import (
    EVENTS,
    CustomWritten,
    Event,
    MessageWritten,
    Run,
    RunEnded,
    SuperstepEnded,
    Task,
    TaskEnded,
    origin,
)
from otel_stream.parts import SKIP, StreamPart
from otel_stream.stream.admission import Admission
from otel_stream.stream.guard import say
from otel_stream.stream.modes import (
    COMES,
    END_TABLE,
    HANDED_ON,
    OUTLINES,
    RETURNED_TABLE,
    TABLES,
    Make,
    Recipe,
    Wrap,
    table_of,
)
from otel_stream.stream.sink import NOWHERE, Outlet, Put, Sink, joined

logger = logging.getLogger(__name__)

#: What is to be done about one kind of event.
Tell: TypeAlias = Callable[[Any], None]

#: About whom, and of its parts what that does not change: ns, run id, graph, step, node, task id, tags.
About: TypeAlias = tuple[Any, tuple[str, ...], str, str, int | None, str | None, str | None, tuple[str, ...]]

_OF_TASKS = frozenset(kind for kind in EVENTS if "task" in kind.__struct_fields__)
_ENDS = frozenset({RunEnded, TaskEnded})
_CLOSE_WINDOWS = frozenset({RunEnded, SuperstepEnded})
#: What a node writes itself, or what it leaves running does.
_WRITTEN = frozenset({CustomWritten, MessageWritten})


# --- What is made for whom ----------------------------------------------------------------------------------


class Want(NamedTuple):
    """What one of the audience wants."""

    modes: tuple[StreamMode | Custom, ...]
    subgraphs: bool
    include_end: bool
    windows: bool
    #: Whether there are modes of the user's own: what hangs on those is not kept.
    custom: bool

    @classmethod
    def of(cls, config: StreamConfig) -> Want:
        """Return what ``config`` asks for."""
        custom = any(isinstance(mode, Custom) for mode in config.modes)
        return cls(config.modes, config.subgraphs, config.include_end, config.aggregate is not None, custom)


class Output(NamedTuple):
    """One mode's way to its consumers: their places in the audience, also of those that see subgraphs."""

    mode: str
    wrap: Wrap | None
    everybody: tuple[int, ...]
    deep: tuple[int, ...]
    exported: bool


class Way(NamedTuple):
    """What one function makes of an event, and the outputs that share it."""

    make: Make
    outputs: tuple[Output, ...]


Wants: TypeAlias = tuple[Want, ...]


def ways(kind: type[Event], wants: Wants, exports: frozenset[str]) -> tuple[Way, ...]:
    """Return what is made of events of ``kind``, in the order of the parts."""
    if any(want.custom for want in wants):
        return _ways(kind, wants, exports)
    return _kept_ways(kind, wants, exports)


def _ways(kind: type[Event], wants: Wants, exports: frozenset[str]) -> tuple[Way, ...]:
    by_make: dict[Make, list[Output]] = {}
    for mode, recipe, wanting, exported in _wanted(kind, wants, exports):
        deep = tuple(place for place in wanting if wants[place].subgraphs)
        by_make.setdefault(recipe.make, []).append(Output(mode, recipe.wrap, wanting, deep, exported))
    return tuple(Way(make, tuple(outputs)) for make, outputs in by_make.items())


_kept_ways = lru_cache(maxsize=512)(_ways)


def _wanted(
    kind: type[Event], wants: Wants, exports: frozenset[str]
) -> Iterator[tuple[str, Recipe, tuple[int, ...], bool]]:
    for mode, table in TABLES.items():
        wanting = tuple(place for place, want in enumerate(wants) if mode in want.modes)
        if kind in table and (wanting or mode in exports):
            yield mode, table[kind], wanting, mode in exports
        outside = tuple(place for place in wanting if not wants[place].subgraphs)
        if mode == "messages" and outside and kind in RETURNED_TABLE:
            yield mode, RETURNED_TABLE[kind], outside, False
    customs = dict.fromkeys(mode for want in wants for mode in want.modes if isinstance(mode, Custom))
    for custom in customs:
        recipe = table_of(custom).get(kind)
        if recipe is not None:
            wanting = tuple(place for place, want in enumerate(wants) if custom in want.modes)
            yield custom.name, recipe, wanting, custom.name in exports
    ending = tuple(place for place, want in enumerate(wants) if want.include_end)
    if ending and kind in END_TABLE:
        yield "end", END_TABLE[kind], ending, False


def interest_of(want: Want) -> int:
    """Return the bits of the events that are needed for what ``want`` asks for."""
    return _interest(want) if want.custom else _kept_interest(want)


def _interest(want: Want) -> int:
    kinds = [kind for kind in EVENTS if ways(kind, (want,), frozenset())]
    return _bits(kinds) | (_bits(_CLOSE_WINDOWS) if want.windows else 0)


_kept_interest = lru_cache(maxsize=512)(_interest)


@lru_cache(maxsize=64)
def interest_in(exports: frozenset[str]) -> int:
    """Return the bits of the events whose parts have one of the modes ``exports``."""
    return _bits(kind for kind in EVENTS if ways(kind, (), exports))


def _bits(kinds: Iterable[Any]) -> int:
    return sum(kind.bit for kind in kinds)


# --- What is done about an event ----------------------------------------------------------------------------


class Exporter(Protocol):
    """Who is told of events and parts for export: never raises."""

    @property
    def outlines(self) -> bool:
        """Whether it looks at parts at once, and not into what their data holds."""
        ...

    def telling(self, kind: type[Event]) -> Tell:
        """Return what tells it of events of ``kind``."""
        ...

    def on_parts(self, parts: Sequence[StreamPart], event: Event) -> None:
        """Export ``parts`` of ``event``."""


class Member(NamedTuple):
    """One of the audience."""

    sink: Sink
    want: Want
    outlet: Outlet


class Audience(NamedTuple):
    """Who listens now: ``told`` are the bits of the events that the exporter is told of."""

    members: tuple[Member, ...]
    wants: Wants
    #: Those who are told when a window may close.
    passing: tuple[Sink, ...]
    exporter: Exporter
    told: int
    exports: frozenset[str]

    @classmethod
    def of(
        cls, members: tuple[Member, ...], exporter: Exporter, told: int, exports: frozenset[str]
    ) -> Audience:
        """Return the audience of ``members`` and the ``exporter``."""
        wants = tuple([one.want for one in members])
        passing = tuple([one.sink for one in members if one.want.windows])
        return cls(members, wants, passing, exporter, told, exports)


class Desk:
    """Where the parts of one stream get their numbers, and what is done about its events."""

    __slots__ = ("known", "lock", "seq")

    def __init__(self) -> None:
        self.seq = 0
        #: About whom the last event was: most events are about the same task as the one before.
        self.known: About = NOBODY
        #: Makes a number and the offers of its part one step, so that every receiver sees ascending numbers,
        #: whichever thread emits. Re-entrant, since a finalizer may emit in the middle of anything.
        self.lock = RLock()

    def compiled(self, kind: type[Event], audience: Audience) -> Tell | None:
        """Return what is to be done about events of ``kind``; None if that is nothing."""
        told = bool(audience.told & kind.bit)
        tell = self._parts(kind, audience)
        if audience.passing and kind in _CLOSE_WINDOWS:
            tell = _after(_pass_to(audience.passing), tell)
        if told:
            telling = audience.exporter.telling(kind)
            # First, so that a part can name its span; of an end last, so that the span of what ended is still
            # there for the log events of its parts.
            tell = _after(tell, telling) if kind in _ENDS else _after(telling, tell)
        return tell

    def _parts(self, kind: type[Event], audience: Audience) -> Tell | None:
        planned = ways(kind, audience.wants, audience.exports)
        if not planned:
            return None
        written = kind in _WRITTEN
        root = [self._route(way, audience, deep=False, written=written) for way in planned]
        if not audience.members or all(
            output.deep == output.everybody for way in planned for output in way.outputs
        ):
            deep = root
        else:
            deep = [
                self._route(way, audience, deep=True, written=written)
                for way in planned
                if any(output.deep or output.exported for output in way.outputs)
            ]
        spread = self._spread_of_task(root, deep) if kind in _OF_TASKS else _spread_of_run(root, deep)
        way = planned[0]
        if len(planned) == len(way.outputs) == 1 and way.make in HANDED_ON:
            return self._hand_on(way, audience, spread)
        return spread

    def _hand_on(self, way: Way, audience: Audience, spread: Tell) -> Tell:
        """Return the short way of what a node writes; what only some want goes ``spread``'s."""
        make, (output,) = way
        mode, everywhere = output.mode, output.everybody == output.deep
        put, waiting, settle = joined([audience.members[place].outlet for place in output.everybody])
        export = audience.exporter.on_parts if output.exported else None
        # Not `with`: that way of entering and leaving costs as much again as the lock.
        acquire, release = self.lock.acquire, self.lock.release

        def hand_on(event: Any) -> None:
            task = event.task
            known = self.known  # one look, since another thread may change it
            if known[0] is not task:
                known = self.known = about_task(task)
            _, ns, run_id, graph, step, node, task_id, tags = known
            if ns and not everywhere:
                spread(event)
                return
            data = make(event)
            acquire()
            try:
                late = task if task.late is not None else ended_around(task.run) if ns else None
                if late is None:
                    part = StreamPart(
                        mode, ns, data, self.seq, event.time, run_id, graph, step, node,
                        task_id, task.attempt, task.trace_id, task.span_id, tags, None,
                    )  # fmt: skip
                    self.seq += 1
                    put(part, event)
            finally:
                release()
            if late is not None:
                too_late(late)
                return
            if waiting:
                settle()
            if export is not None:
                export((part,), event)  # pyright: ignore[reportPossiblyUnboundVariable] - nobody is late here

        return hand_on

    def _spread_of_task(self, root: Sequence[_Route], deep: Sequence[_Route]) -> Tell:
        def spread(event: Any) -> None:
            task = event.task
            known = self.known
            if known[0] is not task:
                known = self.known = about_task(task)
            for route in deep if known[1] else root:
                route(event, known, task.attempt)

        return spread

    def _route(self, way: Way, audience: Audience, *, deep: bool, written: bool) -> _Route:
        """Return what makes the data of one way and gives it to its consumers."""
        outlined = OUTLINES.get(way.make, way.make) if audience.exporter.outlines else way.make
        if not audience.members:  # telemetry alone, as in nearly every run
            exported = [(one.mode, one.wrap, NOWHERE.put, True) for one in way.outputs if one.exported]
            return self._send(outlined, (), exported, NOWHERE, audience.exporter.on_parts, written=written)
        make, modes, wanted = way.make, [], []
        members: dict[Sink, Outlet] = {}
        for output in way.outputs:
            some = [audience.members[place] for place in (output.deep if deep else output.everybody)]
            if some or output.exported:
                put = joined([one.outlet for one in some]).put
                modes.append((output.mode, output.wrap, put, output.exported))
                wanted.append((output.mode, [one.sink for one in some]))
                members.update((one.sink, one.outlet) for one in some)
        if not members:
            make = outlined
        elif not any(output.exported for output in way.outputs):
            make = foreseeing(make, wanted, self)
        outlet = joined(list(members.values()))
        return self._send(make, tuple(members), modes, outlet, audience.exporter.on_parts, written=written)

    def _send(
        self,
        make: Make,
        sinks: Sequence[Sink],
        modes: Sequence[tuple[str, Wrap | None, Put, bool]],
        outlet: Outlet,
        export: Callable[[Sequence[StreamPart], Event], None],
        *,
        written: bool,
    ) -> _Route:
        _, waiting, settle = outlet
        acquire, release = self.lock.acquire, self.lock.release

        def route(event: Any, about: About, attempt: int | None) -> None:
            try:
                data = make(event)
            except BaseException as error:  # noqa: BLE001 - a mode of the user's, say; the run must not notice
                for sink in sinks:
                    sink.fail(error)
                return
            if data is SKIP:
                return
            whom, ns, run_id, graph, step, node, task_id, tags = about
            parts = []
            acquire()
            try:
                # Asked here, so that whoever has found it running has given its part before its end is told.
                late = whom if written and whom.late is not None else ended_around(whom) if ns else None
                for mode, wrap, put, exported in modes if late is None else ():
                    part = StreamPart(
                        mode, ns, data if wrap is None else wrap(event, data), self.seq, event.time, run_id,
                        graph, step, node, task_id, attempt, whom.trace_id, whom.span_id, tags,
                        tuple(getattr(event, "interrupts", ())) if mode == "values" else None,
                    )  # fmt: skip
                    self.seq += 1
                    put(part, event)
                    if exported:
                        parts.append(part)
            finally:
                release()
            if late is not None:
                too_late(late)
                return
            if waiting:
                settle()
            if parts:
                export(parts, event)

        return route

    def relay(
        self, part: StreamPart, event: Event | None, outlet: Outlet, task: Task, **changes: Any
    ) -> None:
        """Give ``part``, made elsewhere by ``task``, a number of this stream's, and then to ``outlet``."""
        with self.lock:
            late = task if task.late is not None else ended_around(task)
            if late is None:
                own = structs.replace(part, seq=self.seq, run_id=task.run.root.id, **changes)
                self.seq += 1
                outlet.put(own, event)
        if late is not None:
            too_late(late)
        elif outlet.waiting:
            outlet.settle()

    def refuse(self, refused: Sequence[tuple[StreamPart, Sequence[Admission]]]) -> None:
        """Count parts that nobody wants, as if they had been made."""
        with self.lock:
            for part, admissions in refused:
                self.seq += 1
                for admission in admissions:
                    admission.refuse(part)


def ended_around(whom: Task | Run) -> Task | None:
    """Return the task, if there is one, that ``whom`` is inside of and that has ended."""
    task = whom.parent if isinstance(whom, Run) else whom.run.parent
    while task is not None and task.late is None:
        task = task.run.parent
    return task


def too_late(task: Task) -> None:
    """Count what comes after the end of ``task``, and say so the first time."""
    task.late = (task.late or 0) + 1
    if task.late == 1:
        say(logger, logging.WARNING, _STOPPED if task.was_stopped else _LEFT, task.node)


_LEFT = (
    "node %r left something running that goes on writing to the stream: what it writes after the node has "
    "ended is shown to nobody; await it, or stop it, before the node returns"
)
_STOPPED = (
    "node %r still runs and writes to the stream though its run has stopped it: another node failed, or the "
    "run was cancelled, left or out of time. What it writes is shown to nobody; a thread can't be stopped "
    "from outside, so make the node async, or have it look from time to time whether it is to go on"
)


_Route: TypeAlias = Callable[[Any, About, int | None], None]


def _spread_of_run(root: Sequence[_Route], deep: Sequence[_Route]) -> Tell:
    def spread(event: Any) -> None:
        run = event.run
        about = run, run.ns, run.root.id, run.graph, getattr(event, "step", None), None, None, run.tags
        for route in deep if run.ns else root:
            route(event, about, None)

    return spread


def _after(first: Tell | None, then: Tell | None) -> Tell | None:
    if first is None or then is None:
        return first or then

    def both(event: Any) -> None:
        first(event)
        then(event)

    return both


def _pass_to(sinks: Sequence[Sink]) -> Tell:
    def tell(event: Any) -> None:
        for sink in sinks:
            sink.passed(event)

    return tell


NOBODY: About = (None, (), "", "", None, None, None, ())


def about_task(task: Task) -> About:
    """Return what the parts of ``task`` have in common."""
    run = task.run
    return task, run.ns, run.root.id, run.graph, task.step, task.node, task.id, run.tags


# --- Asking first -------------------------------------------------------------------------------------------


def foreseeing(make: Make, audience: Sequence[tuple[str, Sequence[Sink]]], desk: Desk) -> Make:
    """Return ``make``, or what asks the ``audience`` of each mode first, and counts what nobody wants."""
    comes = COMES.get(make)
    choosers = [
        (mode, [one.admission for one in sinks if one.admission is not None]) for mode, sinks in audience
    ]
    if comes is None or not all(
        len(some) == len(sinks) > 0 and all(one.foresees for one in some)
        for (_, some), (_, sinks) in zip(choosers, audience, strict=True)
    ):
        return make

    def make_if_wanted(event: Any) -> Any:
        parts = [(_announced(mode, event), some) for mode, some in choosers]
        if not comes(event) or any(
            one.wants(part, event) is not False for part, some in parts for one in some
        ):
            return make(event)
        desk.refuse(parts)
        return SKIP

    return make_if_wanted


def _announced(mode: str, event: Any) -> StreamPart:
    about = origin(event)
    task = getattr(event, "task", None)
    run = event.run if task is None else task.run
    step, node, task_id, attempt = getattr(event, "step", None), None, None, None
    if task is not None:
        step, node, task_id, attempt = task.step, task.node, task.id, task.attempt
    return StreamPart(
        mode, run.ns, None, None, event.time, run.root.id, run.graph, step, node,
        task_id, attempt, about.trace_id, about.span_id, run.tags,
    )  # fmt: skip
