"""The part of a run that survives it: loading a checkpoint, saving new ones, keeping the writes of tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from otel_stream.events import CheckpointWritten, Resumption

from ..checkpoint.base import checkpoint_id
from ..checkpoint.sizes import CountingSerde, counted
from ..core.state import ERROR, ERROR_SOURCE, RESUME, NodeTask, State
from ..graph.node import Writes
from ..types import INTERRUPT, MISSING, Config

if TYPE_CHECKING:
    from .loop import RunLoop

#: The task id of writes that no task made: commands and answers.
NULL_TASK = "00000000-0000-0000-0000-000000000000"
#: Pending writes that say what happened to a task; any other one says that it has finished.
NO_OUTCOME = frozenset({ERROR, ERROR_SOURCE, INTERRUPT, RESUME})
#: Pending writes of which a task has one each, so that a later one replaces an earlier.
_SINGLE = frozenset({ERROR, INTERRUPT, RESUME})
PendingWrites = list[tuple[str, str, Any]]


#: Key of a checkpoint's metadata under which a traced run leaves its ids. No stream and no snapshot shows it.
ORIGIN = "otel_stream"
#: What of ours checkpoints hold; LangGraph's savers rebuild only what they are told to trust.
_STORED = (
    ("engine.types", "Interrupt"),
    ("engine.types", "Overwrite"),
    ("engine.types", "Send"),
    ("engine.policies", "TimeoutPolicy"),
    ("engine.messages", "Message"),
    ("engine.messages", "RemoveMessage"),
)


def trusting(saver: Any) -> Any:
    """Return a view of LangGraph's ``saver`` that rebuilds our types; any other saver as it is."""
    allow = getattr(saver, "with_allowlist", None)
    return saver if allow is None else allow(_STORED)


class Persistence:
    """Talks to the checkpointer on behalf of one run."""

    def __init__(self, checkpointer: Any, loop: RunLoop, durability: str) -> None:
        self.checkpointer = trusting(checkpointer)
        self.loop = loop
        self._sizes: CountingSerde | None = None
        observer = loop.observer
        if observer is not None and observer.interest & CheckpointWritten.bit:
            self.checkpointer, self._sizes = counted(self.checkpointer)
        self.durability = durability
        self.config: Config = {"configurable": _place(loop)}
        #: Whether the run was pointed at a checkpoint, and whether that is no longer the thread's latest.
        self.addressed = bool(self.config["configurable"].get("checkpoint_id"))
        self.superseded = False
        #: For the branch of an updated checkpoint: what that one was an update of.
        self.branched_from: str | None = None
        self.parent_config: Config | None = None
        self.metadata: dict[str, Any] = {"step": -2}
        #: Which run stored the checkpoint that was loaded, if it was traced.
        self.origin: Mapping[str, str] = {}
        self.saved_versions: dict[str, Any] = {}
        self.saved_id: str | None = None
        #: The tasks that wrote something in this run, and whether it stored a checkpoint.
        self._kept: set[str] = set()
        self._stored = False
        #: Writes made since the last checkpoint, or loaded with it.
        self.pending: PendingWrites = []
        self._lock = Lock()

    async def _call(self, name: str, *args: Any) -> Any:
        if self.loop.executor.is_async:
            return await getattr(self.checkpointer, f"a{name}")(*args)
        return getattr(self.checkpointer, name)(*args)

    async def _look(self, place: Config, before: str | None) -> Any:
        """Return the latest checkpoint of ``place``, or the latest before the one of that id."""
        if before is None:
            return await self._call("get_tuple", place)
        bound = {"configurable": {"checkpoint_id": before}}
        if self.loop.executor.is_async:
            listed = self.checkpointer.alist(place, before=bound, limit=1)
            return next(iter([found async for found in listed]), None)
        return next(iter(self.checkpointer.list(place, before=bound, limit=1)), None)

    async def load(self) -> Mapping[str, Any] | None:
        """Load the checkpoint the config names, or the thread's latest; None if there is none."""
        found: Any
        if self.addressed:
            found = await self._call("get_tuple", self.config)
            if found is not None:
                latest = await self._call("get_tuple", _without_id(self.config))
                self.superseded = latest is not None and latest.checkpoint["id"] != found.checkpoint["id"]
        elif self.loop.replay is not None:
            found = await self.loop.replay.find(self.loop.checkpoint_ns, self.config, self._look)
            # It takes its input anew, on top of what it had stored, instead of going on.
            self.loop.resuming = None
        else:
            found = await self._call("get_tuple", self.config)
        if found is None:
            self.config["configurable"].pop("checkpoint_id", None)
            return None
        self.config = {"configurable": {**self.config["configurable"], **found.config["configurable"]}}
        self.config["configurable"].setdefault("checkpoint_ns", self.loop.checkpoint_ns)
        self.parent_config = found.parent_config
        self.metadata = dict(found.metadata)
        self.origin = self.metadata.pop(ORIGIN, {})
        pending = [(str(write[0]), write[1], write[2]) for write in found.pending_writes or ()]
        self.pending = [write for write in pending if write[1] != ORIGIN]
        signed = [write[2] for write in pending if write[1] == ORIGIN]
        if signed:
            self.origin = max(signed, key=lambda one: one[0])[1]
        self.saved_versions = dict(found.checkpoint["channel_versions"])
        self.saved_id = found.checkpoint["id"]
        checkpoint: Mapping[str, Any] = found.checkpoint
        return checkpoint

    async def save(self, source: str, step: int, updated: set[str] | None) -> None:
        """Store the state after ``step``; with durability "exit" only remember that it is to be stored."""
        self.metadata = {"source": source, "step": step, "parents": self.loop.checkpoint_map}
        state = self.loop.state
        state.checkpoint_id = checkpoint_id()
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
        put_config: Config = {"configurable": {**configurable, "checkpoint_ns": self.loop.checkpoint_ns}}
        put_config["metadata"] = self.loop.run.metadata
        if self._sizes is not None:
            self._sizes.bytes = 0
        await self._call("put", put_config, checkpoint, self._signed(), new)
        self.saved_id = state.checkpoint_id
        self._stored = True
        self.config = {"configurable": {**put_config["configurable"], "checkpoint_id": state.checkpoint_id}}
        self._report(time.perf_counter() - started)

    def _signed(self) -> Mapping[str, Any]:
        """Return the metadata with what a run that goes on from here links to."""
        origin = self._own_origin()
        return {**self.metadata, ORIGIN: origin} if origin else self.metadata

    def _own_origin(self) -> Mapping[str, str]:
        run = self.loop.run
        return {"run_id": run.root.id, "traceparent": run.traceparent} if run.traceparent else {}

    async def sign(self) -> None:
        """Leave with the checkpoint, now that the run waits, that it is the one to go on from.

        The checkpoints that it has stored itself say so already; the writes have an owner of their own.
        """
        origin = self._own_origin()
        if origin and not self._stored and self.saved_id is not None:
            await self._put_writes([(ORIGIN, [time.time_ns(), origin])], self.loop.run.id, "")

    def resumption(self, answer: Any) -> Resumption:
        """Say what a run goes on from that comes with ``answer``; None if it comes with none."""
        asked = self.unanswered() if answer is not None else set()
        by_id = asked.intersection(answer if isinstance(answer, dict) else ())
        return Resumption(str(self.saved_id), **self.origin, interrupts=tuple(sorted(by_id or asked)))

    def _report(self, seconds: float) -> None:
        observer = self.loop.observer
        if observer is not None and observer.interest & CheckpointWritten.bit:
            size = None if self._sizes is None else self._sizes.bytes
            step = self.metadata["step"]
            observer.emit(CheckpointWritten(self.loop.run, step, seconds, time.time_ns(), size))

    async def keep(self, task_id: str, writes: Sequence[tuple[str, Any]], path: str = "") -> None:
        """Keep a task's writes until the superstep is over, so that a resumed run need not repeat the task.

        They replace what it wrote before; those of ``NULL_TASK`` add up, but for the last answer.
        """
        null = task_id == NULL_TASK
        self._kept.add(task_id)
        with self._lock:  # functional tasks end in threads of their own
            kept = [w for w in self.pending if w[0] != task_id or (null and w[1] not in _SINGLE)]
            # A saver keys writes by their place in the list: what has a place of its own goes last.
            added = sorted(writes, key=lambda write: write[0] in _SINGLE) if null else writes
            self.pending = [*kept, *((task_id, name, value) for name, value in added)]
            stored = self.of_task(task_id)
        if self.durability != "exit" and self.saved_id is not None:
            await self._put_writes(stored, task_id, path)

    async def _put_writes(self, writes: Writes, task_id: str, path: str) -> None:
        config = {
            "configurable": {
                **self.config["configurable"],
                "checkpoint_ns": self.loop.checkpoint_ns,
                "checkpoint_id": self.loop.state.checkpoint_id,
            }
        }
        if path:
            await self._call("put_writes", config, writes, task_id, path)
        else:
            await self._call("put_writes", config, writes, task_id)

    async def leave(self, failed: bool) -> None:
        """Store what durability "exit" has put off."""
        if self.durability != "exit":
            return
        if self.loop.parent_task is not None and not self.loop.keeps_memory and not failed:
            return
        if self.saved_id != self.loop.state.checkpoint_id:
            await self._store(self.loop.state, None)
        by_task: dict[str, Writes] = {}
        for task_id, name, value in self.pending:
            if task_id in self._kept:  # the others' are stored already
                by_task.setdefault(task_id, []).append((name, value))
        for task_id, writes in by_task.items():
            await self._put_writes(writes, task_id, "")

    # -- what pending writes say -----------------------------------------------------------------

    def of_task(self, task_id: str) -> Writes:
        """Return the pending writes of a task."""
        return [(name, value) for owner, name, value in self.pending if owner == task_id]

    def outcome_of(self, task_id: str) -> Writes:
        """Return what a task has written, if it has finished."""
        return [write for write in self.of_task(task_id) if write[0] not in NO_OUTCOME]

    def unanswered(self) -> set[str]:
        """Return the ids of interrupts nobody has answered yet."""
        asked: dict[str, list[str]] = {}
        for task_id, name, value in self.pending:
            if name == INTERRUPT:
                asked[task_id] = [item.id for item in items(value)]
        done = {owner for owner, name, _ in self.pending if name not in NO_OUTCOME}
        return {id for task_id, ids in asked.items() if task_id not in done for id in ids}


def unsigned(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's metadata as LangGraph knows it: without what a traced run has added."""
    return {k: v for k, v in metadata.items() if k != ORIGIN} if ORIGIN in metadata else metadata


def items(value: Any) -> Sequence[Any]:
    """Return what an INTERRUPT write holds: several, or in old checkpoints one."""
    return value if isinstance(value, (list, tuple)) else (value,)


def _place(loop: RunLoop) -> Config:
    """Return the ``configurable`` that names where the run's checkpoints are, and where it starts."""
    configurable = loop.config.get("configurable", {})
    place = {k: v for k, v in configurable.items() if not k.startswith("__")}
    if "thread_id" in place:
        place["thread_id"] = str(place["thread_id"])
    # An id that comes with the namespace of a subgraph is the subgraph's; the map has ours.
    if loop.parent_task is not None or configurable.get("checkpoint_ns"):
        place.pop("checkpoint_id", None)
    if loop.checkpoint_ns in loop.checkpoint_map:
        place["checkpoint_id"] = loop.checkpoint_map[loop.checkpoint_ns]
    if loop.checkpoint_map:
        place["checkpoint_map"] = loop.checkpoint_map
    return {**place, "checkpoint_ns": loop.checkpoint_ns}


def _without_id(config: Config) -> Config:
    return {"configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}


def saved_answers(task: NodeTask, pending: PendingWrites) -> list[Any]:
    """Return the answers a task has been given before."""
    for owner, name, value in pending:
        if owner == task.id and name == RESUME:
            return list(value) if isinstance(value, list) else [value]
    return []


def saved_values(state: State) -> dict[str, Any]:
    """Return what a checkpoint stores of the channels."""
    return {
        name: saved
        for name, channel in state.channels.items()
        if name in state.versions and (saved := channel.saved()) is not MISSING
    }
