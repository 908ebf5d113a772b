"""A compiled graph as tables: all that supersteps look up, worked out once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from otel_stream.events import Structure

from ..channels import Channel
from ..types import END, START
from .node import TASKS, Node, Writes
from .schema import ROOT
from .trusted import TypeName, types_in

logger = logging.getLogger("engine")


class View(NamedTuple):
    """What a run shows of its channels."""

    keys: tuple[str, ...]
    names: frozenset[str]
    #: The only channel, if what is shown is its value instead of a mapping.
    single: str | None

    @classmethod
    def of(cls, keys: tuple[str, ...] | str) -> View:
        """Make a view of some channels, or of the value of one."""
        if isinstance(keys, str):
            return cls((keys,), frozenset((keys,)), keys)
        return cls(keys, frozenset(keys), keys[0] if keys in ((ROOT,), (END,)) else None)

    def read(self, channels: Mapping[str, Channel]) -> Any:
        """Return the values of the channels that have one."""
        if self.single is not None:
            single = channels[self.single]
            return single.read() if single.available else None
        return {key: channels[key].read() for key in self.keys if channels[key].available}


@dataclass(slots=False)
class Program:
    """Nodes, channels, and who listens to what."""

    #: Takes the input and is not one of ``nodes``; None if a node takes the input itself.
    start: Node | None
    nodes: dict[str, Node]
    #: Prototypes; every run works on ``fresh()`` copies.
    channels: dict[str, Channel]
    #: Keys of the result, and of *values* and *updates*; a string where it is the value of one channel.
    output_keys: tuple[str, ...] | str
    #: Keys of the whole state, for *tasks* and *checkpoints*.
    state_keys: tuple[str, ...] | str
    #: The channels that the input is written to; a string: one, as it is.
    input_keys: tuple[str, ...] | str = START
    #: Make an object of the user's schema from output and state mappings; None for plain mappings.
    make_output: Callable[[dict[str, Any]], Any] | None = None
    make_state: Callable[[dict[str, Any]], Any] | None = None
    managed: Mapping[str, Any] = field(default_factory=dict)
    #: What states, inputs, outputs and contexts are declared to be.
    schemas: tuple[Any, ...] = ()
    #: What it was declared to be, once a run has asked.
    declared: Structure | None = None

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
    def lasting(self) -> frozenset[str]:
        """Channels that trigger a node, and may have been written supersteps ago."""
        return frozenset(name for name in self.listeners if not self.channels[name].transient)

    @cached_property
    def transient(self) -> frozenset[str]:
        """Channels whose value lasts for one superstep."""
        return frozenset(name for name, channel in self.channels.items() if channel.transient)

    @cached_property
    def output_view(self) -> View:
        """What ``invoke`` returns, and what a subgraph shows."""
        return View.of(self.output_keys)

    @cached_property
    def state_view(self) -> View:
        """The whole state: what a stream shows."""
        return View.of(self.state_keys)

    @cached_property
    def stored_types(self) -> frozenset[TypeName]:
        """The types of the user's that checkpoints may hold: those that the schemas name."""
        return types_in([*self.schemas, *(channel.typ for channel in self.channels.values())])

    def input_writes(self, given: Any) -> Writes:
        """Return what an input writes; nothing if there is none.

        Raises:
            TypeError: it goes to several channels, and is no mapping.
        """
        if given is None:
            return []
        if isinstance(self.input_keys, str):
            return [(self.input_keys, given)]
        if not isinstance(given, Mapping):
            raise TypeError(
                f"Expected input to be a mapping of {', '.join(self.input_keys)}, got {type(given).__name__}"
            )
        for name in given:
            if name not in self.input_keys:
                logger.warning(
                    "Input for %r is ignored: the graph takes %s", name, ", ".join(self.input_keys)
                )
        return [(name, given[name]) for name in given if name in self.input_keys]

    def fresh_channels(self) -> dict[str, Channel]:
        """Return empty channels for a run to work on."""
        return {name: channel.fresh() for name, channel in self.channels.items()}

    def node(self, name: str) -> Node:
        """Return a node by name, the start node included."""
        return self.start if self.start is not None and name == self.start.name else self.nodes[name]

    @cached_property
    def subgraphs(self) -> Mapping[str, Any]:
        """Node → the compiled graph that it is, or calls."""
        return {node.name: graph for node in self.nodes.values() for graph in node.subgraphs}


__all__ = ["TASKS", "Program"]
