"""Going back in a thread's history: when a run does that, and where its new branch begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.continuation import Replay
from ..core.state import State
from ..core.task import RunEnv
from ..types import Command, Config
from .checkpointing import Checkpoints

_FROM_OUTSIDE = ("update", "fork")


def checkpoints_around(config: Config, around: RunEnv | None) -> Mapping[str, str]:
    """Return, by namespace, the ids of the checkpoints around a run, or of those it is pointed at."""
    if around is None:
        return config.get("configurable", {}).get("checkpoint_map") or {}
    return {**around.checkpoint_map, around.checkpoint_ns: around.state.checkpoint_id}


def is_around(namespace: str, inner: str) -> bool:
    """Whether the runs of one namespace are around those of another."""
    return namespace != inner and (not namespace or inner.startswith(f"{namespace}|"))


def is_travelling(env: RunEnv, checkpoints: Checkpoints, input: Any, goes_on: bool | None) -> bool:
    """Whether the run does again what came after the checkpoint it is pointed at."""
    if not (checkpoints.addressed or env.continuation.replay is not None):
        return False
    if env.parent_task is not None and checkpoints.addressed:
        return True
    answers = isinstance(input, Command) and input.resume is not None
    return not (answers or goes_on)


def needs_branch(checkpoints: Checkpoints) -> bool:
    """Whether to store a checkpoint that starts the new branch; ``update_state`` has already made one."""
    made = checkpoints.metadata.get("source") in _FROM_OUTSIDE
    return not made or checkpoints.superseded or checkpoints.moved


def origin_of_branch(checkpoints: Checkpoints) -> str | None:
    """Return the id of the checkpoint that the one we are at was made of from outside, if it was."""
    if checkpoints.metadata.get("source") not in _FROM_OUTSIDE or checkpoints.parent_config is None:
        return None
    found: str | None = checkpoints.parent_config["configurable"].get("checkpoint_id")
    return found


def replay_from(state: State, checkpoints: Checkpoints) -> Replay:
    """Say up to which checkpoint subgraphs look for theirs: for a fork, the one it was made from."""
    return Replay(checkpoints.branched_from or origin_of_branch(checkpoints) or state.checkpoint_id)
