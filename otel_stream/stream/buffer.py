"""What waits between a run and one consumer, and the account of it.

Rules of this file
------------------
1. Every part offered is, at any moment, in exactly one of five places: delivered, dropped,
   sampled out, filtered, or held. Whatever comes in or is lost is counted under the lock; what is
   no longer held and was not lost has been delivered, so that a take needs to count nothing.
   An aggregate weighs as much as the parts in it; the parts in an open window are held as well.
2. What is lost is told in-band: the consumer's next take is a gap marker.
3. No user code runs under the lock, but for the joining of two message chunks.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from threading import RLock
from typing import Literal, assert_never

from otel_stream.config import OverflowPolicy
from otel_stream.stream.coalescing import Newest
from otel_stream.stream.gap import Gap
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.statistics import ModeStatistics, ReceiverStatistics
from otel_stream.stream.wakeup import Waiter, wake_all


class Buffer:
    """Parts in the order of their arrival, ``capacity`` of them before ``overflow`` decides.

    ``ttl`` is in seconds: what has waited for longer than that since it came into being is lost, from the
    oldest on. No timer does it, but whoever takes, looks, or finds the buffer full. ``clock`` tells
    nanoseconds since the epoch, as ``time_unix_nano`` of a part does.

    Any number of threads may offer and take. The lock is re-entrant, because a finalizer may run in
    the middle of anything and close the stream it finalizes. A stream may give its own ``lock`` to a buffer
    that nobody else knows yet: then an offer takes one lock, and not two.
    """

    __slots__ = (
        "_clock", "_closed", "_dropped", "_evicts", "_filtered", "_gap", "_high", "_limit", "_newest",
        "_offered", "_parts", "_reasons", "_sampled_out", "_sealed", "_shared", "_ttl", "_windows",
        "capacity", "lock", "overflow", "pop",
    )  # fmt: skip

    def __init__(
        self,
        capacity: int,
        overflow: OverflowPolicy,
        ttl: float | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.capacity = capacity
        self.overflow = overflow
        self._ttl = None if ttl is None else int(ttl * 1e9)
        self._clock = clock
        self.lock = RLock()
        self._shared = False
        self._parts: deque[StreamPart] = deque()
        self._newest = Newest() if overflow is OverflowPolicy.COALESCE else None
        #: Whether an offer may remove what is held: then a take must not come between.
        self._evicts = ttl is not None or overflow in (OverflowPolicy.DROP_OLDEST, OverflowPolicy.COALESCE)
        #: All that a take is where nothing held is ever lost; raises IndexError if nothing is held.
        self.pop: Callable[[], StreamPart] | None = None
        if not self._evicts and overflow is not OverflowPolicy.DROP_NEWEST:
            self.pop = self._parts.popleft  # one atomic step from held to delivered
        self._gap: Gap | None = None
        self._sealed = self._closed = False
        #: From this many held parts on, an offer is not simply appended; 0 once sealed.
        self._limit = sys.maxsize if overflow is OverflowPolicy.BLOCK and ttl is None else capacity
        #: How many parts of each mode are in open windows.
        self._windows: Counter[str] = Counter()
        self._high = 0
        #: Not a Counter, whose items cost twice as much: this is counted for every part.
        self._offered: dict[str, int] = {}
        self._dropped: Counter[str] = Counter()
        self._sampled_out: Counter[str] = Counter()
        self._filtered: Counter[str] = Counter()
        #: (mode, reason) → how many of the dropped.
        self._reasons: Counter[tuple[str, str]] = Counter()

    def share(self, lock: RLock) -> bool:
        """Take ``lock`` for this buffer's, if nobody can know the one it has; return whether it has it."""
        if not (self._shared or self._offered):
            self.lock, self._shared = lock, True
        return self.lock is lock

    def offer(self, part: StreamPart) -> bool:
        """Hold ``part``, or do with it what the policy says. False: the receiver must fail."""
        # Not `with`: that way of entering and leaving costs as much again as the lock.
        lock = self.lock
        lock.acquire()
        try:
            return self._sealed or self._offer(part)
        finally:
            lock.release()

    def putting(self, consumers: deque[Waiter]) -> Callable[[StreamPart, object], None] | None:
        """Return what does what ``offer`` does, and wakes ``consumers``, for who has ``lock``.

        It takes half the time. None if the policy may let the receiver fail, which it could not tell.
        """
        if self.overflow is OverflowPolicy.ERROR:
            return None
        parts, offered, newest = self._parts, self._offered, self._newest
        append = parts.append

        def put(part: StreamPart, _: object) -> None:
            held = len(parts)
            if held < self._limit:
                try:
                    offered[part.type] += 1
                except KeyError:
                    offered[part.type] = 1
                append(part)
                if held >= self._high:
                    self._high = held + 1
                if newest is not None:
                    newest.hold(part)
            elif not self._sealed:
                self._offer(part)
            if consumers:
                wake_all(consumers)

        return put

    def _offer(self, part: StreamPart) -> bool:
        self._count(part.type)
        return self._hold(part)

    def _count(self, mode: str) -> None:
        self._offered[mode] = self._offered.get(mode, 0) + 1

    def absorb(self, part: StreamPart) -> bool:
        """Count ``part`` as offered and held by an open window. False: too late, it counts nowhere."""
        lock = self.lock
        lock.acquire()
        try:
            if self._sealed:
                return False
            self._count(part.type)
            self._windows[part.type] += 1
            return True
        finally:
            lock.release()

    def release(self, part: StreamPart) -> bool:
        """Do what ``offer`` does with as many absorbed parts as ``part`` stands for, sealed or not."""
        with self.lock:
            if self._closed:  # they have been dropped
                return True
            self._windows[part.type] -= part.weight
            return self._hold(part)

    def forfeit(self, mode: str, count: int, reason: str) -> None:
        """Drop as many absorbed parts."""
        with self.lock:
            if not self._closed:
                self._windows[mode] -= count
                self._dropped[mode] += count
                self._reasons[mode, reason] += count

    def _hold(self, part: StreamPart) -> bool:
        if self._ttl is not None:
            self._expire()
        if len(self._parts) >= self.capacity:
            return self._overflow(part)
        self._append(part)
        return True

    def _append(self, part: StreamPart) -> None:
        self._parts.append(part)
        self._high = max(self._high, len(self._parts))
        if self._newest is not None:
            self._newest.hold(part)

    def _pop(self) -> StreamPart:
        place = self._parts.popleft()
        return place if self._newest is None else self._newest.leave(place)

    def _expire(self) -> None:
        if self._ttl is None:
            return
        born = self._clock() - self._ttl
        while self._parts and (self._time_of_oldest() or born) < born:
            self._lose(self._pop(), "expired")

    def _time_of_oldest(self) -> int | None:
        place = self._parts[0]
        return (place if self._newest is None else self._newest.at(place)).time_unix_nano

    def expires_in(self) -> float | None:
        """Return in how many seconds the oldest held part is lost, None if never."""
        with self.lock:
            self._expire()
            time = self._time_of_oldest() if self._ttl is not None and self._parts else None
            if time is None or self._ttl is None:
                return None
            return max(0.0, (time + self._ttl - self._clock()) / 1e9)

    def _overflow(self, part: StreamPart) -> bool:
        """Apply the policy. A full buffer stays as long as it was, but for ``block``."""
        match self.overflow:
            case OverflowPolicy.BLOCK:
                self._append(part)
            case OverflowPolicy.DROP_OLDEST:
                self._lose(self._pop(), "drop_oldest")
                self._append(part)
            case OverflowPolicy.DROP_NEWEST:
                self._lose(part, "drop_newest")
            case OverflowPolicy.COALESCE:
                self._coalesce(part)
            case OverflowPolicy.ERROR:
                self._drop(part, "error")
                return False
            case _:
                assert_never(self.overflow)
        return True

    def _coalesce(self, part: StreamPart) -> None:
        assert self._newest is not None
        older = self._newest.replace(part)
        if older is not None:
            self._lose(older, "coalesced")
            return
        self._lose(self._pop(), "drop_oldest")
        self._append(part)

    def take(self) -> StreamPart | None:
        """Return the next part, before it a gap marker if parts were lost; None if there is nothing."""
        if self._evicts or self._gap is not None:
            return self._take_told()
        try:
            return self._parts.popleft()  # one atomic step, as ``pop`` is
        except IndexError:
            return None

    def _take_told(self) -> StreamPart | None:
        with self.lock:
            if self._ttl is not None:
                self._expire()
            if self._gap is not None:
                gap, self._gap = self._gap, None
                return gap.part()
            return self._pop() if self._parts else None

    def refuse(self, part: StreamPart, why: Literal["filtered", "sampled_out", "failed"]) -> None:
        """Count a part that is not held: its consumer does not want it, or can't say whether it does."""
        lock = self.lock
        lock.acquire()
        try:
            if self._sealed:
                return
            self._count(part.type)
            if why == "failed":
                self._drop(part, why)
            else:
                (self._filtered if why == "filtered" else self._sampled_out)[part.type] += 1
        finally:
            lock.release()

    def seal(self) -> None:
        """Take no more offers, and count none. What is held can still be taken."""
        with self.lock:
            self._sealed = True
            self._limit = 0

    def close(self) -> None:
        """Seal, and drop what is held: its consumer has left."""
        with self.lock:
            self.seal()
            for mode, count in (+self._windows).items():
                self.forfeit(mode, count, "closed")
            self._closed = True
            with contextlib.suppress(IndexError):  # a take may have got there first
                while True:
                    self._drop(self._pop(), "closed")
            self._gap = None

    @property
    def sealed(self) -> bool:
        """Whether offers count no more."""
        return self._sealed

    @property
    def closed(self) -> bool:
        """Whether nothing can be taken any more."""
        return self._closed

    def waiting(self) -> tuple[int, int | None]:
        """Return how many parts are held, open windows included, and when the oldest came into being."""
        with self.lock:
            oldest = self._parts[0].time_unix_nano if self._parts else None
            return sum(part.weight for part in self._parts) + self._windows.total(), oldest

    @property
    def oldest(self) -> StreamPart | None:
        """What a take would come to first, None if there is nothing; a take may get there before you."""
        try:
            return self._parts[0]
        except IndexError:
            return None

    @property
    def idle(self) -> bool:
        """Whether a take would return nothing."""
        if self._ttl is not None:
            self.expires_in()  # what is too old is lost by looking
        return not self._parts and self._gap is None

    @property
    def half_full(self) -> bool:
        """Whether at least half of the capacity is held."""
        return len(self._parts) * 2 >= self.capacity

    @property
    def over_capacity(self) -> bool:
        """Whether more is held than the capacity, as only ``block`` allows."""
        if self._ttl is not None:
            self.expires_in()  # what is too old is lost by looking
        return len(self._parts) > self.capacity

    def _lose(self, part: StreamPart, reason: str) -> None:
        """Drop ``part`` and have the consumer told."""
        self._drop(part, reason)
        if self._gap is None:
            self._gap = Gap()
        self._gap.add(part, reason)

    def _drop(self, part: StreamPart, reason: str) -> None:
        self._dropped[part.type] += part.weight
        self._reasons[part.type, reason] += part.weight

    def statistics(self) -> ReceiverStatistics:
        """Return the account as it is now."""
        with self.lock:
            self._expire()
            held = self._held()
            reasons: Counter[str] = Counter()
            for (_, reason), count in self._reasons.items():
                reasons[reason] += count
            by_mode = {
                mode: self._account(mode, offered, held[mode]) for mode, offered in self._offered.items()
            }
            return ReceiverStatistics(
                offered=sum(self._offered.values()),
                delivered=sum(mode.delivered for mode in by_mode.values()),
                dropped=self._dropped.total(),
                sampled_out=self._sampled_out.total(),
                filtered=self._filtered.total(),
                held=held.total(),
                high_water=self._high,
                by_mode=by_mode,
                reasons=dict(reasons),
            )

    def _held(self) -> Counter[str]:
        held = self._windows.copy()
        for place in self._parts.copy():  # a copy: a take may need no lock
            part = place if self._newest is None else self._newest.at(place)
            held[part.type] += part.weight
        return held

    def _account(self, mode: str, offered: int, held: int) -> ModeStatistics:
        dropped, filtered, sampled_out = self._dropped[mode], self._filtered[mode], self._sampled_out[mode]
        delivered = offered - dropped - filtered - sampled_out - held
        reasons = {why: count for (of, why), count in self._reasons.items() if of == mode}
        return ModeStatistics(offered, delivered, dropped, sampled_out, filtered, held, reasons)
