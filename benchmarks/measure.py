"""Samples of CPU time, by turns: ours, theirs, ours, theirs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.case import Case

#: The clock of every row: CPU time of the whole process in seconds, so that the threads of LangGraph's
#: executors and of OpenTelemetry's processors count, and that of other processes does not.
CLOCK = time.process_time


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure."""

    #: Wall-clock seconds for a row, warm-up included.
    seconds: float
    #: Rounds to make even if that takes longer.
    rounds: int
    #: CPU seconds that a sample should take; shorter calls are repeated within one sample, so that
    #: both sides are exposed to interference alike.
    sample: float


QUICK = Effort(seconds=0, rounds=2, sample=0)
FULL_ROUNDS = 3
FULL_SAMPLE = 0.1


def sides(case: Case) -> dict[str, Callable[[], None]]:
    """Return what is measured by turns."""
    return {"ours": case.ours} | ({} if case.theirs is None else {"theirs": case.theirs})


def measure(case: Case, effort: Effort) -> Iterator[tuple[str, float]]:
    """Yield (side, CPU microseconds a unit), one sample at a time.

    The first call of each side warms it up, the second says how many calls make a sample.
    """
    deadline = time.monotonic() + effort.seconds
    repeats: dict[str, int] = {}
    for side, work in sides(case).items():
        work()
        repeats[side] = max(1, round(effort.sample / max(_seconds(work, 1), 1e-6)))
    rounds = 0
    while rounds < effort.rounds or time.monotonic() < deadline:
        for side, work in sides(case).items():
            yield side, _seconds(work, repeats[side]) / (repeats[side] * case.count) * 1e6
        rounds += 1


def _seconds(work: Callable[[], None], repeats: int) -> float:
    # What the other side left is not to be collected at our expense; what a side makes itself is, so
    # the collector stays on.
    gc.collect()
    start = CLOCK()
    for _ in range(repeats):
        work()
    return CLOCK() - start
