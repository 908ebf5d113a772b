"""Reading and changing the state of a thread: ``get_state``, its history, ``update_state``.

Written once, as coroutines over a checkpointer's methods; the sync forms drive them by hand.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from otel_stream.events import Run

from .config import merge_configs
from .errors import InvalidUpdateError
from .executors import ThreadExecutor, async_executor, drive
from .launch import without_ids
from .snapshots import Snapshots
from .types import Config, StateSnapshot, StateUpdate
from .update import update_thread

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph


class StateApi:
    """The part of a compiled graph that works on stored threads."""

    checkpointer: Any
    config: Config

    def get_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread, at its latest checkpoint or the one the config names.

        Raises:
            ValueError: the graph has no checkpointer.
        """
        return drive(_get_state(self, config, subgraphs, is_async=False))  # type: ignore[no-any-return]

    async def aget_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Do what :meth:`get_state` does."""
        return await _get_state(self, config, subgraphs, is_async=True)

    def get_state_history(
        self, config: Config, *, filter: dict[str, Any] | None = None, before: Config | None = None, limit: int | None = None
    ) -> Iterator[StateSnapshot]:
        """Yield the states of a thread, newest first."""
        graph, config = _place(self, config)
        snapshots = _snapshots(graph, config)
        saver = _saver(self, config)
        for saved in list(saver.list(_thread_config(config), before=before, limit=limit, filter=filter)):
            yield snapshots.snapshot(saved.config, saved, pending=False)

    async def aget_state_history(
        self, config: Config, *, filter: dict[str, Any] | None = None, before: Config | None = None, limit: int | None = None
    ) -> AsyncIterator[StateSnapshot]:
        """Yield the states of a thread, newest first."""
        graph, config = _place(self, config)
        snapshots = _snapshots(graph, config)
        saver = _saver(self, config)
        listed = [
            saved async for saved in saver.alist(_thread_config(config), before=before, limit=limit, filter=filter)
        ]
        for saved in listed:
            yield snapshots.snapshot(saved.config, saved, pending=False)

    def update_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> Config:
        """Write to a thread's state as if ``as_node`` had; return the config of the new checkpoint.

        Raises:
            InvalidUpdateError: it can't be told which node wrote last; name one.
        """
        return self.bulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    async def aupdate_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> Config:
        """Do what :meth:`update_state` does."""
        return await self.abulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    def bulk_update_state(self, config: Config, supersteps: Sequence[Sequence[StateUpdate]]) -> Config:
        """Write several updates per superstep, superstep by superstep."""
        return drive(_update(self, config, supersteps, ThreadExecutor(None)))  # type: ignore[no-any-return]

    async def abulk_update_state(self, config: Config, supersteps: Sequence[Sequence[StateUpdate]]) -> Config:
        """Do what :meth:`bulk_update_state` does."""
        return await _update(self, config, supersteps, async_executor(None))

    def get_subgraphs(self, *, namespace: str | None = None, recurse: bool = False) -> Iterator[tuple[str, Any]]:
        """Yield the nodes that are graphs, by name; with ``recurse`` what is inside them too."""
        for name, graph in self.program.subgraphs().items():  # type: ignore[attr-defined]
            if namespace is None or namespace == name or (recurse and namespace.startswith(f"{name}|")):
                if namespace is None or namespace == name:
                    yield name, graph
                inner = None if namespace is None else namespace[len(name) + 1 :]
                if recurse and (namespace is None or inner):
                    for deeper, found in graph.get_subgraphs(namespace=inner, recurse=True):
                        yield f"{name}|{deeper}", found

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, Any]]:
        """Do what :meth:`get_subgraphs` does."""
        for item in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield item


def _saver(graph: Any, config: Config) -> Any:
    saver = config.get("configurable", {}).get("__checkpointer") or graph.checkpointer
    if not saver or saver is True:
        raise ValueError("No checkpointer set: compile the graph with one to keep and read the state of threads")
    return saver


def _place(graph: Any, config: Config) -> tuple[CompiledStateGraph, Config]:
    """Find the graph a config's namespace is about: the subgraph, when it names one."""
    merged = merge_configs(graph.config, config)
    namespace = without_ids(str(merged.get("configurable", {}).get("checkpoint_ns", "")))
    if not namespace:
        return graph, merged
    for name, found in graph.get_subgraphs(recurse=True):
        if name == namespace:
            merged["configurable"]["__checkpointer"] = _saver(graph, merged)
            return found, merged
    raise ValueError(f"Subgraph {namespace} not found")


def _thread_config(config: Config) -> Config:
    kept = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
    configurable = {k: v for k, v in config.get("configurable", {}).items() if k in kept}
    configurable.setdefault("checkpoint_ns", "")
    return {"configurable": configurable}


def _snapshots(graph: CompiledStateGraph, config: Config) -> Snapshots:
    configurable = config.get("configurable", {})
    namespace = str(configurable.get("checkpoint_ns", ""))
    run = Run(
        "state",
        graph.name,
        context=copy_context(),
        ns=tuple(namespace.split("|")) if namespace else (),
        thread_id=configurable.get("thread_id"),
    )
    return Snapshots(graph, run)


async def _tuple(saver: Any, config: Config, is_async: bool) -> Any:
    return await saver.aget_tuple(config) if is_async else saver.get_tuple(config)


async def _get_state(owner: Any, config: Config, subgraphs: bool, *, is_async: bool) -> StateSnapshot:
    saver = _saver(owner, merge_configs(owner.config, config))
    graph, merged = _place(owner, config)
    snapshots = _snapshots(graph, merged)
    asked = _thread_config(merged)
    saved = await _tuple(saver, asked, is_async)
    states = await _subgraph_states(graph, snapshots, saver, saved, subgraphs, is_async)
    latest = "checkpoint_id" not in asked["configurable"]
    return snapshots.snapshot(asked, saved, pending=latest, states=states)


async def _subgraph_states(
    graph: CompiledStateGraph, snapshots: Snapshots, saver: Any, saved: Any, deep: bool, is_async: bool
) -> dict[str, Any]:
    """Return, for tasks that are subgraphs, where their state is, or with ``deep`` the state itself."""
    subgraphs = graph.program.subgraphs()
    if saved is None or not subgraphs:
        return {}
    states: dict[str, Any] = {}
    for task in snapshots.tasks(saved, snapshots.state(saved)):
        subgraph = subgraphs.get(task.node)
        if subgraph is None or subgraph.checkpointer is False:
            continue
        namespace = without_ids(task.ns) if subgraph.checkpointer is True else task.ns
        where: Config = {"configurable": {"thread_id": snapshots.run.thread_id, "checkpoint_ns": namespace}}
        if not deep:
            states[task.id] = where
            continue
        nested = merge_configs(where, {"configurable": {"__checkpointer": saver}})
        states[task.id] = await _get_state_of(subgraph, nested, saver, is_async)
    return states


async def _get_state_of(graph: CompiledStateGraph, config: Config, saver: Any, is_async: bool) -> Any:
    snapshots = _snapshots(graph, config)
    asked = _thread_config(config)
    saved = await _tuple(saver, asked, is_async)
    states = await _subgraph_states(graph, snapshots, saver, saved, True, is_async)
    return snapshots.snapshot(asked, saved, pending=True, states=states)


async def _update(owner: Any, config: Config, supersteps: Sequence[Any], executor: Any) -> Config:
    if not supersteps:
        raise ValueError("No supersteps provided")
    if any(not updates for updates in supersteps):
        raise ValueError("No updates provided")
    saver = _saver(owner, merge_configs(owner.config, config))
    graph, merged = _place(owner, config)
    current = merged
    for updates in supersteps:
        result = update_thread(graph, saver, current, updates, executor)
        current = await result if inspect.isawaitable(result) else result
    return current


__all__ = ["InvalidUpdateError", "StateApi"]
