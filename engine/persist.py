"""The part of a run that survives it: loading a checkpoint, saving new ones, keeping the writes of tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from otel_stream.events import CheckpointWritten

from .node import Writes
from .superstep import NodeTask, State
from .types import INTERRUPT, MISSING, Config

if TYPE_CHECKING:
    from .loop import RunLoop

#: The task id of writes that no task made: commands and answers.
NULL_TASK = "00000000-0000-0000-0000-000000000000"
PendingWrites = list[tuple[str, str, Any]]


class Persistence:
    """Talks to the checkpointer on behalf of one run."""

    def __init__(self, checkpointer: Any, loop: RunLoop, durability: str) -> None:
        self.checkpointer = checkpointer
        self.loop = loop
        self.durability = durability
        configurable = loop.config.get("configurable", {})
        self.config: Config = {
            "configurable": {
                **{k: v for k, v in configurable.items() if k in _KEPT},
                "checkpoint_ns": loop.checkpoint_ns,
            }
        }
        self.parent_config: Config | None = None
        self.metadata: dict[str, Any] = {"step": -2}
        self.saved_versions: dict[str, Any] = {}
        self.saved_id: str | None = None
        #: Writes made since the last checkpoint, or loaded with it.
        self.pending: PendingWrites = []
        self._lock = Lock()

    async def _call(self, name: str, *args: Any) -> Any:
        if self.loop.executor.is_async:
            return await getattr(self.checkpointer, f"a{name}")(*args)
        return getattr(self.checkpointer, name)(*args)

    async def load(self) -> Mapping[str, Any] | None:
        """Load the checkpoint the config names, or the thread's latest; None if there is none."""
        found = await self._call("get_tuple", self.config)
        if found is None:
            self.config["configurable"].pop("checkpoint_id", None)
            return None
        self.config = {
            **self.config,
            "configurable": {**self.config["configurable"], **found.config["configurable"]},
        }
        self.config["configurable"].setdefault("checkpoint_ns", self.loop.checkpoint_ns)
        self.parent_config = found.parent_config
        self.metadata = dict(found.metadata)
        self.pending = [tuple(write) for write in found.pending_writes or ()]  # type: ignore[misc]
        self.saved_versions = dict(found.checkpoint["channel_versions"])
        self.saved_id = found.checkpoint["id"]
        checkpoint: Mapping[str, Any] = found.checkpoint
        return checkpoint

    async def save(self, source: str, step: int, updated: set[str] | None) -> None:
        """Store the state after ``step``; with durability "exit" only remember that it is to be stored."""
        self.metadata = {"source": source, "step": step, "parents": self.loop.checkpoint_parents}
        state = self.loop.state
        state.checkpoint_id = self.loop.new_checkpoint_id(step)
        if self.durability != "exit":
            await self._store(state, updated)

    async def _store(self, state: State, updated: set[str] | None) -> None:
        started = time.perf_counter()
        checkpoint = {
            "v": 4,
            "ts": datetime.now(UTC).isoformat(),
            "id": state.checkpoint_id,
            "channel_values": saved_values(state),
            "channel_versions": dict(state.versions),
            "versions_seen": {node: dict(seen) for node, seen in state.seen.items()},
            "updated_channels": sorted(updated) if updated is not None else None,
        }
        new = {n: v for n, v in state.versions.items() if self.saved_versions.get(n) != v}
        self.saved_versions = dict(state.versions)
        configurable = self.config["configurable"]
        self.parent_config = self.config if configurable.get("checkpoint_id") else None
        put_config = {
            **self.config,
            "configurable": {**configurable, "checkpoint_ns": self.loop.checkpoint_ns},
        }
        put_config["metadata"] = self.loop.run.metadata
        await self._call("put", put_config, checkpoint, self.metadata, new)
        self.saved_id = state.checkpoint_id
        self.config = {"configurable": {**put_config["configurable"], "checkpoint_id": state.checkpoint_id}}
        self._report(time.perf_counter() - started)

    def _report(self, seconds: float) -> None:
        observer = self.loop.observer
        if observer is not None and observer.interest & CheckpointWritten.bit:
            observer.emit(CheckpointWritten(self.loop.run, self.metadata["step"], seconds, time.time_ns()))

    async def keep(self, task_id: str, writes: Sequence[tuple[str, Any]], path: str = "") -> None:
        """Keep a task's writes until the superstep is over, so that a resumed run need not repeat the task."""
        special = all(name.startswith("__") for name, _ in writes)
        names = {name for name, _ in writes}
        with self._lock:  # functional tasks end in threads of their own
            self.pending = [w for w in self.pending if w[0] != task_id or (special and w[1] not in names)]
            self.pending.extend((task_id, name, value) for name, value in writes)
        if self.durability != "exit" and self.saved_id is not None:
            await self._call("put_writes", self._write_config(), list(writes), task_id, path)

    def _write_config(self) -> Config:
        return {
            "configurable": {
                **self.config["configurable"],
                "checkpoint_ns": self.loop.checkpoint_ns,
                "checkpoint_id": self.loop.state.checkpoint_id,
            }
        }

    async def leave(self, failed: bool) -> None:
        """Store what durability "exit" has put off."""
        if self.durability != "exit":
            return
        nested = self.loop.run.parent is not None and not self.loop.keeps_memory
        if nested and not failed:
            return
        if self.saved_id != self.loop.state.checkpoint_id:
            await self._store(self.loop.state, None)
        by_task: dict[str, Writes] = {}
        for task_id, name, value in self.pending:
            by_task.setdefault(task_id, []).append((name, value))
        for task_id, writes in by_task.items():
            await self._call("put_writes", self._write_config(), writes, task_id)

    # -- what pending writes say -----------------------------------------------------------------

    def of_task(self, task_id: str) -> Writes:
        """Return the pending writes of a task."""
        return [(name, value) for owner, name, value in self.pending if owner == task_id]

    def unanswered(self) -> set[str]:
        """Return the ids of interrupts nobody has answered yet."""
        asked: dict[str, list[str]] = {}
        answered: dict[str, int] = {}
        for task_id, name, value in self.pending:
            if name == INTERRUPT:
                asked[task_id] = [item.id for item in _sequence(value)]
                answered.setdefault(task_id, 0)
        done = {
            owner for owner, name, _ in self.pending if not name.startswith("__") or name == "__no_writes__"
        }
        return {id for task_id, ids in asked.items() if task_id not in done for id in ids}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


_KEPT = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "user_id"})


def saved_answers(task: NodeTask, pending: PendingWrites) -> list[Any]:
    """Return the answers a task has been given before."""
    for owner, name, value in pending:
        if owner == task.id and name == "__resume__":
            return list(value) if isinstance(value, list) else [value]
    return []


def saved_values(state: State) -> dict[str, Any]:
    """Return what a checkpoint stores of the channels."""
    return {
        name: saved
        for name, channel in state.channels.items()
        if name in state.versions and (saved := channel.saved()) is not MISSING
    }
