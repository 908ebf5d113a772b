"""A compiled graph as tables: all that supersteps look up, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .channels import Channel
from .node import TASKS, Node
from .schema import ROOT
from .types import END


@dataclass(slots=False)
class Program:
    """Nodes, channels, and who listens to what."""

    #: Takes the input and is not one of ``nodes``; None if a node takes the input itself.
    start: Node | None
    nodes: dict[str, Node]
    #: Prototypes; every run works on ``fresh()`` copies.
    channels: dict[str, Channel]
    #: Keys of the result, and of *values* and *updates*.
    output_keys: tuple[str, ...]
    #: Keys of the whole state, for *tasks* and *checkpoints*.
    state_keys: tuple[str, ...]
    #: Make an object of the user's schema from output and state mappings; None for plain mappings.
    make_output: Callable[[dict[str, Any]], Any] | None = None
    make_state: Callable[[dict[str, Any]], Any] | None = None
    managed: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def listeners(self) -> dict[str, tuple[str, ...]]:
        """Channel → the nodes it triggers, by name."""
        table: dict[str, list[str]] = {}
        for node in self.nodes.values():
            for trigger in node.triggers:
                table.setdefault(trigger, []).append(node.name)
        return {channel: tuple(sorted(names)) for channel, names in table.items()}

    @cached_property
    def consumable(self) -> frozenset[str]:
        """Channels that must be told when a task they triggered has run."""
        return frozenset(name for name, channel in self.channels.items() if channel.consumable)

    @cached_property
    def deferred(self) -> tuple[str, ...]:
        """Channels that open only when nothing else is left to do."""
        return tuple(name for name, channel in self.channels.items() if channel.deferred)

    @cached_property
    def transient(self) -> frozenset[str]:
        """Channels whose value lasts for one superstep."""
        return frozenset(name for name, channel in self.channels.items() if channel.transient)

    @cached_property
    def output_set(self) -> frozenset[str]:
        """``output_keys``, for membership tests."""
        return frozenset(self.output_keys)

    @cached_property
    def state_set(self) -> frozenset[str]:
        """``state_keys``, for membership tests."""
        return frozenset(self.state_keys)

    @cached_property
    def single_output(self) -> str | None:
        """The channel that is the result, if it is one value instead of a mapping."""
        return self.output_keys[0] if self.output_keys in ((ROOT,), (END,)) else None

    @cached_property
    def single_state(self) -> str | None:
        """The channel that is the state, if it is one value instead of a mapping."""
        return self.state_keys[0] if self.state_keys in ((ROOT,), (END,)) else None

    def node(self, name: str) -> Node:
        """Return a node by name, the start node included."""
        return self.start if self.start is not None and name == self.start.name else self.nodes[name]

    def subgraphs(self) -> dict[str, Any]:
        """Return the nodes that are compiled graphs."""
        return {n.name: n.callback.subgraph for n in self.nodes.values() if n.callback.subgraph is not None}


__all__ = ["TASKS", "Program"]
