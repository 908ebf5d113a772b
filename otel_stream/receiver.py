"""The consumer's end of a stream: iterate it, from asyncio, trio or a plain thread.

Rules of this file
------------------
1. A receiver can't break a run: whatever its filter, sampler or consumer does, ``offer`` returns.
2. A receiver that failed first delivers what it holds, then raises, every time it is asked.
3. Who waits looks again after announcing that it waits; so no wake-up is ever lost.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from otel_stream.buffer import Buffer
from otel_stream.config import StreamConfig
from otel_stream.events import End
from otel_stream.filters import acceptance
from otel_stream.modes import StreamPart
from otel_stream.sampling import sampling
from otel_stream.statistics import ReceiverStatistics
from otel_stream.wait import ThreadWaiter, Waiter, breathe, in_event_loop, waiter

logger = logging.getLogger(__name__)

_NUMBERS = itertools.count(1)
#: Parts a consumer is given in a row before the other tasks of its event loop get a turn.
_TURNS = 64


class ReceiverOverflowError(RuntimeError):
    """A receiver with ``overflow="error"`` was offered more than its buffer holds."""


class _Source(Protocol):
    def detach(self, receiver: StreamReceiver) -> None: ...


class StreamReceiver:
    """An iterator of :class:`StreamPart`, asynchronous and synchronous, and the account of its parts.

    A receiver belongs to one run and ends with it; a ``lasting`` one gets the parts of every run it
    is attached to, until it is closed. Leaving it as a context manager closes it.

    Iteration raises what the run raised after its last part, or what broke the receiver itself
    (:class:`ReceiverOverflowError`, or the error of its filter or sampler).
    """

    #: Seconds that a run waits for a consumer that takes nothing before a warning names the receiver.
    stall_timeout = 30.0

    def __init__(self, config: StreamConfig, *, lasting: bool = False) -> None:
        self.config = config
        self.name = config.name or f"receiver-{next(_NUMBERS)}"
        self.lasting = lasting
        #: How the run ended; None as long as it goes on, and always for a lasting receiver.
        self.end: End | None = None
        #: What broke this receiver, while the run went on.
        self.failed: BaseException | None = None
        #: What iteration raises in the end.
        self._error: BaseException | None = None
        self._over = False
        self._buffer = Buffer(config.buffer_size, config.overflow)
        self._accept = None if config.filter is None else acceptance(config.filter)
        self._keep = None if config.sampler is None else sampling(config.sampler)
        self._gated = self._accept is not None or self._keep is not None
        self._bare = not config.include_metadata
        self._sources: set[_Source] = set()
        self._consumers: deque[Waiter] = deque()
        self._producers: deque[Waiter] = deque()
        self._turn = 0

    def __repr__(self) -> str:
        return f"StreamReceiver(name={self.name!r}, modes={self.config.modes!r})"

    # --- The producer's side -------------------------------------------------------------------------

    def offer(self, part: StreamPart) -> None:
        """Take ``part``, with all its metadata, or count why not. Never raises, never blocks."""
        if self._gated and not self._admits(part):
            return
        if not self._buffer.offer(part):
            self._fail_for_overflow()
        if self._consumers:
            _wake(self._consumers)

    def _admits(self, part: StreamPart) -> bool:
        if self._over:
            return False
        try:
            if self._accept is not None and not self._accept(part):
                self._buffer.refuse(part, "filtered")
                return False
            if self._keep is not None and not self._keep(part):
                self._buffer.refuse(part, "sampled_out")
                return False
        except Exception as error:  # noqa: BLE001 - user code; the run must not notice
            self._buffer.refuse(part, "failed")
            self.fail(error)
            return False
        return True

    def _fail_for_overflow(self) -> None:
        config = self.config
        self.fail(
            ReceiverOverflowError(
                f"receiver {self.name!r}: its buffer of {config.buffer_size} parts is full and its overflow "
                f"policy is {config.overflow.value!r}; take parts faster, raise StreamConfig.buffer_size, "
                "or choose another policy"
            )
        )

    def fail(self, error: BaseException) -> None:
        """Cut this receiver off: its consumer gets what is held, then ``error``. Reported once."""
        if self._over:
            return
        self.failed = self._error = error
        logger.error("receiver %r is cut off from its stream: %r", self.name, error, exc_info=error)
        self._stop()

    def finish(self, end: End, error: BaseException | None = None) -> None:
        """Mark the end of the run: iteration stops after what is held, raising ``error`` if it failed.

        Only then: the ``CancelledError`` of a run must not look as if its consumer were cancelled.
        """
        if self._over:
            return
        self.end = end
        self._error = error if end.failed else None
        self._stop()

    def attached(self, source: _Source) -> None:
        """Remember where parts come from, to be able to leave."""
        self._sources.add(source)

    def detached(self, source: _Source) -> None:
        """Forget a source."""
        self._sources.discard(source)

    def _stop(self) -> None:
        self._buffer.seal()
        self._over = True
        for source in tuple(self._sources):
            source.detach(self)
        _wake(self._consumers)
        _wake(self._producers)

    @property
    def over(self) -> bool:
        """Whether no part will be offered any more; some may still be held."""
        return self._over

    @property
    def held(self) -> bool:
        """Whether parts wait to be taken."""
        return not self._buffer.idle

    @property
    def over_capacity(self) -> bool:
        """Whether a run should wait for the consumer."""
        return not self._over and self._buffer.over_capacity

    async def room(self) -> None:
        """Wait until the buffer holds no more than its size, or the receiver is over."""
        patience: float | None = self.stall_timeout
        while self.over_capacity:
            taken = self._buffer.statistics().delivered
            producer = waiter()
            self._producers.append(producer)
            try:
                if self.over_capacity:
                    await producer.wait(patience)
            finally:
                _discard(self._producers, producer)
            if patience is not None and self._is_stalled(taken):
                patience = None  # said once
                self._warn_of_stall()

    def _is_stalled(self, taken: int) -> bool:
        return self.over_capacity and self._buffer.statistics().delivered == taken

    def _warn_of_stall(self) -> None:
        logger.warning(
            "a run waits for receiver %r: nobody takes from its full buffer of %d parts; "
            "iterate the receiver, close it, or choose an overflow policy other than 'block'",
            self.name,
            self.config.buffer_size,
        )

    # --- The consumer's side -------------------------------------------------------------------------

    def take_nowait(self) -> StreamPart | None:
        """Return the next part, or None if nothing is held now."""
        part = self._buffer.take()
        if part is None:
            return None
        if self._producers and not self._buffer.over_capacity:
            _wake(self._producers)
        return part.bare() if self._bare else part

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamPart:
        # A part that is there is handed over without a turn of the event loop, but not for ever.
        self._turn += 1
        if self._turn <= _TURNS:
            part = self.take_nowait()
            if part is not None:
                return part
        else:
            await breathe()
        return await self._next()

    async def _next(self) -> StreamPart:
        self._turn = 0
        while True:
            over = self._over  # read before taking: what is offered until then must be delivered
            part = self.take_nowait()
            if part is not None:
                return part
            if over:
                raise self._error or StopAsyncIteration
            consumer = waiter()
            self._consumers.append(consumer)
            try:
                if self._buffer.idle and not self._over:
                    await consumer.wait()
            finally:
                _discard(self._consumers, consumer)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamPart:
        while True:
            over = self._over
            part = self.take_nowait()
            if part is not None:
                return part
            if over:
                raise self._error or StopIteration
            if in_event_loop():
                raise RuntimeError(
                    f"receiver {self.name!r}: waiting here would block the event loop; use 'async for'"
                )
            consumer = ThreadWaiter()
            self._consumers.append(consumer)
            try:
                if self._buffer.idle and not self._over:
                    consumer.block()
            finally:
                _discard(self._consumers, consumer)

    @property
    def closed(self) -> bool:
        """Whether nothing more will come: the run has ended, or the receiver has failed or was closed."""
        return self._over

    def statistics(self) -> ReceiverStatistics:
        """Return what became of every part so far."""
        return self._buffer.statistics()

    def close(self) -> None:
        """Leave the stream: what is held counts as dropped, iteration stops. Idempotent."""
        self._buffer.close()
        self._error = None
        self._stop()

    async def aclose(self) -> None:
        """Do what :meth:`close` does."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wake(waiters: deque[Waiter]) -> None:
    while True:
        try:
            sleeper = waiters.popleft()
        except IndexError:
            return
        sleeper.wake()


def _discard(waiters: deque[Waiter], one: Waiter) -> None:
    try:
        waiters.remove(one)
    except ValueError:  # it has been woken
        return
