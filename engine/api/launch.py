"""Making a run: where its config, checkpointer, namespace and audience come from."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple

from otel_stream.adapters.ambient import ambient_config
from otel_stream.events import CheckpointWritten, Observer
from otel_stream.stream.wakeup import in_event_loop

from ..checkpoint.saver import trusting
from ..core.continuation import Continuation
from ..core.lineage import Lineage
from ..core.naming import OWN
from ..core.state import State
from ..core.task import Executor, Failing, GraphRun, NodeTask, RunEnv, path_of, without_ids
from ..graph.drawing import declared
from ..graph.program import View
from ..graph.spec import GraphSpec
from ..run.checkpointing import Checkpoints
from ..run.loop import RunLoop
from ..run.messages_mode import langchain_hook
from ..run.reporting import checkpoint_stored
from ..run.time_travel import checkpoints_around, is_around
from ..task_config import TaskConfig, origin_of, speaking_task, task_config
from ..types import Config, ours
from .config import (
    inherited_metadata,
    merge_configs,
    names_another_place,
    recursion_limit,
    without_origin,
)
from .options import Asked

Drain = Callable[[], Awaitable[None]]


class Call(NamedTuple):
    """A graph that is about to run, on whose behalf, and where."""

    graph: GraphSpec
    config: Config
    asked: Asked
    executor: Executor
    observer: Observer | None
    #: The task that calls it, and the one that it is inside of: not so if it was told to keep its own place.
    caller: NodeTask | None
    parent: NodeTask | None
    #: The namespace of its checkpoints, namespace → id of those around, and the one it is pointed at, if any.
    namespace: str
    around: Mapping[str, str]
    start: tuple[str, str] | None
    run: GraphRun


def concurrency(graph: GraphSpec, config: Config | None, caller: NodeTask | None) -> int | None:
    """Return how many tasks of a superstep may run side by side; None: any number. Subgraphs inherit it.

    Raises:
        ValueError: it is no whole number, or below 0; 0 is any number.
    """
    inherited = caller.env.config if caller is not None else None
    for source in (config, inherited, graph.config):
        limit = source.get("max_concurrency") if source else None
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise ValueError(
                f"max_concurrency must be a whole number of tasks: {limit!r} is none; set "
                "config['max_concurrency'] to how many may run at a time, or leave it out"
            )
        if limit:
            return int(limit)
    return None


def caller_of(graph: GraphSpec, config: Config | None) -> NodeTask | None:
    """Return the task that runs ``graph``, None if no run is around it."""
    return speaking_task(config, graph.config)


def launch(
    graph: GraphSpec,
    input: Any,
    config: Config | None,
    asked: Asked,
    executor: Executor,
    observer: Observer | None,
    *,
    caller: NodeTask | None = None,
    detached: bool = False,
    drain: Drain | None = None,
) -> RunLoop:
    """Make the loop of one run. Called by a node's task it becomes a subgraph's run, unless ``detached``.

    A detached run has an audience of its own; its checkpoints and interrupts still belong to the node. With a
    ``thread_id`` of its own it is the other way around: it is shown with the node, and otherwise on its own.
    ``drain`` is awaited after every superstep, instead of the observer's.

    Raises:
        ValueError: a checkpointer without a thread_id, or a recursion limit below 1.
        RuntimeError: ``checkpointer=True`` at the root.
    """
    call = calling(graph, config, asked, executor, observer, caller, detached=detached)
    checkpointer = _checkpointer(graph, call.parent, call.config)
    checkpoints = None if checkpointer is None else _checkpoints(call, checkpointer)
    if drain is None and observer is not None and (executor.is_async or not in_event_loop()):
        # A sync call on an event loop's thread has none: to wait for a consumer on that loop would never end.
        drain = observer.drain
    return RunLoop(environment(call, checkpoints, drain=drain), checkpoints, ours(input))


def calling(
    graph: GraphSpec,
    config: Config | None,
    asked: Asked,
    executor: Executor,
    observer: Observer | None,
    caller: NodeTask | None,
    *,
    detached: bool = False,
) -> Call:
    """Find out where the run of ``graph`` that ``caller`` has called has its place."""
    parent = None if caller is not None and _is_elsewhere(graph, config, caller) else caller
    merged = _config(graph, config, caller, parent)
    namespace, former = _namespaces(graph, parent)
    path = tuple(namespace.split("|")) if namespace else ()
    run = _run(graph, merged, None if detached else caller, path)
    around = checkpoints_around(merged, parent.env if parent is not None else None)
    goes_on = parent is None or bool(parent.env.continuation.goes_on)
    places = (namespace, former) if goes_on else ()
    start = next(((ns, around[ns]) for ns in places if ns is not None and ns in around), None)
    return Call(graph, merged, asked, executor, observer, caller, parent, namespace, around, start, run)


def environment(
    call: Call, checkpoints: Checkpoints | None, *, drain: Drain | None = None, state: State | None = None
) -> RunEnv:
    """Make what the tasks of a run share; ``state`` is what they read, by default that of a new run."""
    graph, asked, program = call.graph, call.asked, call.graph.program
    around = call.parent.env if call.parent is not None else None
    before = graph.interrupt_before_nodes if asked.interrupt_before is None else asked.interrupt_before
    after = graph.interrupt_after_nodes if asked.interrupt_after is None else asked.interrupt_after
    state = state or State(
        program.fresh_channels(),
        checkpoint_id=call.run.id,
        track=checkpoints is not None or bool(before or after),
        next_version=checkpoints.next_version if checkpoints is not None else None,
    )
    output = _view(graph, asked.output_keys) or program.output_view
    whole = asked.whole and asked.output_keys is None
    return RunEnv(
        spec=graph,
        program=program,
        run=call.run,
        config=call.config,
        executor=call.executor,
        observer=call.observer,
        view=program.state_view if whole else output,
        output=output,
        state=state,
        lineage=Lineage(program.lasting, state.channels),
        failing=Failing(around.failing if around is not None else None),
        continuation=Continuation(around.continuation if around is not None else None),
        recursion_limit=recursion_limit(call.config),
        memory=checkpoints,
        store=around.store if graph.store is None and around is not None else graph.store,
        cache=around.cache if graph.cache is None and around is not None else graph.cache,
        context=_context(graph, asked.context, around),
        control=asked.control or (around.control if around is not None else None),
        langchain=langchain_hook(call.observer, call.caller),
        parent_task=call.parent,
        checkpoint_ns=call.namespace,
        checkpoint_map=call.around,
        before=before,
        after=after,
        drain=drain,
    )


def _checkpoints(call: Call, checkpointer: Any) -> Checkpoints:
    report = None
    if call.observer is not None and call.observer.interest & CheckpointWritten.bit:
        report = partial(checkpoint_stored, call.observer, call.run)
    return Checkpoints(
        checkpointer,
        _place(call),
        report,
        is_async=call.executor.is_async,
        run=call.run,
        source=None if call.start is None else call.start[0],
        durability=_durability(call.asked, call.parent),
        parents={ns: id for ns, id in call.around.items() if is_around(ns, call.namespace)},
    )


def _run(graph: GraphSpec, config: Config, caller: NodeTask | None, path: tuple[str, ...]) -> GraphRun:
    thread_id = config.get("configurable", {}).get("thread_id")
    return GraphRun(
        str(config.get("run_id") or _new_id()),
        graph.name,
        context=copy_context(),
        path=path,
        channels=graph.program.channels,
        ns=() if caller is None else shown_path(caller, path),
        parent=caller,
        thread_id=None if thread_id is None else str(thread_id),
        tags=config.get("tags") or (),
        metadata=inherited_metadata(config),
        naming=OWN if caller is None else caller.naming,
        declared=declared(graph),
    )


#: Ours alone, so that a program which seeds its own does not get the same ids again; nor do children.
_CHANCE: Final = Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_CHANCE.seed)


def _new_id() -> str:
    """Return a random UUID of version 4, without the object that the standard library makes of it."""
    digits = f"{_CHANCE.getrandbits(128) & _ANY | _VERSION_4:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_ANY: Final = ~(0xF << 76 | 0b11 << 62)
_VERSION_4: Final = 4 << 76 | 0b10 << 62


def _is_elsewhere(graph: GraphSpec, config: Config | None, caller: NodeTask) -> bool:
    """Whether a graph is told to be a run of its own; one that has a saver of its own is, on any thread."""
    keeps = graph.checkpointer is not None
    told = names_another_place(config, caller, any_thread=keeps)
    return bool(names_another_place(graph.config, caller, any_thread=keeps) if told is None else told)


def _config(
    graph: GraphSpec, config: Config | None, caller: NodeTask | None, parent: NodeTask | None
) -> Config:
    ambient = ambient_config()
    if caller is None:
        return merge_configs(ambient, graph.config, config)
    inherited = dict(caller.env.config)
    inherited.pop("run_id", None)
    inherited.pop("run_name", None)
    configurable = inherited.pop("configurable", {})
    if parent is not None:
        inherited["configurable"] = {k: v for k, v in configurable.items() if k not in _PLACE}
    if isinstance(ambient, TaskConfig) or origin_of(ambient) is not caller or origin_of(config) is not None:
        ambient = None  # nothing new, or another task's
    said = [without_origin(source) for source in (ambient, graph.config, config)]
    if any(source and source.get("callbacks") is not None for source in (ambient, config)):
        inherited.pop("callbacks", None)  # they are among those
    elif inherited.get("callbacks"):
        inherited["callbacks"] = task_config(caller).get("callbacks")  # so that the node is the parent
    return merge_configs(inherited, *said)


_PLACE = frozenset({"checkpoint_id", "checkpoint_ns", "checkpoint_map"})


def shown_path(caller: NodeTask, path: tuple[str, ...]) -> tuple[str, ...]:
    """Return what parts go under: the path, as seen from where the stream began."""
    shown = caller.run.ns
    outside = len(path_of(caller.run)) - len(shown)
    return path[outside:] or (*shown, f"{caller.node}:{caller.id}")


def _checkpointer(graph: GraphSpec, parent: NodeTask | None, config: Config) -> Any:
    own = graph.checkpointer
    if own is False:
        return None
    if own is True and parent is None:
        raise RuntimeError(
            "checkpointer=True cannot be used for root graphs: it means to keep the memory of a subgraph; "
            "pass a saver"
        )
    if parent is not None:
        own = _lent(parent.env)
    if own is None:
        own = config.get("configurable", {}).get("__pregel_checkpointer")
    if own is not None and "thread_id" not in config.get("configurable", {}):
        raise ValueError(
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, "
            'checkpoint_ns, checkpoint_id; pass config={"configurable": {"thread_id": "..."}}'
        )
    return None if own is None else trusting(own, graph.program.stored_types)


def _lent(env: RunEnv | None) -> Any:
    """Return the checkpointer of the nearest run around that has one."""
    while env is not None:
        if env.memory is not None:
            return env.memory.checkpointer
        env = env.around
    return None


def _place(call: Call) -> Config:
    """Return the config that names where the run's checkpoints are, and where it starts."""
    configurable = call.config.get("configurable", {})
    place = {k: v for k, v in configurable.items() if not k.startswith("__")}
    if "thread_id" in place:
        place["thread_id"] = str(place["thread_id"])
    # An id that comes with the namespace of a subgraph is the subgraph's; the map has ours.
    if call.parent is not None or configurable.get("checkpoint_ns"):
        place.pop("checkpoint_id", None)
    if call.start is not None:
        place["checkpoint_id"] = call.start[1]
    if call.around:
        place["checkpoint_map"] = call.around
    return {"configurable": {**place, "checkpoint_ns": call.namespace}}


def _namespaces(graph: GraphSpec, parent: NodeTask | None) -> tuple[str, str | None]:
    """Return where a run has its checkpoints, and had them before the run around started a branch."""
    if parent is None:
        return "", None
    pad = parent.pad
    count, pad.subgraphs = pad.subgraphs, pad.subgraphs + 1
    which = f"|{count}" if count else ""
    former = parent.former_ns
    return own_namespace(graph, parent.ns) + which, former and own_namespace(graph, former) + which


def own_namespace(graph: GraphSpec, namespace: str) -> str:
    """Return where a graph keeps its checkpoints: with ``checkpointer=True`` the same place in every run."""
    return without_ids(namespace) if graph.checkpointer is True else namespace


def _view(graph: GraphSpec, keys: str | Sequence[str] | None) -> View | None:
    if keys is None:
        return None
    unknown = [
        key for key in ([keys] if isinstance(keys, str) else keys) if key not in graph.program.channels
    ]
    if unknown:
        known = ", ".join(graph.program.state_view.keys)
        raise ValueError(f"output_keys: {unknown[0]!r} is no key of the state; choose from: {known}")
    return View.of(keys if isinstance(keys, str) else tuple(keys))


def _durability(asked: Asked, parent: NodeTask | None) -> str:
    if asked.durability is not None:
        return asked.durability
    env = parent.env if parent is not None else None
    while env is not None:  # past graphs that keep nothing, as their checkpointer is
        if env.memory is not None:
            return env.memory.durability
        env = env.around
    return "async"


def _context(graph: GraphSpec, context: Any, around: RunEnv | None) -> Any:
    """Coerce the run context to the graph's schema; a subgraph inherits the one around it."""
    if context is None:
        return around.context if around is not None else None
    schema = graph.description.context_schema
    if isinstance(context, dict) and isinstance(schema, type) and not issubclass(schema, dict):
        return schema(**context)
    return context
