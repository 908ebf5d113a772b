"""``StateGraph``: describing a graph, checking the description, compiling it to tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Self

from otel_stream.adapters.runnable import side_by_side

from ..channels import Channel
from ..checkpoint.lease import ThreadLease
from ..deprecated import by_old_name, refuse_others
from ..graph.compiler import DEFAULT_HANDLER, Compiler, check_checkpointer, check_lease
from ..graph.description import Description, NodeSpec
from ..graph.node import Branch, Callback, annotated_destinations, first_parameter_schema, path_map_of
from ..graph.schema import read_schema, same_channel
from ..graph.spec import GraphSpec
from ..policies import CachePolicy, Remote, RetryPolicy, TimeoutPolicy, TracePolicy, as_policies
from ..types import END, START, All
from .compiled import CompiledStateGraph, ContextT, InputT, OutputT, StateT
from .remote.node import elsewhere


class StateGraph(Description, Generic[StateT, ContextT, InputT, OutputT]):
    """Nodes that read and write a shared state, and the edges between them.

    ``state_schema`` is a TypedDict, dataclass or pydantic model, one channel per key; an annotation
    ``Annotated[T, reducer]`` makes writes to the key merge. ``input_schema`` and ``output_schema`` narrow
    what a run takes and gives.

    ``state_schema``, ``input_schema``, ``output_schema`` and ``context_schema`` are as given; ``nodes``,
    ``edges``, ``waiting_edges`` and ``branches`` as added; ``schemas``, ``channels`` and ``managed`` what
    the schemas declare; ``defaults`` and ``default_handler`` what holds for nodes that say nothing else.

    Raises:
        ValueError: a reducer takes another number of arguments than two.
    """

    def __init__(
        self,
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        input_schema: type[InputT] | None = None,
        output_schema: type[OutputT] | None = None,
        **old: Any,
    ) -> None:
        context_schema = by_old_name(old, "config_schema", "context_schema", context_schema)
        input_schema = by_old_name(old, "input", "input_schema", input_schema)
        output_schema = by_old_name(old, "output", "output_schema", output_schema)
        refuse_others(old, "StateGraph")
        super().__init__(
            state_schema, input_schema or state_schema, output_schema or state_schema, context_schema
        )
        self._add_schema(self.state_schema)
        self._add_schema(self.input_schema, managed_allowed=input_schema is None)
        self._add_schema(self.output_schema, managed_allowed=output_schema is None)

    def _add_schema(self, schema: Any, managed_allowed: bool = True) -> None:
        if schema in self.schemas:
            return
        keys = read_schema(schema)
        self.schemas[schema] = keys
        for name, key in keys.items():
            if not isinstance(key, Channel):
                if not managed_allowed:
                    raise ValueError(
                        f"Invalid managed channels detected in "
                        f"{getattr(schema, '__name__', schema)}: {name}. "
                        f"Managed channels are not permitted in Input/Output schema."
                    )
                self.managed[name] = key
            elif name not in self.channels:
                self.channels[name] = key
            elif type(key).__name__ != "LastValue" and not same_channel(self.channels[name], key):
                raise ValueError(
                    f"Channel '{name}' already exists with a different type: two schemas of the graph "
                    f"give it different reducers; annotate it alike in both"
                )

    # -- describing ------------------------------------------------------------------------------

    def add_node(
        self,
        node: str | Any,
        action: Any = None,
        *,
        defer: bool = False,
        metadata: Mapping[str, Any] | None = None,
        input_schema: Any = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Any = None,
        destinations: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | timedelta | TimeoutPolicy | None = None,
        trace_policy: TracePolicy | None = None,
        on: Remote | None = None,
        **old: Any,
    ) -> Self:
        """Add a node: a function, coroutine function, runnable, a compiled graph, or a dict of such.

        Its name may be left out when the callable has one. ``defer`` runs it only when nothing else is left;
        ``destinations`` names where its Commands may go, for drawing. ``trace_policy`` says what LangChain's
        tracers are shown of its input and answer. What is in a dict LangChain calls side by side, with the
        node's input; the answers are written to the keys. ``on`` has it run elsewhere, on a Ray cluster.

        Raises:
            ValueError: the name is taken or reserved; a timeout of 0 or less.
        """
        retry_policy = by_old_name(old, "retry", "retry_policy", retry_policy)
        input_schema = by_old_name(old, "input", "input_schema", input_schema)
        refuse_others(old, "add_node")
        if not isinstance(node, str):
            action, node = node, Callback.of(node).name
        elif action is None:
            raise ValueError(
                f"add_node('{node}'): the node's function is missing; pass it as second argument"
            )
        self._check_name(node)
        action = side_by_side(action) if isinstance(action, dict) else action
        callback = Callback.of(action, node)
        if on is not None:
            callback = elsewhere(callback, on)
        schema = input_schema or first_parameter_schema(action) or self.state_schema
        self._add_schema(schema)
        self.nodes[node] = NodeSpec(
            callback,
            schema,
            defer=defer,
            metadata=metadata,
            retry_policy=None if retry_policy is None else as_policies(retry_policy),
            cache_policy=cache_policy,
            trace_policy=trace_policy,
            ends=_destinations(destinations or annotated_destinations(action)),
            timeout=TimeoutPolicy.coerce(timeout),
            on=on,
        )
        if error_handler is not None:
            self.nodes[node].error_handler = self._add_handler(f"__error_handler__{node}", error_handler)
        return self

    def _check_name(self, name: str) -> None:
        if name in (START, END):
            raise ValueError(f"Node `{name}` is reserved.")
        if name in self.nodes:
            raise ValueError(f"Node `{name}` already present.")
        for reserved in ("|", ":"):
            if reserved in name:
                raise ValueError(
                    f"'{reserved}' is a reserved character and is not allowed in the node names."
                )

    def _add_handler(self, name: str, handler: Any) -> str:
        schema = first_parameter_schema(handler) or self.state_schema
        self._add_schema(schema)
        self.nodes[name] = NodeSpec(Callback.of(handler, name, takes_error=True), schema, is_handler=True)
        return name

    def set_node_defaults(
        self,
        *,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Any = None,
        timeout: float | timedelta | TimeoutPolicy | None = None,
    ) -> Self:
        """Set policies for every node that does not say otherwise."""
        if retry_policy is not None:
            self.defaults["retry_policy"] = as_policies(retry_policy)
        if cache_policy is not None:
            self.defaults["cache_policy"] = cache_policy
        if timeout is not None:
            self.defaults["timeout"] = TimeoutPolicy.coerce(timeout)
        if error_handler is not None:
            self.default_handler = error_handler
        return self

    def add_edge(self, start_key: str | list[str], end_key: str) -> Self:
        """Run ``end_key`` after ``start_key``; after *all* of them if it is a list.

        Raises:
            ValueError: an edge from END, or to START.
        """
        starts = [start_key] if isinstance(start_key, str) else list(start_key)
        if END in starts:
            raise ValueError("END cannot be a start node")
        if end_key == START:
            raise ValueError("START cannot be an end node")
        if isinstance(start_key, str):
            self.edges[start_key, end_key] = None
            return self
        self.waiting_edges.append((tuple(starts), end_key))
        return self

    def add_conditional_edges(
        self,
        source: str,
        path: Any,
        path_map: Mapping[Hashable, str] | list[str] | None = None,
        *,
        quick: bool = False,
    ) -> Self:
        """Let ``path(state)`` choose what follows ``source``: names, ``Send`` packets, END, or a list.

        ``path_map`` translates its answers; a ``Literal`` return annotation says which there are. On an event
        loop a sync router is called in a thread, as a node is. ``quick=True`` declares that it neither blocks
        nor needs a thread of its own: it is called in place, which saves most of what a superstep costs.

        Raises:
            ValueError: ``source`` already has this conditional edge.
        """
        callback = Callback.of(path, None if not isinstance(path, type) else path.__name__)
        ends = path_map_of(path, path_map)
        branches = self.branches.setdefault(source, {})
        name = callback.name or "condition"
        if any(known.path.original == path and known.ends == ends for known in branches.values()):
            raise ValueError(f"Branch with name `{name}` already exists for node `{source}`")
        if name in branches:  # of another function
            name = f"{name} {len(branches) + 1}"
        schema = first_parameter_schema(path)
        if schema is not None:
            self._add_schema(schema)
        callback.in_place = quick and callback.afunc is None
        branches[name] = Branch(name, callback, ends, own_schema=schema)
        return self

    def add_sequence(self, nodes: Sequence[Any]) -> Self:
        """Add nodes, given as callables or ``(name, callable)``, each with an edge to the next.

        Raises:
            ValueError: no nodes, or a name twice.
        """
        if len(nodes) < 1:
            raise ValueError("Sequence requires at least one node.")
        previous: str | None = None
        for item in nodes:
            name, action = (
                item if isinstance(item, tuple) and len(item) == 2 else (Callback.of(item).name, item)
            )
            if name in self.nodes:
                raise ValueError(
                    f"Node names must be unique: node with the name '{name}' already exists. "
                    f"Pass (name, callable) to give it another one."
                )
            self.add_node(name, action)
            if previous is not None:
                self.add_edge(previous, name)
            previous = name
        return self

    def set_entry_point(self, key: str) -> Self:
        """Start with node ``key``."""
        return self.add_edge(START, key)

    def set_conditional_entry_point(self, path: Any, path_map: Any = None, *, quick: bool = False) -> Self:
        """Let ``path(state)`` choose what to start with; see :meth:`add_conditional_edges`."""
        return self.add_conditional_edges(START, path, path_map, quick=quick)

    def set_finish_point(self, key: str) -> Self:
        """End after node ``key``, unless other edges leave it."""
        return self.add_edge(key, END)

    # -- checking --------------------------------------------------------------------------------

    @property
    def _all_edges(self) -> list[tuple[str, str]]:
        return [*self.edges] + [(start, end) for starts, end in self.waiting_edges for start in starts]

    def validate(self, interrupt: Sequence[str] | None = None) -> Self:
        """Check the description.

        Raises:
            ValueError: edges from or to unknown nodes, no entry point, or a breakpoint at an unknown node.
                A node that no edge leads to is none: a command, or ``update_state``, may still go there; nor
                is a destination that a command has in a graph around this one.
        """
        sources = {start for start, _ in self._all_edges} | set(self.branches)
        sources |= {name for name, spec in self.nodes.items() if spec.ends}
        for source in sorted(sources):
            if source not in self.nodes and source != START:
                raise ValueError(
                    f"Found edge starting at unknown node '{source}'; known nodes: {', '.join(self.nodes)}"
                )
        if START not in sources:
            raise ValueError(
                "Graph must have an entrypoint: add at least one edge from START to another node"
            )
        self._check_targets()
        self._check_policies()
        for node in interrupt or ():
            if node not in self.nodes:
                raise ValueError(f"Interrupt node `{node}` not found")
        return self

    def _check_targets(self) -> None:
        known = {*self.nodes, END}
        for source, branches in self.branches.items():
            for branch in branches.values():
                for end in (branch.ends or {}).values():
                    if end not in known:
                        raise ValueError(
                            f"At '{source}' node, '{branch.name}' branch found unknown target '{end}'"
                        )
        for target in sorted({end for _, end in self._all_edges} - known):
            raise ValueError(
                f"Found edge ending at unknown node `{target}`; known nodes: {', '.join(self.nodes)}"
            )

    def _check_policies(self) -> None:
        if self.default_handler is not None and DEFAULT_HANDLER in self.nodes:
            raise ValueError(f"Node '{DEFAULT_HANDLER}' has the name of the default error handler; rename it")
        for name, spec in self.nodes.items():
            if spec.timeout is not None and spec.callback.afunc is None:
                raise ValueError(
                    f"Node timeouts are only supported for async nodes: '{name}' is sync, and a thread "
                    f"can't be stopped; make it async or drop the timeout"
                )

    # -- compiling -------------------------------------------------------------------------------

    def compile(
        self,
        checkpointer: Any = None,
        *,
        cache: Any = None,
        store: Any = None,
        interrupt_before: All | list[str] | None = None,
        interrupt_after: All | list[str] | None = None,
        debug: bool = False,
        name: str | None = None,
        transformers: Sequence[Callable[[tuple[str, ...]], Any]] | None = None,
        lease: ThreadLease | None = None,
    ) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """Check the graph and make it runnable.

        ``checkpointer``: a saver; as a subgraph, None inherits the parent's, True keeps a memory of its
        own over calls, False does without. ``name`` names the graph's runs in streams and telemetry.
        ``transformers`` make more projections for ``stream_events(version="v3")``. ``lease``: a
        ``PostgresLease`` or ``SqliteLease``, by which of several workers one at a time runs a thread.

        Raises:
            ValueError: whatever :meth:`validate` finds.
            TypeError: ``checkpointer`` or ``lease`` is none.
        """
        check_checkpointer(checkpointer)
        before, after = interrupt_before or [], interrupt_after or []
        self.validate([*(before if before != "*" else []), *(after if after != "*" else [])])
        return CompiledStateGraph(
            GraphSpec(
                name or "LangGraph",
                Compiler(self).program(),
                self,
                checkpointer,
                store,
                cache,
                interrupt_before_nodes=before,
                interrupt_after_nodes=after,
                debug=debug,
                transformers=tuple(transformers or ()),
                lease=check_lease(lease),
            )
        )


def _destinations(given: Mapping[str, str] | Sequence[str]) -> Mapping[str, str | None]:
    return given if isinstance(given, Mapping) else dict.fromkeys(given)
