"""Samples, by turns: ours, theirs, ours, theirs. Of CPU time, or of what a case measures itself."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.case import Case

#: The clock of every row: CPU time of the whole process in seconds, so that the threads of LangGraph's
#: executors and of OpenTelemetry's processors count, and that of other processes does not.
CLOCK = time.process_time
#: As many times the rounds for a row that promises a difference: it is small beside what it is one of.
OF_A_DIFFERENCE = 4


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure."""

    #: Wall-clock seconds for a row, warm-up included.
    seconds: float
    #: Rounds to make even if that takes longer.
    rounds: int
    #: CPU seconds that a sample should take; shorter calls are repeated within one sample, so that
    #: both sides are exposed to interference alike. 0: one call a sample.
    sample: float


def measure(case: Case, effort: Effort) -> Iterator[tuple[str, float]]:
    """Yield (side, CPU microseconds a unit, or whatever the case's quantity is), one sample at a time.

    The first call of each side warms it up, the second says how many calls make a sample. What a case
    measures itself is asked for twice.
    """
    deadline = time.monotonic() + effort.seconds
    sides = {"ours": case.ours} if case.theirs is None else {"ours": case.ours, "theirs": case.theirs}
    if case.quantity != "CPU µs":
        yield from ((side, float(work() or 0)) for _ in range(2) for side, work in sides.items())
        return
    if case.nodes is not None:
        yield from (("nodes", case.nodes() / case.count) for _ in range(effort.rounds))
    repeats = {side: _warm_up(work, effort.sample) for side, work in sides.items()}
    rounds, least = 0, effort.rounds
    if effort.sample and case.goal is not None and case.goal.kind == "added":
        least *= OF_A_DIFFERENCE
    while rounds < least or time.monotonic() < deadline:
        for side, work in sides.items():
            yield side, _seconds(work, repeats[side]) / (repeats[side] * case.count) * 1e6
        rounds += 1


def _warm_up(work: Callable[[], object], sample: float) -> int:
    work()
    return max(1, round(sample / max(_seconds(work, 1), 1e-6))) if sample else 1


def _seconds(work: Callable[[], object], repeats: int) -> float:
    # What the other side left is not to be collected at our expense, nor is all that was imported to be
    # looked through, now and then, at somebody's; what a side makes itself is, so the collector stays on.
    gc.collect()
    gc.freeze()
    try:
        start = CLOCK()
        for _ in range(repeats):
            work()
        return CLOCK() - start
    finally:
        gc.unfreeze()
