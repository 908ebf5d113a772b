"""Writing to a stored thread from outside: ``update_state``, one superstep of updates at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..checkpoint.base import checkpoint_id
from ..checkpoint.saver import Saver, without_id
from ..core.state import INPUT, State, Written
from ..core.superstep import apply
from ..core.task import NodeTask
from ..errors import InvalidUpdateError
from ..executors import Executor
from ..graph.spec import GraphSpec
from ..run.checkpointing import Checkpoints
from ..run.showing import with_map
from ..run.writes import writes_of
from ..task_config import CURRENT_TASK
from ..types import END, INTERRUPT, START, Config, StateUpdate
from .launch import caller_of, calling, environment
from .options import Asked
from .snapshots import Snapshots

_COPY = "__copy__"


async def update_thread(
    graph: GraphSpec,
    checkpointer: Any,
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
    update = _Update(graph, checkpointer, place, executor, first)
    return await update.superstep([StateUpdate(*one) for one in updates])


class _Update:
    def __init__(
        self, graph: GraphSpec, checkpointer: Any, place: Config, executor: Executor, first: bool
    ) -> None:
        self.graph = graph
        self.program = graph.program
        self.checkpointer = checkpointer
        self.place = place
        self.executor = executor
        self.first = first
        self.saver = Saver(checkpointer, is_async=executor.is_async)
        self.snapshots = Snapshots(graph, place, self.saver)

    async def superstep(self, updates: Sequence[StateUpdate]) -> Config:
        """Apply one superstep's worth of updates."""
        # Copied, since where nothing is found the place forgets what it was to find.
        place: Config = {**self.place, "configurable": dict(self.place["configurable"])}
        checkpoints = Checkpoints(self.checkpointer, place, is_async=self.executor.is_async)
        saved = await checkpoints.load()
        state = self.snapshots.empty(checkpoint_id()) if saved is None else self.snapshots.state(saved)
        step = saved.metadata.get("step", -1) if saved is not None else -1
        source, values, as_node = "update", updates[0].values, updates[0].as_node
        if as_node == _COPY:
            self._alone(updates, "Cannot copy checkpoint with multiple updates")
            return await self._copy(saved, step, values)
        if values is None and as_node == END:
            self._alone(updates, "Cannot apply multiple updates when clearing state")
            self._clear(saved, state)
        elif as_node == INPUT:
            self._alone(updates, "Cannot apply multiple updates when updating as input")
            writes = self.program.input_writes(values)
            if not writes:
                raise InvalidUpdateError(
                    f"Received no input writes for {self.program.input_keys}: give the update values"
                )
            apply(self.program, state, [Written(INPUT, (), writes)], bump=False)
            source, step = "input", step if saved is not None else -2
        else:
            await self._write(checkpoints, saved, state, step, updates)
        await checkpoints.save(state, source, step + 1, None)
        found: Config = with_map(checkpoints.stored_as, saved.metadata if saved is not None else None)
        return found

    def _alone(self, updates: Sequence[Any], complaint: str) -> None:
        if len(updates) > 1:
            raise InvalidUpdateError(complaint)

    async def _write(
        self, checkpoints: Checkpoints, saved: Any, state: State, step: int, updates: Sequence[StateUpdate]
    ) -> None:
        ids = _ids(self.snapshots.tasks(step + 1, state)) if saved is not None else {}
        call = calling(
            self.graph, self.place, Asked(), self.executor, None, caller_of(self.graph, self.place)
        )
        env = environment(call, None, state=state)
        tasks: list[tuple[str, NodeTask]] = []
        for index, update in enumerate(updates):
            node = self._node(update, state, alone=len(updates) == 1)
            task = NodeTask(
                env.run,
                self.program.node(node),
                step + 1,
                seed=f"{state.checkpoint_id}:{index}",
                input=update.values,
                path=(INTERRUPT, index),
                triggers=(INTERRUPT,),
            )
            task.env = env
            context = env.run.context.copy()
            context.run(CURRENT_TASK.set, task)
            task.writes = await writes_of(task, context, update.values)
            # The id of the task that it stands for, so that history shows what that one has come to.
            known = ids.get(node)
            tasks.append((update.task_id or (known.pop(0) if known else task.id), task))
        # An update that branches off an old checkpoint leaves what that one's own tasks have written.
        if saved is not None and not (self.first and checkpoints.superseded):
            for task_id, task in tasks:
                if task.writes:
                    await checkpoints.put_writes(task_id, task.writes)
        apply(self.program, state, [task for _, task in tasks])

    def _node(self, update: StateUpdate, state: State, *, alone: bool) -> str:
        node = update.as_node
        if node is None and not alone:
            raise InvalidUpdateError("as_node is required when applying multiple updates")
        node = self._last_writer(state) if node is None else node
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
        target = saved.parent_config or without_id(saved.config)
        copied: Config = with_map(await self.saver.put(target, checkpoint, metadata, {}), saved.metadata)
        if not isinstance(values, list) or not values:
            return copied
        state = self.snapshots.state(saved)
        state.at(checkpoint["id"])
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


def _ids(tasks: Sequence[NodeTask]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(task.node, []).append(task.id)
    return found
