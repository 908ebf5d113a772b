"""Reading and changing the state of a thread: ``get_state``, its history, ``update_state``.

Written once, as coroutines over a checkpointer's methods; the sync forms drive them by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from ..checkpoint.saver import Saver, trusting
from ..core.task import without_ids
from ..executors import Executor, ThreadExecutor, async_executor, drive
from ..graph.spec import GraphSpec
from ..run.leasing import leased_for_update, still
from ..types import Config, StateSnapshot, StateUpdate
from .config import merge_configs
from .launch import own_namespace
from .snapshots import Snapshots
from .update import update_thread

#: What a parent lends a subgraph whose state is asked for: its checkpointer.
_LENT = "__pregel_checkpointer"


class StateApi:
    """The part of a compiled graph that works on stored threads."""

    spec: GraphSpec

    def get_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the state of a thread, at its latest checkpoint or the one the config names.

        ``subgraphs`` includes the states of subgraphs that wait, in ``tasks[...].state``.

        Raises:
            ValueError: the graph has no checkpointer.
        """
        return drive(_get_state(self.spec, config, subgraphs, is_async=False))  # type: ignore[no-any-return]

    async def aget_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Do what :meth:`get_state` does."""
        return await _get_state(self.spec, config, subgraphs, is_async=True)

    def get_state_history(
        self,
        config: Config,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield the states of a thread, newest first."""
        yield from drive(_history(self.spec, config, filter, before, limit, is_async=False))

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """Yield the states of a thread, newest first."""
        for state in await _history(self.spec, config, filter, before, limit, is_async=True):
            yield state

    def update_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> Config:
        """Write to a thread's state as if ``as_node`` had; return the config of the new checkpoint.

        Raises:
            InvalidUpdateError: it can't be told which node wrote last; name one.
            ThreadBusyError: the graph has a lease, and another worker has the thread.
        """
        return self.bulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    async def aupdate_state(
        self, config: Config, values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> Config:
        """Do what :meth:`update_state` does."""
        return await self.abulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    def bulk_update_state(self, config: Config, supersteps: Sequence[Sequence[StateUpdate]]) -> Config:
        """Write several updates per superstep, superstep by superstep."""
        return drive(_update(self.spec, config, supersteps, ThreadExecutor(None)))  # type: ignore[no-any-return]

    async def abulk_update_state(self, config: Config, supersteps: Sequence[Sequence[StateUpdate]]) -> Config:
        """Do what :meth:`bulk_update_state` does."""
        return await _update(self.spec, config, supersteps, async_executor(None))

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Yield the nodes that are graphs, by name; with ``recurse`` what is inside them too.

        ``namespace`` picks one, such as ``parent|child``.
        """
        yield from _subgraphs(self.spec, namespace, recurse)

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, Any]]:
        """Do what :meth:`get_subgraphs` does."""
        for item in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield item


def _subgraphs(spec: GraphSpec, namespace: str | None, recurse: bool) -> Iterator[tuple[str, Any]]:
    for name, graph in spec.program.subgraphs.items():
        if namespace in (None, name):
            yield name, graph
        inside = None if namespace is None else namespace.removeprefix(f"{name}|")
        if recurse and (namespace is None or inside != namespace):
            for deeper, found in _subgraphs(graph.spec, inside, recurse):
                yield f"{name}|{deeper}", found


def _checkpointer(graph: GraphSpec, config: Config) -> Any:
    saver = merge_configs(graph.config, config).get("configurable", {}).get(_LENT)
    if graph.checkpointer is False:
        saver = None
    elif saver is None:
        saver = graph.checkpointer
    if saver is True:
        raise RuntimeError("checkpointer=True cannot be used for root graphs: ask the graph around this one")
    if not saver:
        raise ValueError("No checkpointer set: compile the graph with one to keep the state of threads")
    return trusting(saver, graph.program.stored_types)


def _trusted(checkpointer: Any, owner: GraphSpec, graph: GraphSpec) -> Any:
    return checkpointer if graph is owner else trusting(checkpointer, graph.program.stored_types)


def _place(owner: GraphSpec, config: Config, *, for_update: bool = False) -> tuple[GraphSpec, Config]:
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


def _subgraph(owner: GraphSpec, namespace: str, for_update: bool) -> GraphSpec:
    wanted = without_ids("|".join(part for part in namespace.split("|") if not part.isdigit()))
    for _, found in _subgraphs(owner, wanted, recurse=True):
        spec: GraphSpec = found.spec
        return spec
    if for_update:
        raise ValueError(f"Subgraph {wanted} not found: no node of {owner.name} is, or calls, a graph there")
    return owner


async def _get_state(owner: GraphSpec, config: Config, subgraphs: bool, *, is_async: bool) -> StateSnapshot:
    checkpointer = _checkpointer(owner, config)
    graph, place = _place(owner, config)
    saver = Saver(_trusted(checkpointer, owner, graph), is_async=is_async)
    saved = await saver.get(place)
    snapshots = Snapshots(graph, place, saver)
    lent = checkpointer if subgraphs else None
    states = await _subgraph_states(graph, snapshots, saved, lent, is_async=is_async)
    asked: Config = {"configurable": {k: v for k, v in place["configurable"].items() if k != _LENT}}
    live = "checkpoint_id" not in place["configurable"]
    return snapshots.snapshot(asked, saved, live=live, states=states)


async def _history(
    owner: GraphSpec, config: Config, filter: Any, before: Config | None, limit: int | None, *, is_async: bool
) -> list[StateSnapshot]:
    graph, place = _place(owner, config)
    saver = Saver(_trusted(_checkpointer(owner, config), owner, graph), is_async=is_async)
    snapshots = Snapshots(graph, place, saver)
    found = []
    for saved in await saver.list(place, before=before, limit=limit, filter=filter):
        states = await _subgraph_states(graph, snapshots, saved, None, is_async=is_async)
        found.append(snapshots.snapshot(saved.config, saved, live=False, states=states))
    return found


async def _subgraph_states(
    graph: GraphSpec, snapshots: Snapshots, saved: Any, lent: Any, *, is_async: bool
) -> dict[str, Any]:
    """Return, for tasks that are subgraphs, where their state is, or with ``lent`` the state itself."""
    subgraphs = graph.program.subgraphs
    if saved is None or not subgraphs:
        return {}
    states: dict[str, Any] = {}
    for task in snapshots.next_tasks(saved, snapshots.state(saved)):
        subgraph = subgraphs.get(task.node)
        if subgraph is None:
            continue
        place: dict[str, Any] = {"thread_id": snapshots.run.thread_id, "checkpoint_ns": task.ns}
        if lent is not None and subgraph.checkpointer is not False:
            place[_LENT] = lent
            states[task.id] = await _get_state(
                subgraph.spec, {"configurable": place}, True, is_async=is_async
            )
        else:
            states[task.id] = {"configurable": place}
    return states


async def _update(owner: GraphSpec, config: Config, supersteps: Sequence[Any], executor: Executor) -> Config:
    checkpointer = _checkpointer(owner, config)
    if not supersteps:
        raise ValueError("No supersteps provided: give bulk_update_state at least one list of updates")
    if any(not updates for updates in supersteps):
        raise ValueError("No updates provided: every superstep needs at least one StateUpdate")
    graph, place = _place(owner, config, for_update=True)
    place["configurable"].pop(_LENT, None)
    checkpointer = _trusted(checkpointer, owner, graph)
    async with leased_for_update(executor, owner.lease, place["configurable"]["thread_id"]) as held:
        for index, updates in enumerate(supersteps):
            await still(executor, held)
            place = await update_thread(graph, checkpointer, place, updates, executor, first=index == 0)
    return place
