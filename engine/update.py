"""Writing to a stored thread from outside: ``update_state``, one superstep of updates at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import copy_context
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otel_stream.events import Run

from .checkpoint.base import checkpoint_id
from .errors import InvalidUpdateError
from .executors import Executor
from .launch import Options, launch
from .persist import NULL_TASK, saved_values
from .runtime import CURRENT
from .snapshots import Snapshots
from .state import NodeTask, State, Written
from .superstep import apply
from .task import writes_of
from .types import END, INTERRUPT, START, Config, StateUpdate

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph

_INPUT = "__input__"
_COPY = "__copy__"


async def update_thread(
    graph: CompiledStateGraph, saver: Any, config: Config, updates: Sequence[Any], executor: Executor
) -> Config:
    """Apply ``updates`` to the thread ``config`` names, and return the config of the new checkpoint.

    Raises:
        InvalidUpdateError: an unknown node, or none named where it can't be told which is meant.
    """
    return await _Update(graph, saver, config, executor).superstep(updates)


class _Update:
    def __init__(self, graph: CompiledStateGraph, saver: Any, config: Config, executor: Executor) -> None:
        self.graph = graph
        self.program = graph.program
        self.saver = saver
        self.config = config
        self.executor = executor
        configurable = config.get("configurable", {})
        kept = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
        self.where: Config = {"configurable": {k: v for k, v in configurable.items() if k in kept}}
        self.where["configurable"].setdefault("checkpoint_ns", "")
        namespace = self.where["configurable"]["checkpoint_ns"]
        run = Run("update", graph.name, context=copy_context(), ns=tuple(namespace.split("|")) if namespace else ())
        self.snapshots = Snapshots(graph, run)

    async def _call(self, name: str, *args: Any) -> Any:
        if self.executor.is_async:
            return await getattr(self.saver, f"a{name}")(*args)
        return getattr(self.saver, name)(*args)

    async def superstep(self, updates: Sequence[Any]) -> Config:
        """Apply one superstep's worth of updates."""
        saved = await self._call("get_tuple", self.where)
        state = self._state(saved)
        step = saved.metadata.get("step", -1) if saved is not None else -1
        first = StateUpdate(*updates[0])
        if first.as_node == _COPY:
            return await self._copy(saved, step, updates)
        if first.values is None and first.as_node == END:
            self._alone(updates, "Cannot apply multiple updates when clearing state")
            self._clear(saved, state)
            return await self._save(saved, state, "update", step + 1)
        if first.as_node == _INPUT:
            self._alone(updates, "Cannot apply multiple updates when updating as input")
            if first.values is None:
                raise InvalidUpdateError(f"Received no input writes for {START}")
            apply(self.program, state, [Written(INTERRUPT, (), [(START, first.values)])], bump=False)
            return await self._save(saved, state, "input", step + 1 if saved is not None else -1)
        return await self._write(saved, state, step, [StateUpdate(*update) for update in updates])

    def _alone(self, updates: Sequence[Any], complaint: str) -> None:
        if len(updates) > 1:
            raise InvalidUpdateError(complaint)

    def _state(self, saved: Any) -> State:
        if saved is not None:
            return self.snapshots.state(saved)
        return State(
            {name: channel.fresh() for name, channel in self.program.channels.items()},
            checkpoint_id=checkpoint_id(),
            track=True,
            next_version=getattr(self.saver, "get_next_version", None),
        )

    async def _write(self, saved: Any, state: State, step: int, updates: Sequence[StateUpdate]) -> Config:
        prepared = self.snapshots.tasks(saved, state) if saved is not None else []
        ids: dict[str, list[str]] = {}
        for task in prepared:
            ids.setdefault(task.node, []).append(task.id)
        loop = launch(self.graph, None, self.config, Options(), self.executor, None, updating=True)
        loop.state = state
        tasks: list[tuple[str, NodeTask]] = []
        for index, update in enumerate(updates):
            node = self._node(update, state, alone=len(updates) == 1)
            task = NodeTask(
                loop.run,
                self.program.node(node),
                step + 1,
                seed=f"{state.checkpoint_id}:{index}",
                input=update.values,
                path=(INTERRUPT, index),
                triggers=(INTERRUPT,),
            )
            task.loop = loop
            context = loop.run.context.copy()
            context.run(CURRENT.set, task)
            task.writes = await writes_of(task, loop, context, update.values)
            known = ids.get(node)
            tasks.append((update.task_id or (known.pop(0) if known else task.id), task))
        if saved is not None:
            for task_id, task in tasks:
                if task.writes:
                    await self._call("put_writes", saved.config, task.writes, task_id)
        apply(self.program, state, [task for _, task in tasks])
        return await self._save(saved, state, "update", step + 1)

    def _node(self, update: StateUpdate, state: State, *, alone: bool) -> str:
        node = update.as_node
        if node is None and not alone:
            raise InvalidUpdateError("as_node is required when applying multiple updates")
        node = node or self._last_writer(state)
        if node is None:
            raise InvalidUpdateError("Ambiguous update, specify as_node")
        if node != START and node not in self.program.nodes:
            raise InvalidUpdateError(f"Node {node} does not exist")
        return node

    def _last_writer(self, state: State) -> str | None:
        """Return the node that acted last, None if that was several."""
        nodes = self.program.nodes
        if len(nodes) == 1:
            return next(iter(nodes))
        acted = {node: seen for node, seen in state.seen.items() if node != INTERRUPT}
        if not acted:
            return START
        last: dict[str, Any] = {node: max(seen.values()) for node, seen in acted.items() if seen}
        if not last:
            return START
        newest = max(last.values())
        names = [node for node, version in last.items() if version == newest]
        return names[0] if len(names) == 1 else None

    def _clear(self, saved: Any, state: State) -> None:
        """End every task that waits, with what it has already written."""
        if saved is None:
            return
        writes = list(saved.pending_writes or ())
        null = [(name, value) for owner, name, value in writes if owner == NULL_TASK]
        tasks = self.snapshots.tasks(saved, state)
        if null:
            apply(self.program, state, [Written(INTERRUPT, (), null)], bump=False)
        for task in tasks:
            task.writes = [(n, v) for owner, n, v in writes if owner == task.id and not n.startswith("__")]
        apply(self.program, state, tasks)

    async def _copy(self, saved: Any, step: int, updates: Sequence[Any]) -> Config:
        self._alone(updates, "Cannot copy checkpoint with multiple updates")
        if saved is None:
            raise InvalidUpdateError("Cannot copy a non-existent checkpoint")
        checkpoint = {**saved.checkpoint, "id": checkpoint_id(), "ts": datetime.now(UTC).isoformat()}
        target = saved.parent_config or _without_id(saved.config)
        metadata = {"source": "fork", "step": step + 1, "parents": saved.metadata.get("parents", {})}
        copied: Config = await self._call("put", target, checkpoint, metadata, {})
        values = updates[0][0]
        if not isinstance(values, list) or not values:
            return copied
        self.where = copied
        return await self.superstep([self._item(item) for item in values])

    def _item(self, item: Any) -> StateUpdate:
        if not isinstance(item, Sequence):
            raise InvalidUpdateError(f"Invalid update item: {item} when copying checkpoint")
        return StateUpdate(*item[:2])

    async def _save(self, saved: Any, state: State, source: str, step: int) -> Config:
        known = dict(saved.checkpoint["channel_versions"]) if saved is not None else {}
        checkpoint = {
            "v": 4,
            "ts": datetime.now(UTC).isoformat(),
            "id": checkpoint_id(),
            "channel_values": saved_values(state),
            "channel_versions": dict(state.versions),
            "versions_seen": {node: dict(seen) for node, seen in state.seen.items()},
            "updated_channels": None,
        }
        new = {name: version for name, version in state.versions.items() if known.get(name) != version}
        metadata = {
            "source": source,
            "step": step,
            "parents": saved.metadata.get("parents", {}) if saved is not None else {},
        }
        target = self.where
        if saved is not None:
            target = {"configurable": {**self.where["configurable"], **saved.config["configurable"]}}
        stored: Config = await self._call("put", target, checkpoint, metadata, new)
        return stored


def _without_id(config: Config) -> Config:
    return {"configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}
