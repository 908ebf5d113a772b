"""Making a run: where its config, checkpointer, namespace and audience come from."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_stream.adapters.ambient import ambient_config
from otel_stream.events import Observer
from otel_stream.stream.wakeup import in_event_loop

from ..core.state import GraphRun, NodeTask, path_of
from ..executors import Executor
from ..graph.program import View
from ..run.loop import RunLoop
from ..run.messages_mode import langchain_hook
from ..task_config import TaskConfig, origin_of, speaking_task
from ..types import Config
from .config import (
    inherited_metadata,
    merge_configs,
    names_another_place,
    recursion_limit,
    without_origin,
)

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph


#: They make no difference to how a graph runs.
_IGNORED = frozenset({"subgraphs", "debug"})


class Options(NamedTuple):
    """What a caller may say about one run besides its input and config."""

    context: Any = None
    interrupt_before: Any = None
    interrupt_after: Any = None
    durability: str | None = None
    control: Any = None
    output_keys: str | Sequence[str] | None = None
    #: Modes whose parts go to standard output, too.
    printed: Any = ()
    #: Show the whole state instead of the graph's output.
    whole: bool = False

    def and_also(self, given: Mapping[str, Any]) -> Options:
        """Add what came by other keywords: those LangGraph has retired, or takes only for streams.

        Raises:
            TypeError: a keyword that nothing is known by.
            ValueError: both ``durability`` and what came before it.
        """
        rest = {name: value for name, value in given.items() if name not in _IGNORED}
        during = rest.pop("checkpoint_during", None)
        if rest:
            known = ", ".join(self._fields[:-2])
            raise TypeError(f"{next(iter(rest))!r} is no option of a run; known: {known}")
        if during is None:
            return self
        if self.durability is not None:
            raise ValueError(
                "Cannot use both `checkpoint_during` and `durability` parameters: "
                "the former is deprecated, drop it"
            )
        return self._replace(durability="async" if during else "exit")


def concurrency(graph: CompiledStateGraph, config: Config | None) -> int | None:
    """Return how many tasks of a superstep may run side by side; None: any number. Subgraphs inherit it."""
    caller = caller_of(graph, config)
    inherited = caller.loop.config if caller is not None else None
    for source in (config, inherited, graph.config):
        if source and source.get("max_concurrency"):
            return int(source["max_concurrency"])
    return None


def caller_of(graph: CompiledStateGraph, config: Config | None) -> NodeTask | None:
    """Return the task that runs ``graph``, None if no run is around it."""
    return speaking_task(config, graph.config)


def launch(
    graph: CompiledStateGraph,
    input: Any,
    config: Config | None,
    options: Options,
    executor: Executor,
    observer: Observer | None,
    *,
    detached: bool = False,
    updating: bool = False,
) -> RunLoop:
    """Make the loop of one run. Inside a node it becomes a subgraph's run, unless ``detached``.

    A detached run has an audience of its own; its checkpoints and interrupts still belong to the node. With a
    ``thread_id`` of its own it is the other way around: it is shown with the node, and otherwise on its own.

    Raises:
        ValueError: a checkpointer without a thread_id, or a recursion limit below 1.
        RuntimeError: ``checkpointer=True`` at the root.
    """
    caller = caller_of(graph, config)
    parent = None if caller is not None and _is_elsewhere(graph, config, caller) else caller
    merged = _config(graph, config, caller, parent)
    checkpointer = None if updating else _checkpointer(graph, parent, merged)
    namespace = _namespace(graph, parent)
    path = tuple(namespace.split("|")) if namespace else ()
    run = _run(graph, merged, None if detached else caller, path)
    loop = RunLoop(
        graph,
        input,
        merged,
        run=run,
        executor=executor,
        observer=observer,
        recursion_limit=recursion_limit(merged),
        checkpointer=checkpointer,
        durability=_durability(options, parent),
        context=_context(graph, options.context, parent),
        control=options.control or (parent.loop.control if parent is not None else None),
        breakpoints=(
            graph.interrupt_before_nodes if options.interrupt_before is None else options.interrupt_before,
            graph.interrupt_after_nodes if options.interrupt_after is None else options.interrupt_after,
        ),
        parent_task=parent,
        checkpoint_ns=namespace,
        langchain=langchain_hook(observer, caller),
        view=_view(graph, options.output_keys) or (graph.program.state_view if options.whole else None),
        output=_view(graph, options.output_keys),
    )
    if not executor.is_async and in_event_loop():
        # A sync call on an event loop's thread: waiting for a consumer on that loop would never end.
        loop.drain = None
    return loop


def _run(
    graph: CompiledStateGraph, config: Config, caller: NodeTask | None, path: tuple[str, ...]
) -> GraphRun:
    thread_id = config.get("configurable", {}).get("thread_id")
    return GraphRun(
        str(config.get("run_id") or uuid.uuid4()),
        graph.name,
        context=copy_context(),
        path=path,
        channels=graph.program.channels,
        ns=() if caller is None else shown_path(caller, path),
        parent=caller,
        thread_id=None if thread_id is None else str(thread_id),
        tags=config.get("tags") or (),
        metadata=inherited_metadata(config),
    )


def _is_elsewhere(graph: CompiledStateGraph, config: Config | None, caller: NodeTask) -> bool:
    told = names_another_place(config, caller)
    return bool(names_another_place(graph.config, caller) if told is None else told)


def _config(
    graph: CompiledStateGraph, config: Config | None, caller: NodeTask | None, parent: NodeTask | None
) -> Config:
    ambient = ambient_config()
    if caller is None:
        return merge_configs(ambient, graph.config, config)
    inherited = dict(caller.loop.config)
    inherited.pop("run_id", None)
    configurable = inherited.pop("configurable", {})
    if parent is not None:
        inherited["configurable"] = {k: v for k, v in configurable.items() if k not in _PLACE}
    if isinstance(ambient, TaskConfig) or origin_of(ambient) is not caller or origin_of(config) is not None:
        ambient = None  # nothing new, or another task's
    said = [without_origin(source) for source in (ambient, graph.config, config)]
    if any(source and source.get("callbacks") is not None for source in (ambient, config)):
        inherited.pop("callbacks", None)  # they are among those
    return merge_configs(inherited, *said)


_PLACE = frozenset({"checkpoint_id", "checkpoint_ns", "checkpoint_map"})


def shown_path(caller: NodeTask, path: tuple[str, ...]) -> tuple[str, ...]:
    """Return what parts go under: the path, as seen from where the stream began."""
    shown = caller.run.ns
    outside = len(path_of(caller.run)) - len(shown)
    return path[outside:] or (*shown, f"{caller.node}:{caller.id}")


def _checkpointer(graph: CompiledStateGraph, parent: NodeTask | None, config: Config) -> Any:
    own = graph.checkpointer
    if own is False:
        return None
    if own is True and parent is None:
        raise RuntimeError(
            "checkpointer=True cannot be used for root graphs: it means to keep the memory of a subgraph; "
            "pass a saver"
        )
    if parent is not None:
        own = _lent(parent.loop)
    if own is None:
        own = config.get("configurable", {}).get("__pregel_checkpointer")
    if own is not None and "thread_id" not in config.get("configurable", {}):
        raise ValueError(
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, "
            'checkpoint_ns, checkpoint_id; pass config={"configurable": {"thread_id": "..."}}'
        )
    return own


def _lent(loop: RunLoop | None) -> Any:
    """Return the checkpointer of the nearest run around that has one."""
    while loop is not None:
        if loop.persist is not None:
            return loop.persist.checkpointer
        loop = loop.parent_loop
    return None


def _namespace(graph: CompiledStateGraph, parent: NodeTask | None) -> str:
    if parent is None:
        return ""
    count, parent.subgraphs = parent.subgraphs, parent.subgraphs + 1
    namespace = own_namespace(graph, parent.ns)
    return f"{namespace}|{count}" if count else namespace


def own_namespace(graph: Any, namespace: str) -> str:
    """Return where a graph keeps its checkpoints: with ``checkpointer=True`` the same place in every run."""
    if graph.checkpointer is not True:
        return namespace
    return "|".join(part.split(":")[0] for part in namespace.split("|"))


def _view(graph: CompiledStateGraph, keys: str | Sequence[str] | None) -> View | None:
    if keys is None:
        return None
    unknown = [
        key for key in ([keys] if isinstance(keys, str) else keys) if key not in graph.program.channels
    ]
    if unknown:
        known = ", ".join(graph.program.state_keys)
        raise ValueError(f"output_keys: {unknown[0]!r} is no key of the state; choose from: {known}")
    return View.of(keys if isinstance(keys, str) else tuple(keys))


def _durability(options: Options, parent: NodeTask | None) -> str:
    if options.durability is not None:
        return options.durability
    loop = parent.loop if parent is not None else None
    while loop is not None:  # past graphs that keep nothing, as their checkpointer is
        if loop.persist is not None:
            return str(loop.persist.durability)
        loop = loop.parent_loop
    return "async"


def _context(graph: CompiledStateGraph, context: Any, parent: NodeTask | None) -> Any:
    """Coerce the run context to the graph's schema; a subgraph inherits the one around it."""
    if context is None:
        return parent.loop.context if parent is not None else None
    schema = graph.context_schema
    if isinstance(context, dict) and isinstance(schema, type) and not issubclass(schema, dict):
        return schema(**context)
    return context
