"""The account of a receiver: what became of every part that it was offered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class ModeStatistics:
    """The account of one mode; the sum holds for it as it does for all."""

    offered: int = 0
    delivered: int = 0
    dropped: int = 0
    sampled_out: int = 0
    filtered: int = 0
    held: int = 0
    #: Of the dropped, as in :class:`ReceiverStatistics`.
    reasons: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __add__(self, other: ModeStatistics) -> ModeStatistics:
        return ModeStatistics(
            self.offered + other.offered,
            self.delivered + other.delivered,
            self.dropped + other.dropped,
            self.sampled_out + other.sampled_out,
            self.filtered + other.filtered,
            self.held + other.held,
            dict(Counter(self.reasons) + Counter(other.reasons)),
        )


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """One moment of a receiver: ``offered == delivered + dropped + sampled_out + filtered + held``.

    All are numbers of parts; an aggregate counts as the parts it stands for. Gap markers are no parts:
    they are counted nowhere.

    ``by_mode`` has the same numbers for each mode.
    """

    #: Parts of the receiver's modes and namespaces that came into being while it was attached.
    offered: int
    #: Parts that its consumer took.
    delivered: int
    #: Parts that are lost; ``reasons`` says why.
    dropped: int
    sampled_out: int
    filtered: int
    #: Parts that wait for the consumer now, in open windows too.
    held: int
    #: The most that ever waited at once in the buffer, where an aggregate takes one place.
    high_water: int
    by_mode: Mapping[str, ModeStatistics]
    #: Of the dropped: the policy that let them go (``drop_oldest``, ``drop_newest``, ``error``),
    #: ``coalesced``, ``expired`` (``ttl``), ``failed`` (filter, sampler or reducer raised) or ``closed``
    #: (nobody came for them).
    reasons: Mapping[str, int]

    def __add__(self, other: ReceiverStatistics) -> ReceiverStatistics:
        """Return the account of both; the most that ever waited, in either of them."""
        modes = {**self.by_mode, **other.by_mode}
        nothing = ModeStatistics()
        return ReceiverStatistics(
            self.offered + other.offered,
            self.delivered + other.delivered,
            self.dropped + other.dropped,
            self.sampled_out + other.sampled_out,
            self.filtered + other.filtered,
            self.held + other.held,
            max(self.high_water, other.high_water),
            {mode: self.by_mode.get(mode, nothing) + other.by_mode.get(mode, nothing) for mode in modes},
            dict(Counter(self.reasons) + Counter(other.reasons)),
        )


#: The account of nobody.
NOTHING: Final = ReceiverStatistics(0, 0, 0, 0, 0, 0, 0, {}, {})
