"""The one thing the harness knows about what it measures: a ``Case``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

#: ratio: ours / theirs. microseconds: ours a unit. added: ours a unit, less what ``over`` names.
#: times: ours / what ``over`` names. amount: ours, in the quantity of the row.
Kind = Literal["ratio", "microseconds", "added", "times", "amount"]
#: What the numbers of a row are. CPU time is taken by the harness; anything else is what a call returns.
Quantity = Literal["CPU µs", "CPU µs, inside", "µs", "ms", "KB", "MB"]

#: Set in the process of a row, and so in its children, when nothing is meant by the numbers.
QUICK = "OTEL_STREAM_BENCH_QUICK"


def sized(full: int) -> int:
    """Return ``full``, or a fiftieth of it in a quick run."""
    return max(1, full // 50) if os.environ.get(QUICK) else full


@dataclass(frozen=True, slots=True)
class Goal:
    """Two upper limits of one quantity: ``must`` is what a release promises, ``aim`` what we work towards."""

    kind: Kind = "ratio"
    must: float | None = None
    aim: float | None = None
    #: For ``added`` and ``times``: the row of the same run that is subtracted, or "theirs".
    over: str | None = None


class Case(Protocol):
    """One row: the same work done by us and, unless ``theirs`` is None, by the other side.

    ``ours`` and ``theirs`` are called many times, by turns; each call does ``count`` units of work from
    start to end, leaves nothing behind for the next one, and raises if the work did not come out right.
    Where ``quantity`` is not CPU time, a call returns the number itself.
    """

    @property
    def name(self) -> str:
        """What ``--only`` calls it."""
        ...

    @property
    def title(self) -> str:
        """What the table calls it."""
        ...

    @property
    def unit(self) -> str:
        """What the cost is divided by: superstep, task, part."""
        ...

    @property
    def quantity(self) -> Quantity:
        """What its numbers are."""
        ...

    @property
    def count(self) -> int:
        """How many units one call does."""
        ...

    @property
    def ours(self) -> Callable[[], float | None]:
        """Do the work with our engine."""
        ...

    @property
    def theirs(self) -> Callable[[], float | None] | None:
        """Do the same work with what we are compared to."""
        ...

    @property
    def against(self) -> str:
        """What we are compared to."""
        ...

    @property
    def nodes(self) -> Callable[[], float] | None:
        """Do the work with our engine and return the µs of CPU time that user code took of it, if asked."""
        ...

    @property
    def goal(self) -> Goal | None:
        """What it may cost, None if nobody said."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A ``Case`` made of two functions."""

    name: str
    title: str
    unit: str
    count: int
    ours: Callable[[], float | None]
    theirs: Callable[[], float | None] | None
    quantity: Quantity = "CPU µs"
    against: str = "LangGraph"
    nodes: Callable[[], float] | None = None
    goal: Goal | None = None
