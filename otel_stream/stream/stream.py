"""From event to consumers: the one place that knows who listens.

Rules of this file
------------------
1. ``emit`` decides nothing: who gets what is decided in a table when somebody comes or leaves.
2. Telemetry is told first, so that a part can name its span; of an end last, so that the span of what
   ended is still there for the log events of its parts.
3. What several consumers want is made once; ``seq`` and the offers of a part are one step, so
   every receiver sees ascending numbers, whichever thread emits.
4. Nobody who listens can break a run: who raises is cut off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from threading import RLock
from time import monotonic
from typing import Any, Protocol, TypeAlias

from msgspec import structs

from otel_stream.config import Custom, OverflowPolicy, StreamMode
from otel_stream.events import End, Event, RunEnded, Task
from otel_stream.stream.modes import SKIP, StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.routing import Offer, Output, Plan, Routes, plans
from otel_stream.stream.wakeup import yield_turn

logger = logging.getLogger(__name__)

#: Seconds after which consumers that have parts waiting get a turn of the event loop.
_TURN_EVERY = 0.0002


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


#: A task, and of its parts what it does not change: ns, run id, graph, step, node, task id, tags.
Known: TypeAlias = tuple[
    Task | None, tuple[str, ...], str, str, int | None, str | None, str | None, tuple[str, ...]
]


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
        #: Called with a receiver that nobody has read, when the run has waited for it for ``stall_timeout``;
        #: must return at once and not raise.
        self.on_stall: Callable[[StreamReceiver], None] | None = None
        self._told = 0
        self._exported: frozenset[str] = frozenset()
        self._receivers = tuple(one for one in receivers if not one.over)
        self._blocking: tuple[StreamReceiver, ...] = ()
        self._plans: dict[type[Event], Plan] = {}
        self._seq = 0
        self._known = _NOBODY
        #: Guards ``seq`` and the offers, and the buffers of receivers that share it (``join``); re-entrant,
        #: since a filter may emit, and a finalizer too.
        self._order = RLock()
        self._offers: dict[StreamReceiver, Offer] = {}
        #: Guards who is in the audience. Nothing else is ever called under it.
        self._audience = RLock()
        #: When consumers were last given a turn.
        self._breathed = 0.0
        for receiver in self._receivers:
            self._join(receiver)
        self._introduce(self._receivers)
        self._plan()

    def emit(self, event: Any) -> None:
        """Tell everybody who wants ``event``. From any thread; never raises, never blocks."""
        plan = self._plans.get(type(event))
        if plan is None:
            return
        handed_on, rest = plan
        if handed_on is None:
            self._emit(event, rest)
            return
        mode, make, put, everywhere = handed_on
        task = event.task
        # Most events are about the task of the one before; one look, since another thread may change it.
        known = self._known
        if known[0] is not task:
            known = self._known = _known(task)
        _, ns, run_id, graph, step, node, task_id, tags = known
        if ns and not everywhere:
            self._emit(event, rest)
            return
        data = make(event)
        # Not `with`: that way of entering and leaving costs as much again as the lock.
        order = self._order
        order.acquire()
        try:
            part = StreamPart(
                mode, ns, data, self._seq, event.time, run_id, graph, step, node,
                task_id, task.attempt, task.trace_id, task.span_id, tags, None,
            )  # fmt: skip
            self._seq += 1
            put(part, event)
        finally:
            order.release()

    def _emit(self, event: Any, plan: Routes) -> None:  # noqa: C901, PLR0912 - one call per event
        told, told_last, of_task, root, deep = plan
        telemetry = self.telemetry
        if told and telemetry is not None:
            # What telemetry raises it catches itself; this is for another one than ours.
            try:
                telemetry.on_event(event)
            except Exception as error:  # noqa: BLE001 - a broken exporter never breaks a run
                self._cut_off_telemetry(error)
            if telemetry.interest != self._told or telemetry.modes is not self._exported:
                self._told_anew()
            if not root:
                return  # nothing but telemetry wants it, and it is no end
        if of_task:
            task = about = event.task
            known = self._known
            if known[0] is not task:
                known = self._known = _known(task)
            _, ns, run_id, graph, step, node, task_id, tags = known
            attempt = task.attempt
        else:
            about = run = event.run
            ns, run_id, graph, tags = run.ns, run.root.id, run.graph, run.tags
            step, node, task_id, attempt = getattr(event, "step", None), None, None, None
        order = self._order
        for make, outputs, exported in deep if ns else root:
            try:
                data = make(event)
            except Exception as error:  # noqa: BLE001 - a mode of the user's, or state that can't be copied
                _cut_off(outputs, error)
                continue
            if data is SKIP:
                continue
            made: list[StreamPart] | None = [] if exported else None
            order.acquire()
            try:
                for mode, wrap, put, _, _ in outputs:
                    part = StreamPart(
                        mode, ns, data if wrap is None else wrap(event, data), self._seq, event.time, run_id,
                        graph, step, node, task_id, attempt, about.trace_id, about.span_id, tags,
                        tuple(getattr(event, "interrupts", ())) if mode == "values" else None,
                    )  # fmt: skip
                    self._seq += 1
                    put(part, event)
                    if made is not None:
                        made.append(part)
            finally:
                order.release()
            if made is not None:
                self._export(made, outputs, event)
        if told_last and telemetry is not None:
            try:
                telemetry.on_event(event)
            except Exception as error:  # noqa: BLE001 - as above
                self._cut_off_telemetry(error)
        if not of_task and type(event) is RunEnded and event.run.parent is None:
            self.finish(event.end, event.error)

    @property
    def deep_modes(self) -> tuple[StreamMode | Custom, ...]:
        """The modes that somebody wants of subgraphs, too."""
        wanting = (one.config.modes for one in self._receivers if one.config.subgraphs)
        return tuple(dict.fromkeys(mode for modes in wanting for mode in modes))

    @property
    def full(self) -> bool:
        """Whether ``drain`` would wait."""
        return any(one.over_capacity for one in self._blocking)

    def relay(self, part: StreamPart, event: Event | None, ns: tuple[str, ...], run_id: str) -> None:
        """Offer a part of a run with another audience as if its run were a subgraph's, at ``ns``."""
        with self._order:
            own = structs.replace(part, ns=(*ns, *part.ns), seq=self._seq, run_id=run_id)
            self._seq += 1
            for one in self._receivers:
                if one.config.subgraphs and part.type in _names(one.config.modes):
                    one.offer(own, event)

    async def drain(self) -> None:
        """Wait until no ``block`` receiver holds more than its size.

        Nodes that never await would keep consumers on the same event loop from running, so whoever has
        parts waiting gets a turn here: at once if the buffer is half full, else every fifth of a
        millisecond, as a turn costs as much as a superstep.
        """
        for receiver in self._blocking:
            if receiver.over_capacity:
                await receiver.room(self, self.on_stall)
        for receiver in self._receivers:
            if receiver.held and (receiver.half_full or monotonic() - self._breathed > _TURN_EVERY):
                await yield_turn()
                self._breathed = monotonic()
                return

    def finish(self, end: End, error: BaseException | None = None) -> None:
        """End the stream; ``emit`` does it when the run ends. Idempotent."""
        with self._audience:
            if self.end is not None:
                return
            self.end, self.error = end, error
            receivers, self._receivers = self._receivers, ()
            self._known = _NOBODY
            self._plan()
        for receiver in receivers:
            receiver.detached(self)
            if not receiver.lasting:
                receiver.finish(end, error)

    def attach(self, *receivers: StreamReceiver) -> None:
        """Let ``receivers`` have the parts from now on, all the same ones; after the run, just its end."""
        with self._audience:
            ended = self.end
            if ended is None:
                new = tuple(one for one in receivers if not one.over and one not in self._receivers)
                for receiver in new:
                    self._join(receiver)
                self._introduce(new)
                self._receivers = (*self._receivers, *new)
                self._plan()
        if ended is not None:
            for receiver in receivers:
                if not receiver.lasting:
                    receiver.finish(ended, self.error)

    def _join(self, receiver: StreamReceiver) -> None:
        self._offers[receiver] = receiver.join(self._order)
        receiver.attached(self)

    def _introduce(self, receivers: tuple[StreamReceiver, ...]) -> None:
        """Let metrics know who listens."""
        meet = getattr(self.telemetry, "on_receiver", None)
        if meet is not None:
            for receiver in receivers:
                meet(receiver)

    def detach(self, receiver: StreamReceiver) -> None:
        """Give ``receiver`` nothing more. It does not end by that."""
        with self._audience:
            receiver.detached(self)
            self._offers.pop(receiver, None)
            if receiver in self._receivers:
                self._receivers = tuple(one for one in self._receivers if one is not receiver)
                self._plan()

    def _plan(self) -> None:
        receivers, telemetry = self._receivers, self.telemetry
        self._told = 0 if telemetry is None else telemetry.interest
        self._exported = frozenset() if telemetry is None else telemetry.modes
        self._plans = table = plans(receivers, self._offers, self._told, self._exported, self._refuse)
        self._blocking = tuple(one for one in receivers if one.config.overflow is OverflowPolicy.BLOCK)
        self.interest = sum(kind.bit for kind in table)

    def _refuse(self, outputs: tuple[Output, ...], parts: list[StreamPart]) -> None:
        """Count parts that nobody wants, one per output, as if they had been made."""
        with self._order:
            for (_, _, _, receivers, _), part in zip(outputs, parts, strict=True):
                for receiver in receivers:
                    if receiver.admission is not None:
                        receiver.admission.refuse(part)
            self._seq += len(parts)

    def _told_anew(self) -> None:
        """Ask telemetry again what it wants: an unsampled run is of little interest to it."""
        with self._audience:
            self._plan()

    def _export(self, parts: list[StreamPart], outputs: tuple[Output, ...], event: Event) -> None:
        telemetry = self.telemetry
        try:
            if telemetry is not None:
                for part, (*_, exported) in zip(parts, outputs, strict=True):
                    if exported:
                        telemetry.on_part(part, event)
        except Exception as error:  # noqa: BLE001 - a broken exporter never breaks a run
            self._cut_off_telemetry(error)

    def _cut_off_telemetry(self, error: Exception) -> None:
        with self._audience:
            first, self.telemetry = self.telemetry is not None, None
            self._plan()
        if first:
            logger.error("telemetry is cut off from this run: %r", error, exc_info=error)


def _names(modes: Iterable[StreamMode | Custom]) -> Iterator[str]:
    return (mode.name if isinstance(mode, Custom) else mode for mode in modes)


def _cut_off(outputs: tuple[Output, ...], error: Exception) -> None:
    for _, _, _, receivers, _ in outputs:
        for receiver in receivers:
            receiver.fail(error)


_NOBODY: Known = (None, (), "", "", None, None, None, ())


def _known(task: Task) -> Known:
    run = task.run
    return task, run.ns, run.root.id, run.graph, task.step, task.node, task.id, run.tags
