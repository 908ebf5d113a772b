"""What waits between a run and one consumer, and the account of it.

Rules of this file
------------------
1. Every part offered is, at any moment, in exactly one of five places: delivered, dropped,
   sampled out, filtered, or held. Whatever comes in or is lost is counted under the lock; what is
   no longer held and was not lost has been delivered, so that a take needs to count nothing.
   An aggregate weighs as much as the parts in it; the parts in an open window are held as well.
2. What is lost is told in-band: the consumer's next take is a gap marker.
3. No foreign code runs under the lock: what a message has for an id, and how two chunks of one are joined,
   is asked without it.
4. How long something waits is told by a clock that nobody sets.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from operator import attrgetter
from threading import RLock
from typing import Final, assert_never

from otel_stream.config import OverflowPolicy
from otel_stream.parts import StreamPart
from otel_stream.stream.coalescing import Key, Places, both, key_of
from otel_stream.stream.gap import Gap
from otel_stream.stream.statistics import ModeStatistics, ReceiverStatistics

_TYPE: Final = attrgetter("type")


class Buffer:
    """Parts in the order of their arrival, ``capacity`` of them before ``overflow`` decides.

    ``ttl`` is in seconds: what has waited here for longer than that is lost. No timer does it, but whoever
    takes, looks, or finds the buffer full. ``clock`` tells nanoseconds; only differences count.

    Any number of threads may offer and take. The lock is re-entrant, because a finalizer may run in
    the middle of anything and close the stream it finalizes. A stream may give its own ``lock`` to a buffer
    that nobody else knows yet: then an offer takes one lock, and not two.
    """

    __slots__ = (
        "_clock", "_closed", "_dropped", "_filtered", "_follows", "_gap", "_high", "_limit", "_locked",
        "_offered", "_parts", "_places", "_reasons", "_sampled_out", "_sealed", "_shared", "_ttl",
        "_weighed", "_windows", "capacity", "lock", "overflow", "pop",
    )  # fmt: skip

    def __init__(
        self,
        capacity: int,
        overflow: OverflowPolicy,
        ttl: float | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.capacity = capacity
        self.overflow = overflow
        self._ttl = None if ttl is None else int(ttl * 1e9)
        self._clock = clock
        self.lock = RLock()
        self._shared = False
        #: Where parts may leave out of their turn, or when they came counts; else just a queue.
        self._places = Places() if ttl is not None or overflow is OverflowPolicy.COALESCE else None
        self._parts: deque[StreamPart] = deque()
        #: Whether an offer may remove what is held, or leave a gap: then a take must not come between.
        self._locked = self._places is not None or overflow is OverflowPolicy.DROP_OLDEST
        #: All that a take is where nothing held is ever lost; raises IndexError if nothing is held.
        self.pop: Callable[[], StreamPart] | None = None
        if not self._locked and overflow is not OverflowPolicy.DROP_NEWEST:
            self.pop = self._parts.popleft  # one atomic step from held to delivered
        self._gap: Gap | None = None
        #: What comes next, once its marker was taken: else a slow consumer would be told of gaps alone.
        self._follows: StreamPart | None = None
        self._sealed = self._closed = False
        #: From this many held parts on, an offer is not simply appended; 0 once sealed.
        self._limit = sys.maxsize if overflow is OverflowPolicy.BLOCK and ttl is None else capacity
        #: How many parts of each mode wait for a decision, or in open windows.
        self._windows: Counter[str] = Counter()
        #: Whether there were aggregates, which weigh more than one part.
        self._weighed = False
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
        with self.lock:
            absorbed = self.absorb(part)
        return not absorbed or self.release(part)

    def putting(self) -> Callable[[StreamPart, object], None]:
        """Return what does what ``offer`` does in half the time, for who has ``lock``.

        Not for ``error``, as it can't tell that the receiver must fail, nor for messages that coalesce.
        """
        parts, offered = self._parts, self._offered
        append = parts.append
        ordered = self._places is not None

        def put(part: StreamPart, _: object) -> None:
            held = len(parts)
            if ordered or held >= self._limit:
                if not self._sealed:
                    self._count(part.type)
                    self._hold(part, key_of(part) if ordered else None)
                return
            try:
                offered[part.type] += 1
            except KeyError:
                offered[part.type] = 1
            append(part)
            if held >= self._high:
                self._high = held + 1

        return put

    def _count(self, mode: str) -> None:
        self._offered[mode] = self._offered.get(mode, 0) + 1

    def absorb(self, part: StreamPart) -> bool:
        """Count ``part`` as offered, and held until it is decided upon. False: too late, it doesn't count.

        For who has ``lock``.
        """
        if self._sealed:
            return False
        self._count(part.type)
        self._windows[part.type] += 1
        return True

    def release(self, part: StreamPart, came: int | None = None) -> bool:
        """Do what ``offer`` does with as many absorbed parts as ``part`` stands for, sealed or not.

        ``came``: when the last of them did, by the clock; by default just now.
        """
        key = None if self._places is None else key_of(part)
        if key is not None and part.type == "messages" and self._joins(part, key):
            return True
        with self.lock:
            if self._closed:  # they have been dropped
                return True
            if part.aggregate is None:
                self._windows[part.type] -= 1
            else:
                self._windows[part.type] -= part.weight
                self._weighed = True
            return self._hold(part, key, came)

    def forfeit(self, mode: str, count: int, why: str) -> None:
        """Count absorbed parts as filtered or sampled out, or as dropped for any other reason."""
        with self.lock:
            if not self._closed:
                self._windows[mode] -= count
                self._refused(mode, count, why)

    def refuse(self, part: StreamPart, why: str) -> None:
        """Count a part that is offered, and what ``forfeit`` says at once."""
        with self.lock:
            if not self._sealed:
                self._count(part.type)
                self._refused(part.type, 1, why)

    def _refused(self, mode: str, count: int, why: str) -> None:
        if why == "filtered":
            self._filtered[mode] += count
        elif why == "sampled_out":
            self._sampled_out[mode] += count
        else:
            self._dropped[mode] += count
            self._reasons[mode, why] += count

    def _hold(self, part: StreamPart, key: Key | None, came: int | None = None) -> bool:
        if self._places is None and len(self._parts) < self.capacity:
            self._parts.append(part)
            self._high = max(self._high, len(self._parts))
            return True
        self._expire()
        if self._len() >= self.capacity:
            return self._overflow(part, key, came)
        self._append(part, key, came)
        return True

    def _append(self, part: StreamPart, key: Key | None, came: int | None) -> None:
        if self._places is None:
            self._parts.append(part)
        else:
            self._places.append(part, self._clock() if came is None else came, key)
        self._high = max(self._high, self._len())

    def _len(self) -> int:
        return len(self._parts if self._places is None else self._places)

    def _pop(self) -> StreamPart:
        return self._parts.popleft() if self._places is None else self._places.popleft()

    def _expire(self) -> None:
        places = self._places
        if self._ttl is None or places is None:
            return
        for part in places.expire(self._clock() - self._ttl):
            self._lose(part, "expired")

    def expires_in(self) -> float | None:
        """Return in how many seconds the oldest held part is lost, None if never."""
        with self.lock:
            self._expire()
            if self._ttl is None or not self._places:
                return None
            return max(0.0, (self._places.oldest() + self._ttl - self._clock()) / 1e9)

    def _overflow(self, part: StreamPart, key: Key | None, came: int | None) -> bool:
        """Apply the policy. A full buffer stays as long as it was, but for ``block``."""
        match self.overflow:
            case OverflowPolicy.BLOCK:
                self._append(part, key, came)
            case OverflowPolicy.DROP_OLDEST:
                self._lose(self._pop(), "drop_oldest")
                self._append(part, key, came)
            case OverflowPolicy.DROP_NEWEST:
                self._lose(part, "drop_newest")
            case OverflowPolicy.COALESCE:
                self._coalesce(part, key, came)
            case OverflowPolicy.ERROR:
                self._drop(part, "error")
                return False
            case _:
                assert_never(self.overflow)
        return True

    def _coalesce(self, part: StreamPart, key: Key | None, came: int | None = None) -> None:
        """Make room by what ``part`` is newer than; it comes last itself, so what is held stays in order."""
        places = self._places
        assert places is not None
        if key is not None and places.newest(key) is not None:
            self._lose(places.remove(key), "coalesced")
        else:
            self._lose(places.popleft(), "drop_oldest")
        self._append(part, key, came)

    def _joins(self, part: StreamPart, key: Key) -> bool:
        """Join ``part`` with the older one of its message, if that must make room for it."""
        with self.lock:
            older = None if self._places is None else self._rival(key)
        if older is None:
            return False
        joined = both(older, part)
        with self.lock:
            if self._closed or self._rival(key) is not older:  # a take has got there first
                return False
            self._windows[part.type] -= part.weight
            self._coalesce(joined, key)
        return True

    def _rival(self, key: Key) -> StreamPart | None:
        places = self._places
        if places is None or self.overflow is not OverflowPolicy.COALESCE:
            return None
        self._expire()
        return places.newest(key) if len(places) >= self.capacity else None

    def take(self) -> StreamPart | None:
        """Return the next part, before it a gap marker if parts were lost; None if there is nothing."""
        if self._locked or self._gap is not None or self._follows is not None:
            return self._take_told()
        try:
            return self._parts.popleft()  # one atomic step, as ``pop`` is
        except IndexError:
            return None

    def lend(self) -> StreamPart | None:
        """Do what ``take`` does; what is taken stays held until it is ``settled`` or forfeited."""
        with self.lock:
            part = self.take()
            if part is not None and part.type != "gap":
                self._windows[part.type] += part.weight
            return part

    def settled(self, mode: str, count: int) -> None:
        """Count parts that were lent as delivered."""
        with self.lock:
            if not self._closed:
                self._windows[mode] -= count

    def _take_told(self) -> StreamPart | None:
        with self.lock:
            self._expire()
            if self._follows is not None:
                return self._take_what_follows(self._follows)
            if self._gap is not None:
                gap, self._gap = self._gap, None
                self._set_aside()
                return gap.part()
            return self._pop() if self._len() else None

    def _set_aside(self) -> None:
        """Keep the next part for the next take, whatever is lost meanwhile; it counts as held."""
        if self._len():
            self._follows = self._pop()
            self._windows[self._follows.type] += self._follows.weight

    def _take_what_follows(self, part: StreamPart) -> StreamPart:
        self._follows = None
        self._windows[part.type] -= part.weight
        return part

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
            with contextlib.suppress(LookupError):  # a take may have got there first
                while True:
                    self._drop(self._pop(), "closed")
            self._gap = self._follows = None

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
            oldest = self.oldest
            held = sum(part.weight for part in self._copy()) if self._weighed else self._len()
            return held + self._windows.total(), None if oldest is None else oldest.time_unix_nano

    def _copy(self) -> Iterable[StreamPart]:
        """Return what is held now; in one step, as a take may need no lock."""
        return self._parts.copy() if self._places is None else self._places

    @property
    def oldest(self) -> StreamPart | None:
        """What a take would come to first, None if there is nothing; a take may get there before you."""
        if self._follows is not None:
            return self._follows
        try:
            if self._places is None:
                return self._parts[0]
            with self.lock:
                return self._places.first().part
        except (IndexError, StopIteration):
            return None

    @property
    def idle(self) -> bool:
        """Whether a take would return nothing."""
        if self._ttl is not None:
            self.expires_in()  # what is too old is lost by looking
        return not self._len() and self._gap is None and self._follows is None

    @property
    def half_full(self) -> bool:
        """Whether at least half of the capacity is held."""
        return self._len() * 2 >= self.capacity

    @property
    def excess(self) -> int:
        """How many more are held than the capacity, as only ``block`` allows; below 0: what room there is."""
        if self._ttl is not None:
            self.expires_in()  # what is too old is lost by looking
        return self._len() - self.capacity

    @property
    def over_capacity(self) -> bool:
        """Whether more is held than the capacity."""
        if self._places is None:  # asked for every part that is taken
            return len(self._parts) > self.capacity
        return self.excess > 0

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
        if not self._weighed:
            held.update(map(_TYPE, self._copy()))
            return held
        for part in self._copy():
            held[part.type] += part.weight
        return held

    def _account(self, mode: str, offered: int, held: int) -> ModeStatistics:
        dropped, filtered, sampled_out = self._dropped[mode], self._filtered[mode], self._sampled_out[mode]
        delivered = offered - dropped - filtered - sampled_out - held
        reasons = {why: count for (of, why), count in self._reasons.items() if of == mode}
        return ModeStatistics(offered, delivered, dropped, sampled_out, filtered, held, reasons)
