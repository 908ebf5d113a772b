"""Writing to a stored thread from outside: ``update_state``, one superstep of updates at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..checkpoint.base import checkpoint_id
from ..core.state import INPUT, NodeTask, State, Written
from ..core.superstep import apply
from ..errors import InvalidUpdateError
from ..executors import Executor
from ..run.attempt import writes_of
from ..run.checkpointing import saved_values
from ..task_config import CURRENT_TASK
from ..types import END, INTERRUPT, START, Config, StateUpdate
from .launch import Options, launch
from .snapshots import Snapshots, with_map

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph

_COPY = "__copy__"


async def update_thread(
    graph: CompiledStateGraph,
    saver: Any,
    place: Config,
    updates: Sequence[Any],
    executor: Executor,
    *,
    first: bool = True,
) -> Config:
    """Apply ``updates`` to the thread ``place`` names, and return the config of the new checkpoint.

    ``first`` tells that no other superstep of the same call came before.

    Raises:
        InvalidUpdateError: an unknown node, or none named where it can't be told which is meant.
    """
    return await _Update(graph, saver, place, executor, first).superstep([StateUpdate(*u) for u in updates])


class _Update:
    def __init__(
        self, graph: CompiledStateGraph, saver: Any, place: Config, executor: Executor, first: bool
    ) -> None:
        self.graph = graph
        self.program = graph.program
        self.saver = saver
        self.place = place
        self.executor = executor
        self.first = first
        self.snapshots = Snapshots(graph, place, saver)

    async def _call(self, name: str, *args: Any) -> Any:
        if self.executor.is_async:
            return await getattr(self.saver, f"a{name}")(*args)
        return getattr(self.saver, name)(*args)

    async def superstep(self, updates: Sequence[StateUpdate]) -> Config:
        """Apply one superstep's worth of updates."""
        saved = await self._call("get_tuple", self.place)
        state = self._state(saved)
        step = saved.metadata.get("step", -1) if saved is not None else -1
        values, as_node, _ = updates[0]
        if values is None and as_node == END:
            self._alone(updates, "Cannot apply multiple updates when clearing state")
            self._clear(saved, state)
            return await self._save(saved, state, "update", step + 1)
        if as_node == INPUT:
            self._alone(updates, "Cannot apply multiple updates when updating as input")
            if values is None:
                raise InvalidUpdateError(f"Received no input writes for {START}: give the update values")
            apply(self.program, state, [Written(INPUT, (), [(START, values)])], bump=False)
            return await self._save(saved, state, "input", step + 1 if saved is not None else -1)
        if as_node == _COPY:
            self._alone(updates, "Cannot copy checkpoint with multiple updates")
            return await self._copy(saved, step, values)
        return await self._write(saved, state, step, updates)

    def _alone(self, updates: Sequence[Any], complaint: str) -> None:
        if len(updates) > 1:
            raise InvalidUpdateError(complaint)

    def _state(self, saved: Any) -> State:
        if saved is not None:
            return self.snapshots.state(saved)
        return State(
            self.program.fresh_channels(),
            checkpoint_id=checkpoint_id(),
            track=True,
            next_version=getattr(self.saver, "get_next_version", None),
        )

    async def _write(self, saved: Any, state: State, step: int, updates: Sequence[StateUpdate]) -> Config:
        ids = _ids(self.snapshots.tasks(step + 1, state)) if saved is not None else {}
        loop = launch(self.graph, None, self.place, Options(), self.executor, None, updating=True)
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
            context.run(CURRENT_TASK.set, task)
            task.writes = await writes_of(task, loop, context, update.values)
            # The id of the task that it stands for, so that history shows what that one has come to.
            known = ids.get(node)
            tasks.append((update.task_id or (known.pop(0) if known else task.id), task))
        if saved is not None and not (self.first and await self._is_superseded(saved)):
            for task_id, task in tasks:
                if task.writes:
                    await self._call("put_writes", self._target(saved), task.writes, task_id)
        apply(self.program, state, [task for _, task in tasks])
        return await self._save(saved, state, "update", step + 1)

    async def _is_superseded(self, saved: Any) -> bool:
        """Whether the update branches off an old checkpoint, whose own tasks have written what they have."""
        if not self.place["configurable"].get("checkpoint_id"):
            return False
        latest = await self._call("get_tuple", _without_id(self.place))
        return latest is not None and latest.checkpoint["id"] != saved.checkpoint["id"]

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
        program = self.program
        known = {*program.nodes, *((START,) if program.start is not None else ())}
        if len(known) == 1:
            return str(next(iter(known)))
        if not any(state.seen.values()):
            return START if START in known else None
        acted = sorted(
            (version, node) for node, seen in state.seen.items() if node in known for version in seen.values()
        )
        if not acted or (len(acted) > 1 and acted[-1][0] == acted[-2][0]):
            return None
        last: str = acted[-1][1]
        return last

    def _clear(self, saved: Any, state: State) -> None:
        """End every task that waits, with what it has already written."""
        if saved is None:
            return
        tasks = self.snapshots.next_tasks(saved, state)
        self.snapshots.take_back(saved, state, tasks, outcomes=True)
        apply(self.program, state, tasks)

    async def _copy(self, saved: Any, step: int, values: Any) -> Config:
        """Store the checkpoint again, as a sibling, and write ``values``, pairs of update and node, to it."""
        if saved is None:
            raise InvalidUpdateError("Cannot copy a non-existent checkpoint")
        checkpoint = {**saved.checkpoint, "id": checkpoint_id(), "ts": datetime.now(UTC).isoformat()}
        metadata = {"source": "fork", "step": step + 1, "parents": saved.metadata.get("parents", {})}
        target = saved.parent_config or _without_id(saved.config)
        copied: Config = await self._call("put", target, checkpoint, metadata, {})
        copied = with_map(copied, saved.metadata)
        if not isinstance(values, list) or not values:
            return copied
        state = self._state(saved)
        state.checkpoint_id = checkpoint["id"]
        ids = _ids(self.snapshots.tasks(step + 2, state))
        updates: dict[Any, list[StateUpdate]] = {}
        for item in values:
            if not isinstance(item, Sequence):
                raise InvalidUpdateError(f"Invalid update item: {item} when copying checkpoint")
            known = ids.get(item[1])
            update = StateUpdate(item[0], item[1], known.pop(0) if known else None)
            updates.setdefault(update.as_node, []).append(update)
        self.place, self.first = copied, False
        return await self.superstep([update for group in updates.values() for update in group])

    def _target(self, saved: Any) -> Config:
        return {"configurable": {**self.place["configurable"], **saved.config["configurable"]}}

    async def _save(self, saved: Any, state: State, source: str, step: int) -> Config:
        known: Mapping[str, Any] = saved.checkpoint["channel_versions"] if saved is not None else {}
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
        target = self._target(saved) if saved is not None else self.place
        stored: Config = await self._call("put", target, checkpoint, metadata, new)
        found: Config = with_map(stored, saved.metadata if saved is not None else None)
        return found


def _ids(tasks: Sequence[NodeTask]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task.node, []).append(task.id)
    return found


def _without_id(config: Config) -> Config:
    return {"configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}


__all__ = ["update_thread"]
