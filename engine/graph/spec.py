"""A compiled graph as a value: what running, drawing and looking at stored threads take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..checkpoint.lease import ThreadLease
from ..types import All
from .description import Description
from .program import Program


@dataclass(frozen=True, slots=True, eq=False)
class GraphSpec:
    """A program under a name, and what its runs are given unless they say otherwise."""

    name: str
    program: Program
    description: Description
    #: A saver; True keeps a subgraph's memory over calls, False keeps nothing, None takes the parent's.
    checkpointer: Any = None
    store: Any = None
    cache: Any = None
    interrupt_before_nodes: All | Sequence[str] = ()
    interrupt_after_nodes: All | Sequence[str] = ()
    #: A RunnableConfig that every run's is merged into.
    config: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds that one superstep may take.
    step_timeout: float | None = None
    #: Whether streams print their parts.
    debug: bool = False
    #: What makes more projections of a run, for ``stream_events(version="v3")``.
    transformers: Sequence[Any] = ()
    #: What its streams show unless they are asked for something else.
    stream_mode: Any = "updates"
    #: Who of several workers may run a thread; None: whoever wants.
    lease: ThreadLease | None = None
