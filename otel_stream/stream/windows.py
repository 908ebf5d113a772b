"""The open windows of one receiver: between its filter and sampler, and its buffer.

Rules of this file
------------------
1. One thread at a time does anything here, in the order of the stream, outside of every lock: the receiver's
   inbox sees to that. So a producer never waits for a reducer that another thread runs, and a reducer may do
   what it likes.
2. A part is counted as it comes in; from then on the buffer knows it as held, until its window closes.
3. There is no timer: windows close when a part, the end of a superstep or the consumer comes by.
4. What a reducer raises costs the parts of its window, and is told to ``failed``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import msgspec

from otel_stream.aggregate import Aggregate, Key
from otel_stream.events import Run, RunEnded, SuperstepEnded
from otel_stream.parts import AggregateOf, StreamPart
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.folding import Fold, fold_of, key_of
from otel_stream.stream.sampling import is_structural


class Windows:
    """Turns parts into aggregate parts and hands them to ``release``.

    ``failed(error)`` is called when a reducer raises, and ``changed()`` when there is a nearer time at which
    something is to be taken. ``clock`` tells nanoseconds; only differences count.
    """

    def __init__(
        self,
        aggregate: Aggregate | Mapping[str, Aggregate],
        buffer: Buffer,
        *,
        failed: Callable[[BaseException], None],
        release: Callable[[StreamPart, int | None], None],
        changed: Callable[[], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._aggregate = aggregate
        self._buffer = buffer
        self._failed, self._release, self._changed = failed, release, changed
        self._clock = clock
        self._lenses: dict[str, _Lens | None] = {}
        self._open: dict[Hashable, _Window] = {}
        #: Parts in open windows.
        self._count = 0
        #: The nearest end of a window: in the parts' time, and by the clock.
        self._until = self._deadline = math.inf

    def due_in(self) -> float | None:
        """Return in how many seconds the next window is due, None if no clock decides. From any thread."""
        deadline = self._deadline
        return None if deadline == math.inf else max(0.0, (deadline - self._clock()) / 1e9)

    def add(self, part: StreamPart, run: Run | None = None) -> None:
        """Take ``part`` in, which the buffer has absorbed, or hand it on if it is not to be aggregated.

        Raises what the key of the user's raises; then the part is in no window.
        """
        if is_structural(part):
            self._close(one for one in self._open.values() if one.last.run_id == part.run_id)
            self._release(part, None)
            return
        self._close_until(part.time_unix_nano)
        lens = self._lens(part.type)
        key = None if lens is None else lens.key(part)
        if lens is None or key is None:
            self._release(part, None)
            return
        if self._count >= self._buffer.capacity:
            self._close((next(iter(self._open.values())),))
        self._put((part.type, part.run_id, key), part, run, lens)

    def passed(self, event: SuperstepEnded | RunEnded) -> None:
        """Close what ends with a superstep or a run, and what is due."""
        run, is_end = event.run, isinstance(event, RunEnded)
        root, ns = run.root.id, None if is_end and run.parent is None else run.ns
        self._close(
            one
            for one in self._open.values()
            if one.last.run_id == root
            and (ns is None or one.last.ns == ns)
            and (is_end or one.lens.of_superstep)
        )
        self.tick()

    def tick(self) -> None:
        """Close what is due."""
        now = self._clock()
        if now >= self._deadline:
            self._close([one for one in self._open.values() if one.deadline <= now])

    def close(self) -> None:
        """Close everything."""
        self._close(self._open.values())

    def discard(self) -> None:
        """Forget what is held: the consumer has left."""
        self._open.clear()

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
            window.came = self._clock()
        else:
            self._count += 1
            window.count += 1
            window.last, window.came = part, self._clock()
            try:
                window.data = lens.fold.add(window.data, part.data, run)
            except BaseException as error:  # noqa: BLE001 - a reducer of the user's
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
            except BaseException as error:  # noqa: BLE001 - a reducer of the user's
                self._spoil(window, error)
            else:
                self._forget(window)
                self._release(part, window.came)
        if self._deadline != math.inf:
            self._until = min((one.until for one in self._open.values()), default=math.inf)
            self._deadline = min((one.deadline for one in self._open.values()), default=math.inf)

    def _close_until(self, now: int | None) -> None:
        if now is not None and now >= self._until:
            self._close([one for one in self._open.values() if one.until <= now])

    def _spoil(self, window: _Window, error: BaseException) -> None:
        self._forget(window)
        self._buffer.forfeit(window.last.type, window.count, "failed")
        self._failed(error)

    def _forget(self, window: _Window) -> None:
        del self._open[window.key]
        self._count -= window.count


class _Lens:
    """What an ``Aggregate`` means for one mode."""

    __slots__ = ("fold", "key", "of_superstep", "size", "span")

    def __init__(self, aggregate: Aggregate, mode: str) -> None:
        self.key: Key = key_of(aggregate, mode)
        self.fold: Fold = fold_of(aggregate, mode)
        self.of_superstep = aggregate.every == "superstep"
        #: How many parts fill a window, and how many nanoseconds.
        self.size = aggregate.every if isinstance(aggregate.every, int) else None
        self.span = aggregate.nanoseconds


class _Window:
    __slots__ = ("came", "count", "data", "deadline", "first", "key", "last", "lens", "until")

    def __init__(self, key: Hashable, part: StreamPart, lens: _Lens) -> None:
        self.key = key
        self.lens = lens
        self.data: Any = lens.fold.start(part.data)
        self.count = 1
        self.first = part.seq, part.time_unix_nano
        self.last = part
        #: When the last part came.
        self.came = 0
        self.until: float = math.inf
        self.deadline: float = math.inf

    def part(self) -> StreamPart:
        """Return the part that stands for all that came in."""
        last, (seq, time) = self.last, self.first
        about = AggregateOf(self.count, seq, last.seq, time, last.time_unix_nano)
        return msgspec.structs.replace(last, data=self.lens.fold.end(self.data), aggregate=about)
