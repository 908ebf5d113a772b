"""Reading and changing the state of a thread: ``get_state``, its history, ``update_state``.

Written once, as coroutines over a checkpointer's methods; the sync forms drive them by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidUpdateError
from ..executors import ThreadExecutor, async_executor, drive
from ..run.checkpointing import trusting
from ..types import Config, StateSnapshot, StateUpdate
from .config import merge_configs
from .launch import own_namespace
from .snapshots import Snapshots
from .update import update_thread

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph

#: What a parent lends a subgraph whose state is asked for: its checkpointer.
_LENT = "__pregel_checkpointer"


class StateApi:
    """The part of a compiled graph that works on stored threads."""

    checkpointer: Any
    config: Config

    def get_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread, at its latest checkpoint or the one the config names.

        ``subgraphs`` includes the states of subgraphs that wait, in ``tasks[...].state``.

        Raises:
            ValueError: the graph has no checkpointer.
        """
        return drive(_get_state(self, config, subgraphs, is_async=False))  # type: ignore[no-any-return]

    async def aget_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Do what :meth:`get_state` does."""
        return await _get_state(self, config, subgraphs, is_async=True)

    def get_state_history(
        self,
        config: Config,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield the states of a thread, newest first."""
        saver = _saver(self, config)
        graph, place = _place(self, config)
        snapshots = Snapshots(graph, place, saver)
        for saved in list(saver.list(place, before=before, limit=limit, filter=filter)):
            states = drive(_subgraph_states(graph, snapshots, saved, deep=False, is_async=False))
            yield snapshots.snapshot(saved.config, saved, live=False, states=states)

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """Yield the states of a thread, newest first."""
        saver = _saver(self, config)
        graph, place = _place(self, config)
        snapshots = Snapshots(graph, place, saver)
        listed = [saved async for saved in saver.alist(place, before=before, limit=limit, filter=filter)]
        for saved in listed:
            states = await _subgraph_states(graph, snapshots, saved, deep=False, is_async=True)
            yield snapshots.snapshot(saved.config, saved, live=False, states=states)

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

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, CompiledStateGraph]]:
        """Yield the nodes that are graphs, by name; with ``recurse`` what is inside them too.

        ``namespace`` picks one, such as ``parent|child``.
        """
        for name, graph in self.program.subgraphs.items():  # type: ignore[attr-defined]
            if namespace in (None, name):
                yield name, graph
            inside = None if namespace is None else namespace.removeprefix(f"{name}|")
            if recurse and (namespace is None or inside != namespace):
                for deeper, found in graph.get_subgraphs(namespace=inside, recurse=True):
                    yield f"{name}|{deeper}", found

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, CompiledStateGraph]]:
        """Do what :meth:`get_subgraphs` does."""
        for item in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield item


def _saver(graph: Any, config: Config) -> Any:
    saver = merge_configs(graph.config, config).get("configurable", {}).get(_LENT)
    if graph.checkpointer is False:
        saver = None
    elif saver is None:
        saver = graph.checkpointer
    if saver is True:
        raise RuntimeError("checkpointer=True cannot be used for root graphs: ask the graph around this one")
    if not saver:
        raise ValueError("No checkpointer set: compile the graph with one to keep the state of threads")
    return trusting(saver)


def _place(owner: Any, config: Config, *, for_update: bool = False) -> tuple[Any, Config]:
    """Find the graph that a config's namespace is about, and where its checkpoints are.

    A subgraph that no node declares, as one that a tool calls, is read with the channels of its caller.

    Raises:
        ValueError: no thread is named, or it is such a subgraph that is to be updated.
    """
    merged = merge_configs(owner.config, config)
    configurable = merged.get("configurable", {})
    if "thread_id" not in configurable:
        raise ValueError(
            'thread_id: missing; say which thread with config={"configurable": {"thread_id": "..."}}'
        )
    namespace = str(configurable.get("checkpoint_ns") or "")
    graph = owner
    if namespace and _LENT not in configurable:
        graph = _subgraph(owner, namespace, for_update)
    place = {k: v for k, v in configurable.items() if k in ("checkpoint_id", "checkpoint_map")}
    place["thread_id"] = str(configurable["thread_id"])
    place["checkpoint_ns"] = own_namespace(graph, namespace)
    return graph, {**merged, "configurable": {**configurable, **place}}


def _subgraph(owner: Any, namespace: str, for_update: bool) -> Any:
    wanted = "|".join(part.split(":")[0] for part in namespace.split("|") if not part.isdigit())
    for _, found in owner.get_subgraphs(namespace=wanted, recurse=True):
        return found
    if for_update:
        raise ValueError(f"Subgraph {wanted} not found: no node of {owner.name} is, or calls, a graph there")
    return owner


async def _get_state(owner: Any, config: Config, subgraphs: bool, *, is_async: bool) -> StateSnapshot:
    saver = _saver(owner, config)
    graph, place = _place(owner, config)
    saved = await saver.aget_tuple(place) if is_async else saver.get_tuple(place)
    snapshots = Snapshots(graph, place, saver)
    states = await _subgraph_states(graph, snapshots, saved, deep=subgraphs, is_async=is_async)
    asked: Config = {"configurable": {k: v for k, v in place["configurable"].items() if k != _LENT}}
    live = "checkpoint_id" not in place["configurable"]
    return snapshots.snapshot(asked, saved, live=live, states=states)


async def _subgraph_states(
    graph: CompiledStateGraph, snapshots: Snapshots, saved: Any, *, deep: bool, is_async: bool
) -> dict[str, Any]:
    """Return, for tasks that are subgraphs, where their state is, or with ``deep`` the state itself."""
    subgraphs = graph.program.subgraphs
    if saved is None or not subgraphs:
        return {}
    states: dict[str, Any] = {}
    for task in snapshots.next_tasks(saved, snapshots.state(saved)):
        subgraph = subgraphs.get(task.node)
        if subgraph is None:
            continue
        place: dict[str, Any] = {"thread_id": snapshots.run.thread_id, "checkpoint_ns": task.ns}
        if deep and subgraph.checkpointer is not False:
            place[_LENT] = snapshots.saver
            states[task.id] = await _get_state(subgraph, {"configurable": place}, True, is_async=is_async)
        else:
            states[task.id] = {"configurable": place}
    return states


async def _update(owner: Any, config: Config, supersteps: Sequence[Any], executor: Any) -> Config:
    saver = _saver(owner, config)
    if not supersteps:
        raise ValueError("No supersteps provided: give bulk_update_state at least one list of updates")
    if any(not updates for updates in supersteps):
        raise ValueError("No updates provided: every superstep needs at least one StateUpdate")
    graph, place = _place(owner, config, for_update=True)
    place["configurable"].pop(_LENT, None)
    for index, updates in enumerate(supersteps):
        place = await update_thread(graph, saver, place, updates, executor, first=index == 0)
    return place


__all__ = ["InvalidUpdateError", "StateApi"]
