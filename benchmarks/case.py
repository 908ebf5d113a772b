"""The one thing the harness knows about what it measures: a ``Case``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

#: ratio: ours / theirs. microseconds: ours a unit. added: ours a unit, less the row named ``over``.
Kind = Literal["ratio", "microseconds", "added"]


@dataclass(frozen=True, slots=True)
class Goal:
    """Two upper limits of one quantity: ``must`` is what a release promises, ``aim`` what we work towards."""

    kind: Kind = "ratio"
    must: float | None = None
    aim: float | None = None
    #: For ``added``: the row of the same run that is subtracted.
    over: str | None = None


class Case(Protocol):
    """One row: the same work done by us and, unless ``theirs`` is None, by the other side.

    ``ours`` and ``theirs`` are called many times, by turns; each call does ``count`` units of work from
    start to end, leaves nothing behind for the next one, and raises if the work did not come out right.
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
    def count(self) -> int:
        """How many units one call does."""
        ...

    @property
    def ours(self) -> Callable[[], None]:
        """Do the work with our engine."""
        ...

    @property
    def theirs(self) -> Callable[[], None] | None:
        """Do the same work with what we are compared to."""
        ...

    @property
    def against(self) -> str:
        """What we are compared to."""
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
    ours: Callable[[], None]
    theirs: Callable[[], None] | None
    against: str = "LangGraph"
    goal: Goal | None = None
