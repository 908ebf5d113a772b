"""What waits between a run and one consumer, and the account of it.

Rules of this file
------------------
1. Every part offered is, at any moment, in exactly one of five places: delivered, dropped,
   sampled out, filtered, or held. Whatever comes in or is lost is counted under the lock; what is
   no longer held and was not lost has been delivered, so that a take needs to count nothing.
2. What is lost is told in-band: the consumer's next take is a gap marker.
3. No user code runs under the lock, but for the joining of two message chunks.
"""

from __future__ import annotations

from collections import Counter, deque
from threading import RLock
from typing import Literal, assert_never

from otel_stream.coalesce import Newest
from otel_stream.config import OverflowPolicy
from otel_stream.gap import Gap
from otel_stream.modes import StreamPart
from otel_stream.statistics import ModeStatistics, ReceiverStatistics


class Buffer:
    """Parts in the order of their arrival, ``capacity`` of them before ``overflow`` decides.

    Any number of threads may offer and take. The lock is re-entrant, because a finalizer may run in
    the middle of anything and close the stream it finalizes.
    """

    __slots__ = (
        "_dropped", "_evicts", "_filtered", "_gap", "_high", "_limit", "_lock", "_newest", "_offered",
        "_parts", "_reasons", "_sampled_out", "_sealed", "capacity", "overflow",
    )  # fmt: skip

    def __init__(self, capacity: int, overflow: OverflowPolicy) -> None:
        self.capacity = capacity
        self.overflow = overflow
        self._lock = RLock()
        self._parts: deque[StreamPart] = deque()
        self._newest = Newest() if overflow is OverflowPolicy.COALESCE else None
        #: Whether an offer may remove what is held: then a take must not come between.
        self._evicts = overflow in (OverflowPolicy.DROP_OLDEST, OverflowPolicy.COALESCE)
        self._gap: Gap | None = None
        self._sealed = False
        #: From this many held parts on, an offer is not simply appended; 0 once sealed.
        self._limit = capacity
        self._high = 0
        self._offered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._sampled_out: Counter[str] = Counter()
        self._filtered: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def offer(self, part: StreamPart) -> bool:
        """Hold ``part``, or do with it what the policy says. False: the receiver must fail."""
        # Not `with`: that way of entering and leaving costs twice as much as all the rest.
        lock = self._lock
        lock.acquire()
        try:
            parts = self._parts
            held = len(parts)
            if held >= self._limit:
                return self._sealed or self._overflow(part)
            self._offered[part.type] += 1
            parts.append(part)
            if held >= self._high:
                self._high = held + 1
            if self._newest is not None:
                self._newest.hold(part)
            return True
        finally:
            lock.release()

    def _overflow(self, part: StreamPart) -> bool:
        """Apply the policy. A full buffer stays as long as it was, but for ``block``."""
        self._offered[part.type] += 1
        match self.overflow:
            case OverflowPolicy.BLOCK:
                self._parts.append(part)
                self._high = max(self._high, len(self._parts))
            case OverflowPolicy.DROP_OLDEST:
                self._lose(self._parts.popleft(), "drop_oldest")
                self._parts.append(part)
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
        self._lose(self._newest.leave(self._parts.popleft()), "drop_oldest")
        self._parts.append(part)
        self._newest.hold(part)

    def take(self) -> StreamPart | None:
        """Return the next part, before it a gap marker if parts were lost; None if there is nothing."""
        if self._evicts or self._gap is not None:
            return self._take_told()
        try:
            return self._parts.popleft()  # one atomic step from held to delivered
        except IndexError:
            return None

    def _take_told(self) -> StreamPart | None:
        with self._lock:
            if self._gap is not None:
                gap, self._gap = self._gap, None
                return gap.part()
            if not self._parts:
                return None
            part = self._parts.popleft()
            return part if self._newest is None else self._newest.leave(part)

    def refuse(self, part: StreamPart, why: Literal["filtered", "sampled_out", "failed"]) -> None:
        """Count a part that is not held: its consumer does not want it, or can't say whether it does."""
        with self._lock:
            if self._sealed:
                return
            self._offered[part.type] += 1
            if why == "failed":
                self._drop(part, why)
            else:
                (self._filtered if why == "filtered" else self._sampled_out)[part.type] += 1

    def seal(self) -> None:
        """Take no more offers, and count none. What is held can still be taken."""
        with self._lock:
            self._sealed = True
            self._limit = 0

    def close(self) -> None:
        """Seal, and drop what is held: its consumer has left."""
        with self._lock:
            self.seal()
            self._gap = None
            while (part := self.take()) is not None:
                self._drop(part, "closed")

    @property
    def idle(self) -> bool:
        """Whether a take would return nothing."""
        return not self._parts and self._gap is None

    @property
    def over_capacity(self) -> bool:
        """Whether more is held than the capacity, as only ``block`` allows."""
        return len(self._parts) > self.capacity

    def _lose(self, part: StreamPart, reason: str) -> None:
        """Drop ``part`` and have the consumer told."""
        self._drop(part, reason)
        if self._gap is None:
            self._gap = Gap()
        self._gap.add(part, reason)

    def _drop(self, part: StreamPart, reason: str) -> None:
        self._dropped[part.type] += 1
        self._reasons[reason] += 1

    def statistics(self) -> ReceiverStatistics:
        """Return the account as it is now."""
        with self._lock:
            held = Counter(part.type for part in self._parts.copy())
            by_mode = {
                mode: self._account(mode, offered, held[mode]) for mode, offered in self._offered.items()
            }
            return ReceiverStatistics(
                offered=self._offered.total(),
                delivered=sum(mode.delivered for mode in by_mode.values()),
                dropped=self._dropped.total(),
                sampled_out=self._sampled_out.total(),
                filtered=self._filtered.total(),
                held=held.total(),
                high_water=self._high,
                by_mode=by_mode,
                reasons=dict(self._reasons),
            )

    def _account(self, mode: str, offered: int, held: int) -> ModeStatistics:
        dropped, filtered, sampled_out = self._dropped[mode], self._filtered[mode], self._sampled_out[mode]
        delivered = offered - dropped - filtered - sampled_out - held
        return ModeStatistics(offered, delivered, dropped, sampled_out, filtered, held)
