"""The gap marker: how a consumer learns, in the stream itself, that parts of it are lost."""

from __future__ import annotations

from collections import Counter

from otel_stream.parts import StreamPart


class Gap:
    """What was lost between two takes of one receiver."""

    __slots__ = ("_first", "_last", "_modes", "_one_run", "_reasons", "_run_id", "_time")

    def __init__(self) -> None:
        self._modes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._first: int | None = None
        self._last: int | None = None
        self._run_id: str | None = None
        self._one_run = True
        self._time: int | None = None

    def add(self, part: StreamPart, reason: str) -> None:
        """Take note that ``part`` is lost, and with an aggregate every part in it."""
        if not self._modes:
            self._run_id = part.run_id
        self._one_run = self._one_run and part.run_id == self._run_id
        self._modes[part.type] += part.weight
        self._reasons[reason] += part.weight
        self._time = part.time_unix_nano
        first = part.seq if part.aggregate is None else part.aggregate.first_seq
        if first is not None and part.seq is not None:
            self._first = first if self._first is None else min(self._first, first)
            self._last = part.seq if self._last is None else max(self._last, part.seq)

    def part(self) -> StreamPart:
        """Return the marker. Parts of several runs share no ``seq``: then none is named."""
        one_run = self._one_run
        data = {
            "dropped": self._modes.total(),
            "modes": dict(self._modes),
            "reasons": dict(self._reasons),
            "first_seq": self._first if one_run else None,
            "last_seq": self._last if one_run else None,
        }
        run_id = self._run_id if one_run else None
        return StreamPart("gap", (), data, time_unix_nano=self._time, run_id=run_id)
