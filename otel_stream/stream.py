"""From event to consumers: the one place that knows who listens.

Rules of this file
------------------
1. ``emit`` decides nothing: who gets what is decided in a table when somebody comes or leaves.
2. Telemetry is told first, so that a part can name its span.
3. What several consumers want is made once; ``seq`` and the offers of a part are one step, so
   every receiver sees ascending numbers, whichever thread emits.
4. Nobody who listens can break a run: who raises is cut off.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from threading import RLock
from typing import Any, Protocol, TypeAlias

from otel_stream.config import Custom, OverflowPolicy
from otel_stream.events import EVENTS, End, Event, RunEnded
from otel_stream.modes import END_TABLE, SKIP, TABLES, Make, Recipe, StreamPart, Wrap, table_of
from otel_stream.receiver import StreamReceiver
from otel_stream.wait import breathe

logger = logging.getLogger(__name__)


class TelemetryConsumer(Protocol):
    """What the stream knows of the part of the house that exports.

    What it wants may change in any ``on_event``: an unsampled run is of little interest to it.
    """

    #: Bits of the events it wants to be told of.
    interest: int
    #: Modes whose parts it exports.
    modes: frozenset[str]

    def on_event(self, event: Event) -> None:
        """Take note of ``event``, before any part is made of it."""

    def on_part(self, part: StreamPart, event: Event) -> None:
        """Export ``part``, which has all its metadata."""


# Plain tuples, and not named ones: they are taken apart for every event, at a third of the time.

#: One mode's way to its consumers: its name, what to do with the data, for whom, and whether it is exported.
Lane: TypeAlias = tuple[str, Wrap | None, tuple[StreamReceiver, ...], bool]
#: Lanes that share what ``make`` returns.
Route: TypeAlias = tuple[Make, tuple[Lane, ...]]
#: What to do about one kind of event: whether telemetry is told, whether it is about a task, and the
#: routes of events from the root and of those from subgraphs.
Plan: TypeAlias = tuple[bool, bool, tuple[Route, ...], tuple[Route, ...]]


class Stream:
    """The audience of one root run and its subgraphs: an ``Observer`` for the engine.

    Receivers may come and leave at any time. With the root's ``RunEnded`` the stream ends, and with
    it every receiver that isn't lasting.
    """

    def __init__(
        self, receivers: Iterable[StreamReceiver] = (), telemetry: TelemetryConsumer | None = None
    ) -> None:
        #: Bits of the events that somebody wants now.
        self.interest = 0
        #: How the run ended, and what it raised.
        self.end: End | None = None
        self.error: BaseException | None = None
        #: Who exports this run; None if nobody does, or no longer.
        self.telemetry = telemetry
        self._told = 0
        self._exported: frozenset[str] = frozenset()
        self._receivers = tuple(one for one in receivers if not one.over)
        self._blocking: tuple[StreamReceiver, ...] = ()
        self._plans: dict[type[Event], Plan] = {}
        self._seq = 0
        #: Guards ``seq`` and the offers; re-entrant, since a filter may emit, and a finalizer too.
        self._order = RLock()
        #: Guards who is in the audience. Nothing else is ever called under it.
        self._audience = RLock()
        for receiver in self._receivers:
            receiver.attached(self)
        self._plan()

    def emit(self, event: Any) -> None:
        """Tell everybody who wants ``event``. From any thread; never raises, never blocks."""
        plan = self._plans.get(type(event))
        if plan is None:
            return
        told, of_task, root, deep = plan
        if told:
            self._tell(event)
        if of_task:
            task = origin = event.task
            run, step, node, task_id, attempt = task.run, task.step, task.node, task.id, task.attempt
        else:
            run = origin = event.run
            step, node, task_id, attempt = getattr(event, "step", None), None, None, None
        for make, lanes in deep if run.ns else root:
            try:
                data = make(event)
            except Exception as error:  # noqa: BLE001 - a mode of the user's, or state that can't be copied
                _cut_off(lanes, error)
                continue
            if data is SKIP:
                continue
            for mode, wrap, receivers, exported in lanes:
                payload = data if wrap is None else wrap(event, data)
                interrupts = tuple(getattr(event, "interrupts", ())) if mode == "values" else None
                order = self._order
                order.acquire()
                try:
                    part = StreamPart(
                        mode, run.ns, payload, self._seq, event.time, run.root.id, run.graph, step, node,
                        task_id, attempt, origin.trace_id, origin.span_id, run.tags, interrupts,
                    )  # fmt: skip
                    self._seq += 1
                    for receiver in receivers:
                        receiver.offer(part)
                finally:
                    order.release()
                if exported:
                    self._export(part, event)
        if type(event) is RunEnded and run.parent is None:
            self.finish(event.end, event.error)

    async def drain(self) -> None:
        """Wait until no ``block`` receiver holds more than its size.

        Nodes that never await would keep consumers on the same event loop from running, so whoever has
        parts waiting gets a turn here.
        """
        for receiver in self._blocking:
            if receiver.over_capacity:
                await receiver.room()
        for receiver in self._receivers:
            if receiver.held:
                await breathe()
                return

    def finish(self, end: End, error: BaseException | None = None) -> None:
        """End the stream; ``emit`` does it when the run ends. Idempotent."""
        with self._audience:
            if self.end is not None:
                return
            self.end, self.error = end, error
            receivers, self._receivers = self._receivers, ()
            self._plan()
        for receiver in receivers:
            receiver.detached(self)
            if not receiver.lasting:
                receiver.finish(end, error)

    def attach(self, receiver: StreamReceiver) -> None:
        """Let ``receiver`` have the parts from now on; after the end of the run, just its end."""
        with self._audience:
            ended = self.end
            if ended is None and not receiver.over and receiver not in self._receivers:
                receiver.attached(self)
                self._receivers = (*self._receivers, receiver)
                self._plan()
        if ended is not None and not receiver.lasting:
            receiver.finish(ended, self.error)

    def detach(self, receiver: StreamReceiver) -> None:
        """Give ``receiver`` nothing more. It does not end by that."""
        with self._audience:
            receiver.detached(self)
            if receiver in self._receivers:
                self._receivers = tuple(one for one in self._receivers if one is not receiver)
                self._plan()

    def _plan(self) -> None:
        receivers, telemetry = self._receivers, self.telemetry
        self._told = 0 if telemetry is None else telemetry.interest
        self._exported = frozenset() if telemetry is None else telemetry.modes
        plans = _plans(receivers, self._told, self._exported)
        self._plans = plans
        self._blocking = tuple(one for one in receivers if one.config.overflow is OverflowPolicy.BLOCK)
        self.interest = sum(kind.bit for kind in plans)

    def _tell(self, event: Event) -> None:
        telemetry = self.telemetry
        try:
            if telemetry is not None:
                telemetry.on_event(event)
                if telemetry.interest != self._told or telemetry.modes is not self._exported:
                    with self._audience:
                        self._plan()
        except Exception as error:  # noqa: BLE001 - a broken exporter never breaks a run
            self._cut_off_telemetry(error)

    def _export(self, part: StreamPart, event: Event) -> None:
        telemetry = self.telemetry
        try:
            if telemetry is not None:
                telemetry.on_part(part, event)
        except Exception as error:  # noqa: BLE001 - a broken exporter never breaks a run
            self._cut_off_telemetry(error)

    def _cut_off_telemetry(self, error: Exception) -> None:
        with self._audience:
            first, self.telemetry = self.telemetry is not None, None
            self._plan()
        if first:
            logger.error("telemetry is cut off from this run: %r", error, exc_info=error)


def _cut_off(lanes: tuple[Lane, ...], error: Exception) -> None:
    for _, _, receivers, _ in lanes:
        for receiver in receivers:
            receiver.fail(error)


# --- The table -----------------------------------------------------------------------------------------

_OF_TASKS = frozenset(kind for kind in EVENTS if "task" in kind.__struct_fields__)


def _plans(
    receivers: tuple[StreamReceiver, ...], told: int, exports: frozenset[str]
) -> dict[type[Event], Plan]:
    # The end of the run always counts: who comes later must learn of it.
    ways: dict[type[Event], dict[Make, list[Lane]]] = {RunEnded: {}}
    if told:
        ways.update((kind, {}) for kind in EVENTS if kind.bit & told)
    for mode, table, wanting, exported in _wanted(receivers, exports):
        for kind, recipe in table.items():
            lane = mode, recipe.wrap, wanting, exported
            ways.setdefault(kind, {}).setdefault(recipe.make, []).append(lane)
    return {
        kind: (
            bool(kind.bit & told),
            kind in _OF_TASKS,
            tuple((make, tuple(lanes)) for make, lanes in by_make.items()),
            _deep(by_make),
        )
        for kind, by_make in ways.items()
    }


def _wanted(
    receivers: tuple[StreamReceiver, ...], exports: frozenset[str]
) -> Iterator[tuple[str, Mapping[type[Event], Recipe], tuple[StreamReceiver, ...], bool]]:
    """Yield every mode that somebody wants, with its table and who that is, in the order of parts."""
    for mode, table in TABLES.items():
        wanting = tuple(one for one in receivers if mode in one.config.modes)
        if wanting or mode in exports:
            yield mode, table, wanting, mode in exports
    customs = dict.fromkeys(
        mode for one in receivers for mode in one.config.modes if isinstance(mode, Custom)
    )
    for custom in customs:
        wanting = tuple(one for one in receivers if custom in one.config.modes)
        yield custom.name, table_of(custom), wanting, custom.name in exports
    wanting = tuple(one for one in receivers if one.config.include_end)
    if wanting:
        yield "end", END_TABLE, wanting, False


def _deep(by_make: Mapping[Make, list[Lane]]) -> tuple[Route, ...]:
    """Leave out the receivers that don't want subgraphs; what is exported is exported from them too."""
    routes: list[Route] = []
    for make, lanes in by_make.items():
        inner = [
            (mode, wrap, tuple(one for one in receivers if one.config.subgraphs), exported)
            for mode, wrap, receivers, exported in lanes
        ]
        kept = tuple(lane for lane in inner if lane[2] or lane[3])
        if kept:
            routes.append((make, kept))
    return tuple(routes)
