"""The state of a run: its channels, their versions, and the names under which tasks write beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..channels import Channel, DeltaChannel
from ..graph.node import NO_WRITES
from ..types import INTERRUPT

#: Who writes what comes from outside: input, and commands.
INPUT = "__input__"
PULL = "__pregel_pull"
PUSH = "__pregel_push"
ERROR = "__error__"
#: Beside ERROR: an error handler takes over.
ERROR_SOURCE = "__error_source_node__"
RESUME = "__resume__"
RETURN = "__return__"
#: Writes that are not for a channel.
CONTROL = frozenset({NO_WRITES, PUSH, RESUME, INTERRUPT, RETURN, ERROR, ERROR_SOURCE})


class State:
    """The channels of one run and, where a checkpoint or breakpoint needs them, their versions."""

    __slots__ = ("channels", "checkpoint_id", "live", "next_version", "seen", "track", "version", "versions")

    def __init__(
        self,
        channels: dict[str, Channel],
        *,
        checkpoint_id: str,
        track: bool,
        next_version: Callable[[Any, None], Any] | None = None,
    ) -> None:
        self.channels = channels
        #: What the ids of this superstep's tasks derive from.
        self.checkpoint_id = checkpoint_id
        #: Whether versions are kept at all; a run that can't be resumed or paused needs none.
        self.track = track
        self.next_version = next_version or _increment
        self.version: Any = None
        self.versions: dict[str, Any] = {}
        #: node → channel → version the node has acted on.
        self.seen: dict[str, dict[str, Any]] = {}
        #: Transient channels that hold a value, and must be cleared unless written again.
        self.live: set[str] = set()

    def at(self, checkpoint_id: str) -> None:
        """Say what checkpoint this is, or is about to become."""
        self.checkpoint_id = checkpoint_id

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Take over what a checkpoint stored."""
        for delta in self.channels.values():
            if isinstance(delta, DeltaChannel):
                delta.check_stored(checkpoint)
        for name, value in checkpoint["channel_values"].items():
            channel = self.channels.get(name)
            if channel is not None:
                channel.load(value)
                if channel.transient and channel.available:
                    self.live.add(name)
        self.versions = dict(checkpoint["channel_versions"])
        self.seen = {node: dict(versions) for node, versions in checkpoint["versions_seen"].items()}
        self.version = max(self.versions.values()) if self.versions else None
        self.checkpoint_id = checkpoint["id"]


def _increment(current: Any, _channel: None) -> int:
    return 1 if current is None else current + 1


class Writer(Protocol):
    """Whatever has written: a task, or one of the pseudo-tasks below."""

    @property
    def node(self) -> str: ...
    @property
    def triggers(self) -> tuple[str, ...]: ...
    @property
    def writes(self) -> Sequence[tuple[str, Any]] | None: ...


class Written(NamedTuple):
    """Writes that no node made: input, commands, ``update_state``."""

    node: str
    triggers: tuple[str, ...]
    writes: Sequence[tuple[str, Any]]
