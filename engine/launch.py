"""Making a run: where its config, checkpointer, namespace and audience come from."""

from __future__ import annotations

import uuid
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_stream.events import Observer, Run

from .config import inherited_metadata, merge_configs, recursion_limit
from .executors import Executor
from .loop import RunLoop
from .messages_mode import langchain_hook
from .runtime import CURRENT
from .state import NodeTask
from .types import Config

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph


class Options(NamedTuple):
    """What a caller may say about one run besides its input and config."""

    context: Any = None
    interrupt_before: Any = None
    interrupt_after: Any = None
    durability: str | None = None
    control: Any = None
    checkpoint_during: bool | None = None


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

    A detached run has an audience of its own; its checkpoints and interrupts still belong to the node.

    Raises:
        ValueError: a checkpointer without a thread_id, or a recursion limit below 1.
        RuntimeError: ``checkpointer=True`` at the root.
    """
    parent = CURRENT.get()
    merged = _config(graph, config, parent)
    checkpointer = None if updating else _checkpointer(graph, parent, merged)
    namespace = _namespace(graph, parent, merged)
    thread_id = merged.get("configurable", {}).get("thread_id")
    run = Run(
        str(merged.get("run_id") or uuid.uuid4()),
        graph.name,
        context=copy_context(),
        ns=tuple(namespace.split("|")) if namespace and parent is not None and not detached else (),
        parent=None if detached else parent,
        thread_id=None if thread_id is None else str(thread_id),
        tags=merged.get("tags") or (),
        metadata=inherited_metadata(merged),
    )
    return RunLoop(
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
        langchain=langchain_hook(observer, merged, parent),
    )


def _config(graph: CompiledStateGraph, config: Config | None, parent: NodeTask | None) -> Config:
    if parent is None:
        return merge_configs(graph.config, config)
    inherited = dict(parent.loop.config)
    inherited.pop("run_id", None)
    inherited["configurable"] = {
        k: v for k, v in inherited.get("configurable", {}).items() if not k.startswith("checkpoint_")
    }
    return merge_configs(graph.config, inherited, config)


def _checkpointer(graph: CompiledStateGraph, parent: NodeTask | None, config: Config) -> Any:
    own = graph.checkpointer
    if own is False:
        return None
    if own is True and parent is None:
        raise RuntimeError(
            "checkpointer=True cannot be used for root graphs: it means to keep the memory of a subgraph; pass a saver"
        )
    if own is True or own is None:
        persist = parent.loop.persist if parent is not None else None
        own = (
            persist.checkpointer
            if persist is not None
            else config.get("configurable", {}).get("__checkpointer")
        )
    if own is not None and "thread_id" not in config.get("configurable", {}):
        raise ValueError(
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, checkpoint_ns, "
            'checkpoint_id; pass config={"configurable": {"thread_id": "..."}}'
        )
    return own


def _namespace(graph: CompiledStateGraph, parent: NodeTask | None, config: Config) -> str:
    if parent is None:
        return str(config.get("configurable", {}).get("checkpoint_ns", ""))
    count, parent.subgraphs = parent.subgraphs, parent.subgraphs + 1
    namespace = parent.ns
    if graph.checkpointer is True:
        namespace = without_ids(namespace)
    return f"{namespace}|{count}" if count else namespace


def without_ids(namespace: str) -> str:
    """Strip the task ids from a namespace, so that it is the same in every run."""
    return "|".join(part.split(":")[0] for part in namespace.split("|") if not part.isdigit())


def _durability(options: Options, parent: NodeTask | None) -> str:
    if options.durability is not None:
        return options.durability
    if options.checkpoint_during is not None:
        return "async" if options.checkpoint_during else "exit"
    if parent is not None and parent.loop.persist is not None:
        return str(parent.loop.persist.durability)
    return "async"


def _context(graph: CompiledStateGraph, context: Any, parent: NodeTask | None) -> Any:
    """Coerce the run context to the graph's schema; a subgraph inherits the one around it."""
    if context is None:
        return parent.loop.context if parent is not None else None
    schema = graph.context_schema
    if isinstance(context, dict) and isinstance(schema, type) and not issubclass(schema, dict):
        return schema(**context)
    return context
