"""Compiling a graph's description to tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..channels import (
    BinaryOperatorAggregate,
    Channel,
    EphemeralValue,
    LastValueAfterFinish,
    NamedBarrierValue,
    NamedBarrierValueAfterFinish,
    Topic,
)
from ..checkpoint.lease import ThreadLease
from ..messages import is_conversation
from ..types import END, START, Send
from .description import Description, NodeSpec
from .node import TASKS, Branch, Callback, Node, branch_to
from .program import Program
from .schema import ROOT, state_factory

DEFAULT_HANDLER = "__default_error_handler__"


def check_checkpointer(checkpointer: Any) -> None:
    """Refuse what can't keep checkpoints.

    Raises:
        TypeError: it is neither a saver nor True, False or None.
    """
    if checkpointer in (None, True, False) or hasattr(checkpointer, "get_tuple"):
        return
    hint = "; enter it with `with` first" if hasattr(checkpointer, "__enter__") else ""
    raise TypeError(
        f"Invalid checkpointer provided: expected a BaseCheckpointSaver, True, False or None, "
        f"got {type(checkpointer).__name__}{hint}"
    )


def check_lease(lease: Any, where: str = "compile") -> ThreadLease | None:
    """Return ``lease``.

    Raises:
        TypeError: it is none.
    """
    if lease is None or isinstance(lease, ThreadLease):
        return lease
    raise TypeError(f"{where}: lease={lease!r} is no lease; give a PostgresLease or a SqliteLease")


class Compiler:
    """Turns one graph's description into its :class:`Program`."""

    def __init__(self, graph: Description) -> None:
        self.graph = graph
        self.specs = dict(graph.nodes)
        self.writable = frozenset(graph.channels)
        self.conversations = frozenset(
            name
            for name, channel in graph.channels.items()
            if isinstance(channel, BinaryOperatorAggregate) and is_conversation(channel.operator)
        )
        self.channels: dict[str, Channel] = dict(graph.channels)
        self.channels[START] = EphemeralValue(graph.input_schema, START)
        self.channels[TASKS] = Topic(Send, TASKS)
        self.joins: dict[str, list[str]] = {}
        self.edges: dict[str, list[tuple[str, Any]]] = {}

    def program(self) -> Program:
        """Work out all that supersteps look up."""
        graph = self.graph
        self._apply_defaults()
        for name, spec in self.specs.items():
            kind = LastValueAfterFinish(Any) if spec.defer else EphemeralValue(Any, guard=False)
            kind.key = branch_to(name)
            self.channels[branch_to(name)] = kind
        for start, end in graph.edges:
            if end != END:
                self.edges.setdefault(start, []).append((branch_to(end), None))
        for starts, end in graph.waiting_edges:
            if end != END:
                self._add_join(starts, end)
        output = graph.schemas[graph.output_schema]
        output_keys = tuple(k for k, key in output.items() if isinstance(key, Channel))
        state_keys = tuple(graph.channels)
        return Program(
            start=self._start(),
            nodes={name: self._node(name, spec) for name, spec in self.specs.items()},
            channels=self.channels,
            output_keys=output_keys,
            state_keys=state_keys,
            make_output=state_factory(graph.output_schema, output),
            make_state=state_factory(graph.state_schema, graph.channels),
            managed=dict(graph.managed),
            schemas=(*graph.schemas, graph.context_schema),
        )

    def _apply_defaults(self) -> None:
        defaults = self.graph.defaults
        handler = self.graph.default_handler
        if handler is not None:
            spec = NodeSpec(
                Callback.of(handler, DEFAULT_HANDLER, takes_error=True),
                self.graph.state_schema,
                is_handler=True,
            )
            self.specs[DEFAULT_HANDLER] = spec
        for name, spec in self.specs.items():
            changes = {k: v for k, v in defaults.items() if getattr(spec, k) is None}
            if spec.is_handler:
                changes.pop("cache_policy", None)
            elif handler is not None and spec.error_handler is None:
                changes["error_handler"] = DEFAULT_HANDLER
            if spec.callback.afunc is None:
                changes.pop("timeout", None)
            self.specs[name] = replace(spec, **changes)

    def _add_join(self, starts: tuple[str, ...], end: str) -> None:
        name = f"join:{'+'.join(starts)}:{end}"
        kind = NamedBarrierValueAfterFinish if self.specs[end].defer else NamedBarrierValue
        self.channels[name] = kind(str, name, starts)
        self.joins.setdefault(end, []).append(name)
        for start in starts:
            self.edges.setdefault(start, []).append((name, start))

    def _start(self) -> Node:
        graph = self.graph
        keys = graph.schemas[graph.input_schema]
        writable = frozenset(name for name, key in keys.items() if isinstance(key, Channel))
        return Node(
            START,
            Callback(START, lambda value: value, None),
            triggers=(START,),
            keys=(START,),
            writable=writable,
            root=set(writable) == {ROOT},
            edges=tuple(self.edges.get(START, ())),
            branches=self._branches(START, graph.state_schema),
        )

    def _node(self, name: str, spec: NodeSpec) -> Node:
        keys = self.graph.schemas[spec.schema]
        return Node(
            name,
            spec.callback,
            triggers=tuple(sorted([branch_to(name), *self.joins.get(name, ())])),
            keys=tuple(k for k, key in keys.items() if isinstance(key, Channel)),
            single=set(keys) == {ROOT},
            managed={k: key for k, key in keys.items() if not isinstance(key, Channel)},
            make=state_factory(spec.schema, keys),
            writable=self.writable,
            root=self.writable == {ROOT},
            edges=tuple(self.edges.get(name, ())),
            branches=self._branches(name, spec.schema),
            retry=spec.retry_policy or (),
            cache=spec.cache_policy,
            trace=spec.trace_policy,
            conversations=self.conversations,
            timeout=spec.timeout,
            error_handler=spec.error_handler,
            metadata=spec.metadata,
            repeatable=spec.on is None or spec.on.idempotent,
        )

    def _branches(self, source: str, schema: Any) -> tuple[Branch, ...]:
        prepared = []
        for branch in self.graph.branches.get(source, {}).values():
            keys = self.graph.schemas[branch.own_schema or schema]
            names = tuple(k for k, key in keys.items() if isinstance(key, Channel))
            prepared.append(
                replace(
                    branch,
                    keys=names,
                    make=state_factory(branch.own_schema or schema, keys),
                    managed={k: key for k, key in keys.items() if not isinstance(key, Channel)},
                )
            )
        return tuple(prepared)
