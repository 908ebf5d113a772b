"""Where a stream's parts go: receivers, and what hands them on elsewhere."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence, Sized
from threading import RLock
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from otel_stream.config import StreamConfig, as_config
from otel_stream.events import End, Event, RunEnded, SuperstepEnded
from otel_stream.parts import StreamPart
from otel_stream.stream.admission import Admission
from otel_stream.stream.guard import say
from otel_stream.stream.inbox import Inbox
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: Gives a part, made of an event, to a sink; quick, and without foreign code, as a lock is held.
Put: TypeAlias = Callable[[StreamPart, Event | None], None]

_NUMBERS = itertools.count(1)


class Source(Protocol):
    """What sinks are attached to."""

    def attach(self, *sinks: Any) -> None:
        """Give them the parts from now on."""

    def detach(self, sink: Any, /) -> None:
        """Give it no more."""


class Outlet(NamedTuple):
    """How parts come to a sink: ``put`` under the stream's lock; then, without, ``settle`` if ``waiting``."""

    put: Put
    #: Whether there is something to settle: consumers to be woken, jobs to be done.
    waiting: Sized
    settle: Callable[[], None]


def _nothing(*_: Any) -> None:
    """Do nothing."""


#: Where parts go that are only exported.
NOWHERE: Final = Outlet(_nothing, (), _nothing)


def joined(outlets: Sequence[Outlet]) -> Outlet:
    """Return several outlets as one."""
    if len(outlets) < 2:
        return outlets[0] if outlets else NOWHERE
    puts, settling = [one.put for one in outlets], [(one.waiting, one.settle) for one in outlets]

    def put_to_each(part: StreamPart, event: Event | None) -> None:
        for put in puts:
            put(part, event)

    def settle_each() -> None:
        for waiting, settle in settling:
            if waiting:
                settle()

    return Outlet(put_to_each, outlets, settle_each)


class Sink:
    """One place where parts go. ``config`` says which; they come through what ``join`` returns.

    This one is of no consequence to its run: it makes nobody wait and holds nothing.
    """

    #: Whether it goes on from run to run.
    lasting = False
    #: What decides upon the parts it is given; None if nothing does.
    admission: Admission | None = None

    def __init__(self, config: StreamConfig) -> None:
        self.config = as_config(config)
        self.name = config.name or f"receiver-{next(_NUMBERS)}"
        #: What broke it, while the run went on.
        self.failed: BaseException | None = None
        self._over = False
        self._sources: set[Source] = set()

    @property
    def over(self) -> bool:
        """Whether no part will be offered any more; some may still be held."""
        return self._over

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where parts come from."""
        return tuple(self._sources)

    @property
    def over_capacity(self) -> bool:
        """Whether a run should wait."""
        return False

    @property
    def held(self) -> bool:
        """Whether parts wait to be taken."""
        return False

    @property
    def half_full(self) -> bool:
        """Whether at least half of what may wait does."""
        return False

    def join(self, lock: RLock) -> Outlet:
        """Return how a stream that has ``lock`` gives its parts."""
        raise NotImplementedError(f"{type(self).__name__} must say how it takes parts")

    async def room(self, source: Source | None = None, on_stall: Callable[[Any], None] | None = None) -> None:
        """Wait until there is room, or ``source`` has no more to do with it.

        ``on_stall`` is called with this sink if nobody has ever made room in it, and nobody does for long.
        """

    def passed(self, event: SuperstepEnded | RunEnded) -> None:
        """Take note that a superstep or a run has ended, as windows do."""

    def attached(self, source: Source) -> None:
        """Remember where parts come from, to be able to leave."""
        self._sources.add(source)

    def detached(self, source: Source) -> None:
        """Forget a source."""
        self._sources.discard(source)

    def fail(self, error: BaseException, why: str = "") -> None:
        """Cut this sink off. Reported once, as ``why`` or by the class of ``error``; never raises."""
        if self._over or self.failed is not None:
            return
        self.failed = error
        said = why or placed(error)
        say(logger, logging.ERROR, "receiver %r is cut off from its stream: %s", self.name, said)
        self._leave()

    def finish(self, end: End, error: BaseException | None = None) -> None:
        """Mark the end of the run. Never raises."""
        self._leave()

    def _leave(self) -> None:
        self._over = True
        for source in self.sources:
            source.detach(self)


class Forwarder(Sink):
    """Hands each part on as it comes, one at a time and in order; ``forward`` may be foreign code."""

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        self._inbox = Inbox()

    def forward(self, part: StreamPart, event: Event | None) -> None:
        """Hand ``part`` on. Whoever raises is cut off."""
        raise NotImplementedError

    def join(self, lock: RLock) -> Outlet:
        return Outlet(self._put, self._inbox.jobs, self._inbox.settle)

    def _put(self, part: StreamPart, event: Event | None) -> None:
        self._inbox.put((self._try, part, event))

    def _try(self, part: StreamPart, event: Event | None) -> None:
        if self.failed is None:
            try:
                self.forward(part, event)
            except BaseException as error:  # noqa: BLE001 - the run must not notice
                self.fail(error)
