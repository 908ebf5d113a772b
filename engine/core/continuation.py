"""What a run knows of going on, for itself and for the runs inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Replay:
    """Shared by a run that starts from an old checkpoint and by the subgraphs it runs again.

    The first time a subgraph runs, it continues from what it had stored *before* the checkpoint ``bound``;
    from then on it has a past on the new branch, and continues from that.
    """

    __slots__ = ("_bound", "_visited")

    def __init__(self, bound: str) -> None:
        self._bound = bound
        self._visited: set[str] = set()

    def before(self, namespace: str) -> str | None:
        """Return the checkpoint before which the subgraph starts; None: it goes on from its newest."""
        # Every pass of a loop gives the subgraph another task id.
        stable = namespace.rpartition(":")[0] or namespace
        first = stable not in self._visited
        self._visited.add(stable)
        return self._bound if first else None


class Former(NamedTuple):
    """Where a run that starts a branch has come from: the ids of its tasks were derived from this."""

    checkpoint_id: str
    step: int
    path: tuple[str, ...]


class Continuation:
    """Whether a run goes on, and with what; a run inside takes over what the one around it knows."""

    __slots__ = ("anew", "answers", "former", "goes_on", "previous", "replay", "stop")

    def __init__(self, around: Continuation | None) -> None:
        #: Whether subgraphs go on, too; None once a superstep is over, and when that is not known yet.
        self.goes_on: bool | None = around.goes_on if around is not None else None
        self.replay: Replay | None = around.replay if around is not None else None
        #: Answers by interrupt id, of this run or one around it.
        self.answers: Mapping[str, Any] | None = around.answers if around is not None else None
        #: Whether what tasks wrote before is to be done again instead of taken back.
        self.anew = False
        #: Where the tasks of the first superstep were before the run started a branch, if it did.
        self.former: Former | None = None
        #: What an ``entrypoint`` remembered from the run before.
        self.previous: Any = None
        #: The superstep by which it must have ended.
        self.stop = 0

    def begin(
        self,
        goes_on: bool | None,
        anew: bool,
        answers: Mapping[str, Any] | None,
        replay: Replay | None,
        former: Former | None,
        previous: Any,
        stop: int,
    ) -> None:
        """Take note of how the run has started."""
        self.stop, self.former = stop, former
        self.goes_on, self.anew, self.answers = goes_on, anew, answers
        self.replay, self.previous = replay, previous

    def superstep_over(self) -> None:
        """Leave the checkpoint behind: what comes now comes for the first time."""
        self.goes_on, self.anew, self.former = None, False, None
