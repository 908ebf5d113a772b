"""From event to consumers: the one place that knows who listens.

Rules of this file
------------------
1. ``emit`` decides nothing: what is to be done about an event is one function, made when the first of its
   kind comes after somebody has come or left (``routing``).
2. Nobody who listens can break a run: who raises is cut off, whatever it raises.
3. No foreign code runs under a lock, logging included.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from time import monotonic
from typing import Any, Protocol

from otel_stream.config import Custom, OverflowPolicy, StreamMode
from otel_stream.events import End, Event, RunEnded, Task
from otel_stream.parts import StreamPart
from otel_stream.stream.guard import say
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.routing import NOBODY, Audience, Desk, Member, Tell, Want, interest_in, interest_of
from otel_stream.stream.sink import Sink, joined
from otel_stream.stream.wakeup import yield_turn
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: Seconds after which consumers that have parts waiting get a turn of the event loop.
_TURN_EVERY = 0.0002


class TelemetryConsumer(Protocol):
    """What the stream knows of the part of the house that exports.

    What it wants may change with any event: an unsampled run is of little interest to it.
    """

    #: Bits of the events it wants to be told of.
    interest: int
    #: Modes whose parts it exports.
    modes: frozenset[str]
    #: Whether it is done with a part when ``on_part`` returns, and has looked no deeper than at the types and
    #: sizes of what its data holds: then nothing is copied for it.
    outlines: bool

    def handler(self, kind: type[Event]) -> Tell:
        """Return what takes note of events of ``kind``, before any part is made of them."""
        ...

    def survives(self, error: BaseException) -> bool:
        """Take note of what such a handler has raised; return whether it is to be called again."""
        ...

    def on_part(self, part: StreamPart, event: Event) -> None:
        """Export ``part``, which has all its metadata."""

    def on_receiver(self, receiver: StreamReceiver) -> None:
        """Take note of who gets parts from now on."""


class Stream:
    """The audience of one root run and its subgraphs: an ``Observer`` for the engine.

    Receivers may come and leave at any time. With the root's ``RunEnded`` the stream ends, and with
    it every receiver that isn't lasting.
    """

    def __init__(self, sinks: Iterable[Sink] = (), telemetry: TelemetryConsumer | None = None) -> None:
        #: Bits of the events that somebody wants now.
        self.interest = RunEnded.bit  # it always counts: who comes later must learn of the end
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
        self._members: dict[Sink, Member] = {}
        #: How many want the same: attaching many must not mean to ask all of them what they want each time.
        self._wants: Counter[Want] = Counter()
        #: Of whom a run waits for, and of all; None when it has to be found out again.
        self._blocking: tuple[Sink, ...] | None = None
        self._everybody: tuple[Sink, ...] = ()
        self._desk = Desk()
        #: The same as routing sees them; None if they have changed since.
        self._present: Audience | None = None
        #: What is to be done about each kind of event.
        self._table: dict[type[Event], Tell] = {}
        #: Guards who is in the audience. Nothing of others is ever called under it.
        self._audience = RLock()
        #: When consumers were last given a turn.
        self._breathed = 0.0
        self.attach(*sinks)

    def emit(self, event: Any) -> None:
        """Tell everybody who wants ``event``. From any thread; never raises, never blocks."""
        try:
            tell = self._table[type(event)]
        except KeyError:
            tell = self._compiled(type(event))
        tell(event)

    def _compiled(self, kind: type[Event]) -> Tell:
        with self._audience:
            audience = self._present
            if audience is None:
                members = tuple(self._members.values())
                audience = self._present = Audience.of(members, self, self._told, self._exported)
            tell = self._desk.compiled(kind, audience) or _ignore
            self._table[kind] = tell = self._ending(tell) if kind is RunEnded else tell
            return tell

    def _ending(self, tell: Tell) -> Tell:
        def end(event: Any) -> None:
            try:
                tell(event)
            finally:
                if event.run.parent is None:
                    self.finish(event.end, event.error)

        return end

    # --- Who is there -----------------------------------------------------------------------------------

    def attach(self, *sinks: Sink) -> None:
        """Let ``sinks`` have the parts from now on, all the same ones; after the run, just its end."""
        with self._audience:
            ended = self.end
            new = (
                []
                if ended is not None
                else [one for one in dict.fromkeys(sinks) if not one.over and one not in self._members]
            )
            for one in new:
                want = Want.of(one.config)
                self._members[one] = Member(one, want, one.join(self._desk.lock))
                self._wants[want] += 1
                one.attached(self)
            self._changed()
        self._introduce(new)
        if ended is not None:
            for one in sinks:
                if not one.lasting:
                    one.finish(ended, self.error)

    def detach(self, sink: Sink) -> None:
        """Give ``sink`` nothing more. It does not end by that."""
        with self._audience:
            member = self._members.pop(sink, None)
            if member is not None:
                self._wants[member.want] -= 1
                if not self._wants[member.want]:
                    del self._wants[member.want]
                self._changed()
        sink.detached(self)

    def finish(self, end: End, error: BaseException | None = None) -> None:
        """End the stream; ``emit`` does it when the run ends. Idempotent."""
        with self._audience:
            if self.end is not None:
                return
            self.end, self.error = end, error
            sinks = tuple(self._members)
            self._members, self._wants = {}, Counter()
            self._desk.known = NOBODY
            self._changed()
        for one in sinks:
            one.detached(self)
            if not one.lasting:
                one.finish(end, error)

    def _changed(self) -> None:
        """Forget what followed from who is there, and from what telemetry wants."""
        self._table = {}
        self._present = self._blocking = None
        telemetry = self.telemetry
        self._told = 0 if telemetry is None else telemetry.interest
        self._exported = frozenset() if telemetry is None else telemetry.modes
        interest = RunEnded.bit | self._told | interest_in(self._exported)
        for want in self._wants:
            interest |= interest_of(want)
        self.interest = interest

    def _introduce(self, sinks: Iterable[Sink]) -> None:
        """Let metrics know who listens."""
        telemetry = self.telemetry
        for one in sinks:
            if telemetry is not None and isinstance(one, StreamReceiver):
                self._told_of(telemetry.on_receiver, one)

    # --- Who exports --------------------------------------------------------------------------------------

    def telling(self, kind: type[Event]) -> Tell:
        """Return what tells telemetry of events of ``kind``.

        It is asked again what it wants after each: of an unsampled run, say, little.
        """
        telemetry, told, exported = self.telemetry, self._told, self._exported
        if telemetry is None:
            return _ignore
        try:
            handle = telemetry.handler(kind)
        except BaseException as error:  # noqa: BLE001 - as in ``_told_of``
            self._cut_off(error)
            return _ignore

        def tell(event: Event) -> None:
            try:
                handle(event)
            except BaseException as error:  # noqa: BLE001 - as in ``_told_of``, without the call
                self._raised(telemetry, error)
            if telemetry.interest != told or telemetry.modes is not exported:
                with self._audience:
                    self._changed()

        return tell

    def _raised(self, telemetry: TelemetryConsumer, error: BaseException) -> None:
        try:
            survives = telemetry.survives(error)
        except BaseException:  # noqa: BLE001 - as in ``_told_of``
            survives = False
        if not survives:
            self._cut_off(error)

    @property
    def outlines(self) -> bool:
        """Whether telemetry looks at parts at once, and not into what their data holds."""
        return self.telemetry is not None and self.telemetry.outlines

    def on_parts(self, parts: Sequence[StreamPart], event: Event) -> None:
        """Let telemetry export ``parts``."""
        telemetry = self.telemetry
        if telemetry is None:
            return
        try:
            for part in parts:
                telemetry.on_part(part, event)
        except BaseException as error:  # noqa: BLE001 - as in ``_told_of``, without the call
            self._cut_off(error)

    def _told_of(self, tell: Callable[..., None], *about: Any) -> None:
        # What telemetry raises it catches itself; this is for another one than ours.
        try:
            tell(*about)
        except BaseException as error:  # noqa: BLE001 - a broken exporter never breaks a run
            self._cut_off(error)

    def _cut_off(self, error: BaseException) -> None:
        with self._audience:
            first, self.telemetry = self.telemetry is not None, None
            self._changed()
        if first:
            say(logger, logging.ERROR, "telemetry is cut off from this run: %s", placed(error))

    # --- Runs of another audience -------------------------------------------------------------------------

    @property
    def shows_parts(self) -> bool:
        """Whether parts are made of anything now: for a receiver, or to be exported."""
        return bool(self._wants or self._exported)

    @property
    def has_receivers(self) -> bool:
        """Whether anybody is there who takes parts: else nobody is waited for."""
        return bool(self._members)

    @property
    def deep_modes(self) -> tuple[StreamMode | Custom, ...]:
        """The modes that somebody wants of subgraphs, too."""
        wanting = (one.want.modes for one in tuple(self._members.values()) if one.want.subgraphs)
        return tuple(dict.fromkeys(mode for modes in wanting for mode in modes))

    def relay(self, part: StreamPart, event: Event | None, ns: tuple[str, ...], task: Task) -> None:
        """Offer a part of a run of ``task`` with another audience as if it were a subgraph's, at ``ns``."""
        outlets = [
            one.outlet
            for one in tuple(self._members.values())
            if one.want.subgraphs and part.type in _names(one.want.modes)
        ]
        self._desk.relay(part, event, joined(outlets), task, ns=(*ns, *part.ns))

    # --- Waiting for consumers ------------------------------------------------------------------------------

    def _sinks(self) -> tuple[tuple[Sink, ...], tuple[Sink, ...]]:
        blocking = self._blocking
        if blocking is None:
            with self._audience:
                self._everybody = tuple(self._members)
                blocking = self._blocking = tuple(
                    one for one in self._everybody if one.config.overflow is OverflowPolicy.BLOCK
                )
        return blocking, self._everybody

    @property
    def full(self) -> bool:
        """Whether ``drain`` would wait."""
        return any(one.over_capacity for one in self._sinks()[0])

    async def drain(self) -> None:
        """Wait until no ``block`` receiver holds more than its size.

        Nodes that never await would keep consumers on the same event loop from running, so whoever has
        parts waiting gets a turn here: at once if the buffer is half full, else every fifth of a
        millisecond, as a turn costs as much as a superstep.
        """
        blocking, everybody = self._sinks()
        for one in blocking:
            if one.over_capacity:
                await one.room(self, self.on_stall)
        for one in everybody:
            if one.held and (one.half_full or monotonic() - self._breathed > _TURN_EVERY):
                await yield_turn()
                self._breathed = monotonic()
                return


def _names(modes: Iterable[StreamMode | Custom]) -> list[str]:
    return [mode.name if isinstance(mode, Custom) else mode for mode in modes]


def _ignore(_: Any) -> None:
    """Do nothing: nobody wants it."""
