"""Graphs and runs as plain data: what is generated, what both engines build from, and what a failure prints.

The ``repr`` of a spec leaves out what is as by default and can be pasted into a test as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

START, END = "__start__", "__end__"

World = Literal["stream", "astream", "invoke", "ainvoke"]
#: What a node returns: a mapping, nothing, a Command (with ``goto``), two of them, a Command for the graph
#: around it, or something that no node may return.
Returns = Literal["mapping", "nothing", "command", "commands", "parent", "rubbish"]


class Spec:
    """Prints only what was chosen."""

    def __repr__(self) -> str:
        chosen = [
            f"{one.name}={value!r}"
            for one in fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, one.name)) != one.default
        ]
        return f"{type(self).__name__}({', '.join(chosen)})"


@dataclass(frozen=True, repr=False)
class Node(Spec):
    name: str
    returns: Returns = "mapping"
    goto: tuple[str, ...] = ()
    #: Whether it writes to ``last``, which takes one write a superstep.
    sets_last: bool = False
    #: How often it writes to the custom stream, before and after its questions.
    says: int = 0
    #: By the writer it is given instead of ``get_stream_writer``.
    injected: bool = False
    asks: int = 0
    #: The exception it raises, by name.
    raises: str = ""
    #: How many attempts fail before one succeeds, and how many there may be.
    fails: int = 0
    attempts: int = 1
    #: A message it adds to the state, or gets from a chat model that streams.
    message: Literal["", "returned", "streamed"] = ""
    is_async: bool = False
    defer: bool = False
    cached: bool = False
    #: The subgraph that it is; or that it calls, and whose log it takes over.
    graph: Graph | None = None
    calls: bool = False


@dataclass(frozen=True, repr=False)
class Route(Spec):
    """A conditional edge: to all ``targets`` while ``total < below``, else to the end."""

    source: str
    targets: tuple[str, ...]
    below: int = 100
    #: Send one packet per item to each target, instead of going there.
    items: tuple[int, ...] = ()


@dataclass(frozen=True, repr=False)
class Graph(Spec):
    nodes: tuple[Node, ...]
    #: ``(from, to)``; a tuple of names in ``from`` waits for all of them.
    edges: tuple[tuple[str | tuple[str, ...], str], ...] = ()
    routes: tuple[Route, ...] = ()
    #: Of a subgraph: whether it keeps a memory of its own, or none.
    memory: bool | None = None
    #: Whether its state has a key that the graph around it lacks, and lacks ``last``.
    own_keys: bool = False
    #: Breakpoints, by node.
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Case(Spec):
    """A graph, and how it is run and watched."""

    graph: Graph
    world: World = "stream"
    modes: str | list[str] | None = field(default=None)
    version: Literal["v1", "v2"] = "v1"
    subgraphs: bool = False
    saver: bool = False
    durability: Literal["sync", "async", "exit"] | None = None
    limit: int = 12
    #: Tasks of a superstep run side by side, not one at a time.
    abreast: bool = False

    @property
    def streams(self) -> bool:
        """Whether parts are yielded one by one."""
        return self.world in ("stream", "astream")

    @property
    def in_order(self) -> bool:
        """Whether every part has one place.

        Not so in LangGraph's threads, where one at a time never ends if something waits for live parts.
        """
        modes = self.modes if isinstance(self.modes, list) else [self.modes]
        live = (self.subgraphs and self.streams) or "custom" in modes or "messages" in modes
        return not self.abreast and not (self.world in ("stream", "invoke") and live)
