"""The consumer's end of a stream: iterate it, from asyncio, trio or a plain thread.

Rules of this file
------------------
1. A receiver can't break a run: whatever its filter, sampler or consumer does, ``offer`` returns, and what
   wakes a consumer is called without a lock.
2. A receiver that failed first delivers what it holds, then raises, every time it is asked.
3. Who waits looks again after announcing that it waits; so no wake-up is ever lost.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from threading import RLock
from time import monotonic
from typing import Any, Protocol, Self, runtime_checkable

from otel_stream.config import ConfigError, StreamConfig, as_config, as_configs
from otel_stream.events import End, Event, RunEnded, SuperstepEnded
from otel_stream.leaving import ProcessEndsError
from otel_stream.parts import StreamPart
from otel_stream.stream.admission import admission
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.guard import say
from otel_stream.stream.sink import Outlet, Sink, Source
from otel_stream.stream.statistics import ReceiverStatistics
from otel_stream.stream.wakeup import (
    ThreadWaiter,
    Waiter,
    in_event_loop,
    leave,
    stop_asked,
    waiter,
    wake_all,
    yield_turn,
)

logger = logging.getLogger(__name__)

#: Seconds that a run waits for a receiver that was never read before a warning names it.
_UNREAD = 1.0
#: What an iteration must not raise as it is: its consumer would take it for something else.
_MISTAKEN = (StopIteration, StopAsyncIteration, GeneratorExit, CancelledError)
#: What ends the program: it is no failure of the run, and no mere end of it.
_EXITS = (SystemExit, KeyboardInterrupt, ProcessEndsError)
#: Parts a consumer is given in a row before the other tasks of its event loop get a turn.
_TURNS = 64


class ReceiverOverflowError(RuntimeError):
    """A receiver with ``overflow="error"`` was offered more than its buffer holds."""


class StreamDeadlockError(RuntimeError):
    """An awaited run has waited for ``stall_timeout`` for a full ``block`` receiver that nobody has read."""


def deadlock(full: StreamReceiver) -> StreamDeadlockError:
    """Return what whoever awaits a run is told that waits for ``full`` in vain."""
    return StreamDeadlockError(
        f"the run waits for receiver {full.name!r}, whose buffer of {full.config.buffer_size} parts is "
        f"full, and nobody has read it for {full.stall_timeout:g} s: read it first, or in a task beside, "
        "close it, or choose an overflow policy other than 'block'"
    )


class StreamReceiver(Sink):
    """An iterator of :class:`StreamPart`, asynchronous and synchronous, and the account of its parts.

    A receiver belongs to one run and ends with it; a ``lasting`` one gets the parts of every run it
    is attached to, until it is closed. Leaving it as a context manager closes it.

    Iteration raises what the run raised after its last part, or what broke the receiver itself
    (:class:`ReceiverOverflowError`, or the error of its filter or sampler).
    """

    #: Seconds that a run waits for a consumer that takes nothing before a warning names the receiver. If
    #: nobody has ever read it, the warning comes after one second, and now whoever awaits the run is told.
    stall_timeout = 30.0

    def __init__(self, config: StreamConfig, *, lasting: bool = False) -> None:
        super().__init__(config)
        self.lasting = lasting
        #: How the run ended; None as long as it goes on, and always for a lasting receiver.
        self.end: End | None = None
        #: What iteration raises in the end.
        self._error: BaseException | None = None
        self._buffer = Buffer(config.buffer_size, config.overflow, config.ttl)
        #: What decides upon parts before they come to the buffer; None if nothing does.
        self.admission = admission(
            config, self._buffer, failed=self.fail, refused=self._fail_for_overflow, changed=self._wake
        )
        self._bare = not config.include_metadata
        self._pop = None if self._bare or config.aggregate is not None else self._buffer.pop
        self._consumers: deque[Waiter] = deque()
        self._producers: deque[Waiter] = deque()
        self._turn = 0
        #: The oldest part when a warning last said that nobody takes it.
        self._named: object = None

    def __repr__(self) -> str:
        return f"StreamReceiver(name={self.name!r}, modes={self.config.modes!r})"

    # --- The producer's side -------------------------------------------------------------------------

    def offer(self, part: StreamPart, event: Event | None = None) -> None:
        """Take ``part``, made of ``event``, or count why not. Never raises, never blocks."""
        put, waiting, settle = self._outlet
        with self._buffer.lock:
            put(part, event)
        if waiting:
            settle()

    @cached_property
    def _outlet(self) -> Outlet:
        if self.admission is not None:
            return Outlet(self.admission.put, self.admission.inbox.jobs, self._settle)
        return Outlet(self._buffer.putting(), self._consumers, self._wake)

    def join(self, lock: RLock) -> Outlet:
        """Return how a stream that has ``lock`` gives its parts.

        Who is of one run only makes ``lock`` its own: then a part takes one lock, however many want it.
        """
        put, waiting, settle = self._outlet
        if not self.lasting and self._buffer.share(lock):
            return self._outlet
        own = self._buffer.lock

        def put_locked(part: StreamPart, event: Event | None) -> None:
            with own:
                put(part, event)

        return Outlet(put_locked, waiting, settle)

    def _settle(self) -> None:
        assert self.admission is not None
        self.admission.inbox.settle()
        if self._producers and not self.over_capacity:
            wake_all(self._producers)

    def _wake(self) -> None:
        if self._consumers:
            wake_all(self._consumers)

    def _fail_for_overflow(self) -> None:
        config = self.config
        why = (
            f"its buffer of {config.buffer_size} parts is full and its overflow policy is "
            f"{config.overflow.value!r}; take parts faster, raise StreamConfig.buffer_size, "
            "or choose another policy"
        )
        self.fail(ReceiverOverflowError(f"receiver {self.name!r}: {why}"), why)

    def fail(self, error: BaseException, why: str = "") -> None:
        """Cut this receiver off: its consumer gets what is held, then ``error``. Reported once."""
        if not self._over and self.failed is None:
            self._error = error
        super().fail(error, why)

    def finish(self, end: End, error: BaseException | None = None) -> None:
        """Mark the end of the run: iteration stops after what is held, raising ``error`` if it failed.

        Only then: the ``CancelledError`` of a run must not look as if its consumer were cancelled.
        """
        if self._over or self.failed is not None:
            return
        self.end = end
        self._error = error if end.failed or isinstance(error, _EXITS) else None
        self._leave()

    def passed(self, event: SuperstepEnded | RunEnded) -> None:
        """Close the windows that end with a superstep or a run."""
        if self.admission is not None:
            self.admission.passed(event)

    def detached(self, source: Source) -> None:
        """Forget a source, which waits for no room here any longer."""
        super().detached(source)
        wake_all(self._producers)

    def _leave(self) -> None:
        if self.admission is None:
            self._halt()
        else:
            self.admission.finish(self._halt)

    def _halt(self) -> None:
        self._buffer.seal()
        super()._leave()
        self._wake()
        wake_all(self._producers)

    @property
    def held(self) -> bool:
        """Whether parts wait to be taken."""
        return not self._buffer.idle

    @property
    def half_full(self) -> bool:
        """Whether at least half of what the buffer may hold waits to be taken."""
        return self._buffer.half_full

    @property
    def over_capacity(self) -> bool:
        """Whether a run should wait for the consumer."""
        waiting = 0 if self.admission is None else len(self.admission.inbox.jobs)
        return not self._over and self._buffer.excess + waiting > 0

    def makes_wait(self, source: Source | None = None) -> bool:
        """Return whether ``source``, by default anybody, should wait for the consumer."""
        return self.over_capacity and (source is None or source in self._sources)

    @property
    def was_read(self) -> bool:
        """Whether somebody has taken a part, or waits for one."""
        return bool(self._consumers) or self._buffer.statistics().delivered > 0

    async def room(
        self, source: Source | None = None, on_stall: Callable[[StreamReceiver], None] | None = None
    ) -> None:
        """Wait until the buffer holds no more than its size, or ``source`` has no more to do with it.

        ``on_stall`` is called if nobody has read the receiver, and nobody does so for ``stall_timeout``.
        """
        expiring = self.config.ttl is not None  # what fills the buffer leaves by itself
        stall = self._stall(on_stall)
        patience = None if expiring else next(stall)
        while self.makes_wait(source) and not stop_asked():
            oldest, since = self._buffer.oldest, monotonic()
            producer = waiter()
            self._producers.append(producer)
            try:
                if self.makes_wait(source):
                    await producer.wait(self._buffer.expires_in() if expiring else patience)
            finally:
                leave(self._producers, producer)
            # Who was woken for room that others have taken has not waited in vain.
            in_vain = patience is not None and monotonic() - since >= 0.99 * patience
            if in_vain and self.over_capacity and self._buffer.oldest is oldest:
                patience = next(stall)

    def _stall(self, on_stall: Callable[[StreamReceiver], None] | None) -> Iterator[float | None]:
        """Yield the seconds to wait for a consumer, each time it has taken nothing; say so in between."""
        unread = not self.was_read
        first = min(_UNREAD, self.stall_timeout) if unread else self.stall_timeout
        yield first
        self._warn_of_stall()
        if unread:
            yield self.stall_timeout - first
            if on_stall is not None:
                on_stall(self)
        yield None

    def _warn_of_stall(self) -> None:
        oldest = self._buffer.oldest
        if oldest is self._named:  # by another node that waits for the same
            return
        self._named = oldest
        say(
            logger,
            logging.WARNING,
            "a run waits for receiver %r: nobody takes from its full buffer of %d parts; "
            "iterate the receiver, close it, or choose an overflow policy other than 'block'",
            self.name,
            self.config.buffer_size,
        )

    # --- The consumer's side -------------------------------------------------------------------------

    def take_nowait(self) -> StreamPart | None:
        """Return the next part, or None if nothing is held now."""
        if self._pop is not None:
            try:
                part = self._pop()
            except IndexError:
                return None
            if self._producers and not self._buffer.over_capacity:
                wake_all(self._producers)
            return part
        return self._take()

    def _take(self) -> StreamPart | None:
        if self.admission is not None:
            self.admission.tick()
        part = self._buffer.take()
        if part is None:
            return None
        if self._producers and not self._buffer.over_capacity:
            wake_all(self._producers)
        return part.bare() if self._bare else part

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamPart:
        # A part that is there is handed over without a turn of the event loop, but not for ever.
        self._turn += 1
        if self._turn > _TURNS:
            await yield_turn()
        elif self._pop is None:
            part = self._take()
            if part is not None:
                return part
        else:
            try:  # what ``take_nowait`` does, without the call
                part = self._pop()
            except IndexError:
                return await self._next()
            if self._producers and not self._buffer.over_capacity:
                wake_all(self._producers)
            return part
        return await self._next()

    async def _next(self) -> StreamPart:
        self._turn = 0
        while True:
            over = self._over  # read before taking: what is offered until then must be delivered
            part = self.take_nowait()
            if part is not None:
                return part
            if over:
                raise self._last_words(StopAsyncIteration)
            consumer = waiter()
            self._consumers.append(consumer)
            try:
                if self._buffer.idle and not self._over:
                    await consumer.wait(None if self.admission is None else self.admission.due_in())
            finally:
                leave(self._consumers, consumer)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamPart:
        while True:
            over = self._over
            part = self.take_nowait()
            if part is not None:
                return part
            if over:
                raise self._last_words(StopIteration)
            if in_event_loop():
                raise RuntimeError(
                    f"receiver {self.name!r}: waiting here would block the event loop; use 'async for'"
                )
            consumer = ThreadWaiter()
            self._consumers.append(consumer)
            try:
                if self._buffer.idle and not self._over:
                    consumer.block(None if self.admission is None else self.admission.due_in())
            finally:
                leave(self._consumers, consumer)

    def _last_words(self, mere_end: type[BaseException]) -> BaseException:
        """Return what iteration raises in the end: what broke it, unless that would look like a mere end."""
        error = self._error
        if error is None:
            return mere_end()
        if not isinstance(error, _MISTAKEN):
            return error
        broken = RuntimeError(f"receiver {self.name!r} is at its end by {type(error).__name__}: {error}")
        broken.__cause__ = error
        return broken

    @property
    def closed(self) -> bool:
        """Whether nothing more will come: the run has ended, or the receiver has failed or was closed."""
        return self._over

    def clone(self, **changes: Any) -> StreamReceiver:
        """Return a receiver of the same runs from now on, with a buffer and an account of its own.

        ``changes`` are the settings of ``StreamConfig`` in which it differs. What is held here is not copied.

        Raises:
            ConfigError: a setting that can't be used.
            RuntimeError: this receiver has failed or was closed.
        """
        return self.tee((changed(self.config, **changes),))[0]

    def tee(self, *branches: int | StreamConfig | Iterable[StreamConfig]) -> tuple[StreamReceiver, ...]:
        """Return several clones that begin at the same part: so many (two by default), or one per config.

        This receiver goes on as before: read it, or close it.

        Raises:
            ConfigError: ``branches`` is no number above 0, and no config.
            RuntimeError: this receiver has failed or was closed.
        """
        if self._over and self.end is None:
            raise RuntimeError(
                f"receiver {self.name!r} has left its stream: clone it earlier, or ask the stream itself"
            )
        configs = branch_configs(self.config, branches)
        made = tuple(StreamReceiver(config, lasting=self.lasting) for config in configs)
        for source in self.sources:
            source.attach(*made)
        if self.end is not None:
            for one in made:
                one.finish(self.end, self._error)
        return made

    @property
    def account(self) -> Buffer:
        """What keeps the account of its parts, for who adds it up when this is gone."""
        return self._buffer

    def statistics(self) -> ReceiverStatistics:
        """Return what became of every part so far."""
        return self._buffer.statistics()

    def close(self) -> None:
        """Leave the stream: what is held counts as dropped, iteration stops. Idempotent."""
        self._buffer.close()
        self._error = None
        self._leave()

    async def aclose(self) -> None:
        """Do what :meth:`close` does."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


@runtime_checkable
class Carrier(Protocol):
    """What carries the parts of runs elsewhere: ``open_stream`` takes it beside ``StreamConfig``s."""

    def outgoing(self) -> Outgoing:
        """Return what takes the parts of one run."""
        ...


class Outgoing(StreamReceiver):
    """A receiver of one run that somebody else reads, and who of those that leave the run waits for."""

    def belongs_to(self, run_id: str) -> None:
        """Take note of the id of the run. Never raises."""


def opened(
    streams: Iterable[StreamConfig | Carrier],
) -> tuple[tuple[StreamReceiver, ...], tuple[Outgoing, ...]]:
    """Return a receiver for each config, and one to be read elsewhere for each carrier.

    Raises:
        ConfigError: one of ``streams`` is neither.
    """
    here: list[StreamReceiver] = []
    elsewhere: list[Outgoing] = []
    for one in streams:
        if isinstance(one, Carrier):
            elsewhere.append(one.outgoing())
        else:
            here.append(StreamReceiver(as_config(one)))
    return tuple(here), tuple(elsewhere)


def changed(config: StreamConfig, **changes: Any) -> StreamConfig:
    """Return ``config`` with some settings changed, and without its name unless that is given, too."""
    return replace(config, **{"name": None, **changes})


def branch_configs(config: StreamConfig | None, branches: tuple[Any, ...]) -> tuple[StreamConfig, ...]:
    """Return one config per branch: those given, or so many times the same one.

    Raises:
        ConfigError: a number below 1, or of nothing; or no config.
    """
    if branches and not isinstance(branches[0], int):
        return tuple(one for given in branches for one in as_configs(given))
    number = branches[0] if branches else 2
    given = ", ".join(map(repr, branches))
    if number < 1 or len(branches) > 1:
        raise ConfigError(f"tee: {given} is no number of branches; give 1 or more, or one config each")
    if config is None:
        raise ConfigError(f"tee: {number!r} branches of no receiver; give one StreamConfig each")
    return (changed(config),) * number
