"""The open windows of one receiver: between its filter and sampler, and its buffer.

Rules of this file
------------------
1. What is done to the windows is done in order, by one thread at a time, and nobody waits for it: who
   comes while another is at work leaves the job to that one. So a producer never waits for a reducer
   that a consumer's thread runs, and a reducer may do what it likes.
2. A part is counted as it comes in; from then on the buffer knows it as held, until its window closes.
3. There is no timer: windows close when a part, the end of a superstep or the consumer comes by.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from threading import Lock
from typing import Any

import msgspec

from otel_stream.aggregate import Aggregate, Fold, Key
from otel_stream.events import Run, RunEnded, SuperstepEnded
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.modes import AggregateOf, StreamPart
from otel_stream.stream.sampling import is_structural


class Windows:
    """Turns parts into aggregate parts and hands them to ``buffer``.

    ``failed(error)`` is called when a key or a reducer raises, ``refused()`` when the buffer does, and
    ``changed()`` when there is something to take, or a nearer time at which there will be.
    ``clock`` tells nanoseconds; only differences count.
    """

    def __init__(
        self,
        aggregate: Aggregate | Mapping[str, Aggregate],
        buffer: Buffer,
        *,
        failed: Callable[[Exception], None],
        refused: Callable[[], None],
        changed: Callable[[], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._aggregate = aggregate
        self._buffer = buffer
        self._failed, self._refused, self._changed = failed, refused, changed
        self._clock = clock
        self._lenses: dict[str, _Lens | None] = {}
        self._open: dict[Hashable, _Window] = {}
        #: Parts in open windows.
        self._count = 0
        #: The nearest end of a window: in the parts' time, and by the clock.
        self._until = self._deadline = math.inf
        self._jobs: deque[Callable[[], None]] = deque()
        self._busy = Lock()

    def add(self, part: StreamPart, run: Run | None = None) -> None:
        """Take ``part`` in, or hand it on if it is not to be aggregated."""
        if self._buffer.absorb(part):
            self._do(partial(self._add, part, run))

    def passed(self, event: SuperstepEnded | RunEnded) -> None:
        """Close what ends with a superstep or a run, and what is due."""
        self._do(partial(self._close_with, event.run, isinstance(event, RunEnded)))

    def tick(self) -> None:
        """Close what is due."""
        if self._clock() >= self._deadline:
            self._do(self._close_due)

    def due_in(self) -> float | None:
        """Return in how many seconds the next window is due, None if no clock decides."""
        deadline = self._deadline
        return None if deadline == math.inf else max(0.0, (deadline - self._clock()) / 1e9)

    def finish(self, then: Callable[[], None]) -> None:
        """Close everything, and call ``then``."""
        self._do(self._close_all)
        self._do(then)

    def discard(self) -> None:
        """Forget what is held, after the buffer was closed."""
        self._do(self._open.clear)

    def _do(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        # Looked at again after letting go: a job that came just before must not be left there.
        while self._jobs and self._busy.acquire(blocking=False):
            try:
                while self._jobs:
                    self._jobs.popleft()()
            finally:
                self._busy.release()

    # --- Only ever called by the one at work -----------------------------------------------------------

    def _add(self, part: StreamPart, run: Run | None) -> None:
        try:
            if is_structural(part):
                self._close(one for one in self._open.values() if one.last.run_id == part.run_id)
                self._release(part)
                return
            self._close_until(part.time_unix_nano)
            lens = self._lens(part.type)
            key = None if lens is None else lens.key(part)
            if lens is None or key is None:
                self._release(part)
                return
            if self._count >= self._buffer.capacity:
                self._close((next(iter(self._open.values())),))
            self._put((part.type, part.run_id, key), part, run, lens)
        except Exception as error:  # noqa: BLE001 - a key of the user's
            self._buffer.forfeit(part.type, 1, "failed")
            self._failed(error)

    def _lens(self, mode: str) -> _Lens | None:
        try:
            return self._lenses[mode]
        except KeyError:
            aggregate = self._aggregate
            one = aggregate.get(mode) if isinstance(aggregate, Mapping) else aggregate
            lens = self._lenses[mode] = None if one is None else _Lens(one, mode)
            return lens

    def _put(self, key: Hashable, part: StreamPart, run: Run | None, lens: _Lens) -> None:
        if lens.of_superstep:
            key = (key, part.ns)
        window = self._open.get(key)
        if window is not None and lens.of_superstep and window.last.step != part.step:
            self._close((window,))
            window = None
        if window is None:
            window = self._opened(key, part, lens)
        else:
            self._count += 1
            window.count += 1
            window.last = part
            try:
                window.data = lens.fold.add(window.data, part.data, run)
            except Exception as error:  # noqa: BLE001 - a reducer of the user's
                self._spoil(window, error)
                return
        if window.count == lens.size:
            self._close((window,))

    def _opened(self, key: Hashable, part: StreamPart, lens: _Lens) -> _Window:
        window = _Window(key, part, lens)
        if lens.span is not None:
            window.deadline = self._clock() + lens.span
            if part.time_unix_nano is not None:
                window.until = part.time_unix_nano + lens.span
            self._until = min(self._until, window.until)
            if window.deadline < self._deadline:
                self._deadline = window.deadline
                self._changed()
        self._open[key] = window
        self._count += 1
        return window

    def _close(self, windows: Iterable[_Window]) -> None:
        """Close ``windows``, in the order of their last parts."""
        for window in sorted(windows, key=lambda one: one.last.seq or 0):
            try:
                part = window.part()
            except Exception as error:  # noqa: BLE001 - a reducer of the user's
                self._spoil(window, error)
            else:
                self._forget(window)
                self._release(part)
        if self._deadline != math.inf:
            self._until = min((one.until for one in self._open.values()), default=math.inf)
            self._deadline = min((one.deadline for one in self._open.values()), default=math.inf)

    def _close_all(self) -> None:
        self._close(self._open.values())

    def _close_until(self, now: int | None) -> None:
        if now is not None and now >= self._until:
            self._close([one for one in self._open.values() if one.until <= now])

    def _close_due(self) -> None:
        now = self._clock()
        self._close([one for one in self._open.values() if one.deadline <= now])

    def _close_with(self, run: Run, is_end: bool) -> None:
        root, ns = run.root.id, None if is_end and run.parent is None else run.ns
        self._close(
            one
            for one in self._open.values()
            if one.last.run_id == root
            and (ns is None or one.last.ns == ns)
            and (is_end or one.lens.of_superstep)
        )
        self.tick()

    def _spoil(self, window: _Window, error: Exception) -> None:
        self._forget(window)
        self._buffer.forfeit(window.last.type, window.count, "failed")
        self._failed(error)

    def _forget(self, window: _Window) -> None:
        del self._open[window.key]
        self._count -= window.count

    def _release(self, part: StreamPart) -> None:
        if self._buffer.release(part):
            self._changed()
        else:
            self._refused()


class _Lens:
    """What an ``Aggregate`` means for one mode."""

    __slots__ = ("fold", "key", "of_superstep", "size", "span")

    def __init__(self, aggregate: Aggregate, mode: str) -> None:
        self.key: Key = aggregate.key(mode)
        self.fold: Fold = aggregate.fold(mode)
        self.of_superstep = aggregate.every == "superstep"
        #: How many parts fill a window, and how many nanoseconds.
        self.size = aggregate.every if isinstance(aggregate.every, int) else None
        self.span = aggregate.nanoseconds


class _Window:
    __slots__ = ("count", "data", "deadline", "first", "key", "last", "lens", "until")

    def __init__(self, key: Hashable, part: StreamPart, lens: _Lens) -> None:
        self.key = key
        self.lens = lens
        self.data: Any = lens.fold.start(part.data)
        self.count = 1
        self.first = part.seq, part.time_unix_nano
        self.last = part
        self.until: float = math.inf
        self.deadline: float = math.inf

    def part(self) -> StreamPart:
        """Return the part that stands for all that came in."""
        last, (seq, time) = self.last, self.first
        about = AggregateOf(self.count, seq, last.seq, time, last.time_unix_nano)
        return msgspec.structs.replace(last, data=self.lens.fold.end(self.data), aggregate=about)
