"""What a graph was declared to be, before it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..channels import Channel
from ..policies import CachePolicy, Remote, RetryPolicy, TimeoutPolicy, TracePolicy
from .node import Branch, Callback
from .schema import Key


@dataclass(slots=True)
class NodeSpec:
    """What ``add_node`` was told."""

    callback: Callback
    schema: Any
    defer: bool = False
    metadata: Mapping[str, Any] | None = None
    retry_policy: tuple[RetryPolicy, ...] | None = None
    cache_policy: CachePolicy | None = None
    trace_policy: TracePolicy | None = None
    error_handler: str | None = None
    is_handler: bool = False
    #: Where its Commands may go, and what to call that.
    ends: Mapping[str, str | None] = field(default_factory=dict)
    timeout: TimeoutPolicy | None = None
    #: Where it runs, if not here.
    on: Remote | None = None

    @property
    def runnable(self) -> Callback:
        """The node's code, as LangGraph's builder calls it."""
        return self.callback


@dataclass(eq=False, repr=False)
class Description:
    """Nodes, the edges between them, and the schemas of what they share."""

    state_schema: Any
    input_schema: Any
    output_schema: Any
    context_schema: Any = None
    nodes: dict[str, NodeSpec] = field(default_factory=dict)
    #: In the order in which they were added; the values mean nothing.
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    waiting_edges: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    branches: dict[str, dict[str, Branch]] = field(default_factory=dict)
    #: Schema → the channels, and managed values, of its keys.
    schemas: dict[Any, dict[str, Key]] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    managed: dict[str, Any] = field(default_factory=dict)
    #: Policies, and an error handler, of every node that does not say otherwise.
    defaults: dict[str, Any] = field(default_factory=dict)
    default_handler: Any = None
