"""Going back in a thread's history: which checkpoint a subgraph starts from when its parent runs anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..types import Config

if TYPE_CHECKING:
    from .loop import RunLoop

#: Return the newest checkpoint of a place, or the newest that is older than the one whose id is given.
Look = Callable[[Config, str | None], Awaitable[Any]]


def checkpoints_around(config: Config, parent: RunLoop | None) -> dict[str, str]:
    """Return, by namespace, the ids of the checkpoints around a run, or of those it is pointed at."""
    if parent is None:
        return config.get("configurable", {}).get("checkpoint_map") or {}
    return {**parent.checkpoint_map, parent.checkpoint_ns: parent.state.checkpoint_id}


class Replay:
    """Shared by a run that starts from an old checkpoint and by the subgraphs it runs again.

    The first time a subgraph runs, it continues from what it had stored *before* the checkpoint ``bound``;
    from then on it has a past on the new branch, and continues from that.
    """

    __slots__ = ("_visited", "bound")

    def __init__(self, bound: str) -> None:
        self.bound = bound
        self._visited: set[str] = set()

    async def find(self, namespace: str, place: Config, look: Look) -> Any:
        """Return the checkpoint the subgraph at ``namespace`` starts from, None if it starts afresh."""
        # Every pass of a loop gives the subgraph another task id.
        stable = namespace.rpartition(":")[0] or namespace
        first = stable not in self._visited
        self._visited.add(stable)
        return await look(place, self.bound if first else None)
