"""What of a run survives it: loading a checkpoint, saving new ones, keeping the writes of tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from otel_stream.events import Resumption

from ..channels import UntrackedValue
from ..checkpoint.base import checkpoint_id
from ..checkpoint.saver import Saver, without_id
from ..checkpoint.sizes import CountingSerde, counted
from ..core.continuation import Replay
from ..core.naming import naming
from ..core.state import ERROR, ERROR_SOURCE, RESUME, State
from ..core.task import GraphRun
from ..graph.node import NO_WRITES, TASKS, Writes
from ..types import INTERRUPT, MISSING, Config, Send

#: The task id of writes that no task made: commands and answers.
NULL_TASK = "00000000-0000-0000-0000-000000000000"
#: Pending writes that say what happened to a task; any other one says that it has finished.
NO_OUTCOME = frozenset({ERROR, ERROR_SOURCE, INTERRUPT, RESUME})
#: Pending writes of which a task has one each, so that a later one replaces an earlier.
_SINGLE = frozenset({ERROR, INTERRUPT, RESUME})
PendingWrites = list[tuple[str, str, Any]]
#: Key of a checkpoint's metadata under which a traced run leaves its ids. No stream and no snapshot shows it.
ORIGIN = "otel_stream"
#: Told of each stored checkpoint: its step, the seconds it took, and its bytes where those can be counted.
OnStored = Callable[[int, float, int | None], None]


class Kept:
    """What the tasks of a superstep have written, kept until that is over, or by who resumes it."""

    #: Writes made since the last checkpoint, or loaded with it: task, name, value.
    pending: PendingWrites

    def of_task(self, task_id: str) -> Writes:
        """Return the pending writes of a task."""
        return [(name, value) for owner, name, value in self.pending if owner == task_id]

    def outcome_of(self, task_id: str) -> Writes:
        """Return what a task has written, if it has finished."""
        return [write for write in self.of_task(task_id) if write[0] not in NO_OUTCOME]

    def answers_of(self, task_id: str) -> Sequence[Any]:
        """Return the answers a task has been given before."""
        for name, value in self.of_task(task_id):
            if name == RESUME:
                return list(value) if isinstance(value, list) else [value]
        return ()


class Checkpoints(Kept):
    """The checkpoints of one run, or of an update from outside: loaded, saved, and what is kept in between.

    ``place`` is the config that names where they are, and where to start, which is under another namespace,
    ``source``, if the run around has started a branch. With durability "exit" nothing is stored until
    :meth:`leave`. ``parents`` are the checkpoints of the runs around; None: as those before.
    """

    def __init__(
        self,
        checkpointer: Any,
        place: Config,
        on_stored: OnStored | None = None,
        *,
        source: str | None = None,
        is_async: bool,
        run: GraphRun | None = None,
        durability: str = "async",
        parents: Mapping[str, str] | None = None,
    ) -> None:
        self.checkpointer = checkpointer
        self.durability = durability
        self._sizes: CountingSerde | None = None
        self._on_stored = on_stored
        if on_stored is not None:
            checkpointer, self._sizes = counted(checkpointer)
        self._saver = Saver(checkpointer, is_async=is_async)
        #: Whether whoever has lent the checkpointer says which run is traced how, since it alone knows.
        self._signed_by_lender: bool = getattr(self.checkpointer, "signed_by_lender", False)
        #: Makes the versions of channels, if the checkpointer has its own way.
        self.next_version = self._saver.next_version
        if run is not None:
            run.names_by(naming(langgraphs=self._saver.is_langgraphs))
        self._run = run
        #: What stays out of the store.
        self._untracked = frozenset(
            name
            for name, channel in (run.channels if run else {}).items()
            if isinstance(channel, UntrackedValue)
        )
        self._parents = parents
        #: Where we are, and where we were before.
        self.config = place
        self.parent_config: Config | None = None
        self.metadata: dict[str, Any] = {"step": -2}
        self._id: str | None = None
        self._ns: str = place["configurable"].get("checkpoint_ns", "")
        #: Whether we were pointed at a checkpoint, and whether that is no longer the thread's latest.
        self.addressed = bool(place["configurable"].get("checkpoint_id"))
        self.superseded = False
        self._source = self._ns if source is None else source
        #: For the branch of an updated checkpoint: what that one was an update of.
        self.branched_from: str | None = None
        #: Which run stored the checkpoint that was loaded, if it was traced.
        self._origin: Mapping[str, str] = {}
        self._stored_versions: dict[str, Any] = {}
        self._stored_id: str | None = None
        #: The tasks that wrote something in this run, and whether it stored a checkpoint.
        self._kept: set[str] = set()
        self._stored = False
        #: Where the saver says that the last checkpoint is.
        self.stored_as: Config = {}
        self.pending = []
        self._lock = Lock()

    # -- checkpoints -----------------------------------------------------------------------------

    @property
    def moved(self) -> bool:
        """Whether the checkpoint to start from is under another namespace than those to come."""
        return self._source != self._ns

    @property
    def loaded_path(self) -> tuple[str, ...]:
        """The namespace of the checkpoint to start from, in its parts."""
        return tuple(self._source.split("|")) if self._source else ()

    async def load(self, replay: Replay | None = None) -> Any:
        """Load the checkpoint we are pointed at, or the thread's latest; None if there is none.

        ``replay`` says which one a subgraph starts from that is run again.
        """
        place: Config = {"configurable": {**self.config["configurable"], "checkpoint_ns": self._source}}
        before = None if replay is None else replay.before(self._ns)
        if before is not None and not self.addressed:
            found = await self._saver.newest(place, before)
        else:
            found = await self._saver.get(place)
        if self.addressed and found is not None:
            latest = await self._saver.get(without_id(place))
            self.superseded = latest is not None and latest.checkpoint["id"] != found.checkpoint["id"]
        if found is None:
            self.config["configurable"].pop("checkpoint_id", None)
            return None
        self.config = {"configurable": {**place["configurable"], **found.config["configurable"]}}
        self.config["configurable"].setdefault("checkpoint_ns", self._ns)
        self.parent_config = found.parent_config
        self.metadata = dict(found.metadata)
        self._origin = self.metadata.pop(ORIGIN, {})
        pending = [(str(write[0]), write[1], write[2]) for write in found.pending_writes or ()]
        self.pending = [write for write in pending if write[1] != ORIGIN]
        signed = [write[2] for write in pending if write[1] == ORIGIN]
        if signed:
            self._origin = max(signed, key=lambda one: one[0])[1]
        self._id = self._stored_id = found.checkpoint["id"]
        if self.moved:  # nothing of it is stored where we are
            self.branched_from = self._id
            self.config = without_id(
                {"configurable": {**self.config["configurable"], "checkpoint_ns": self._ns}}
            )
            self.parent_config = None
        else:
            self._stored_versions = dict(found.checkpoint["channel_versions"])
        return found

    async def lead_to(self, inner: Config) -> Mapping[str, str]:
        """Start where a run was that is around a subgraph's checkpoint.

        Returns the ids of that one, and of those around it, by namespace; none if it is not there.
        """
        found = await self._saver.get(inner)
        if found is None:
            return {}
        self.addressed = True
        ids = {
            **found.metadata.get("parents", {}),
            inner["configurable"]["checkpoint_ns"]: found.checkpoint["id"],
        }
        self.config["configurable"]["checkpoint_id"] = ids.get("")
        return ids

    async def save(self, state: State, source: str, step: int, updated: set[str] | None) -> None:
        """Store the state after ``step``; with durability "exit" only remember that it is to be stored."""
        parents = self.metadata.get("parents", {}) if self._parents is None else self._parents
        self.metadata = {"source": source, "step": step, "parents": parents}
        self._id = checkpoint_id()
        state.at(self._id)
        if self.durability != "exit":
            await self._store(state, updated)

    async def _store(self, state: State, updated: set[str] | None) -> None:
        started = time.perf_counter()
        new = {n: v for n, v in state.versions.items() if self._stored_versions.get(n) != v}
        values = copied_values(state, new) if self._saver.takes_copies else saved_values(state)
        checkpoint = {
            "v": 4,
            "ts": datetime.now(UTC).isoformat(),
            "id": state.checkpoint_id,
            "channel_values": self._tracked_values(values),
            "channel_versions": dict(state.versions),
            "versions_seen": {node: dict(seen) for node, seen in state.seen.items()},
            "updated_channels": sorted(updated) if updated is not None else None,
        }
        self._stored_versions = dict(state.versions)
        configurable = self.config["configurable"]
        self.parent_config = self.config if configurable.get("checkpoint_id") else None
        behind: Config = {"configurable": {**configurable, "checkpoint_ns": self._ns}}
        if self._run is not None:
            behind["metadata"] = self._run.metadata
        if self._sizes is not None:
            self._sizes.bytes = 0
        self.stored_as = await self._saver.put(behind, checkpoint, self._signed(), new)
        self._stored_id, self._stored = state.checkpoint_id, True
        self.config = {"configurable": {**behind["configurable"], "checkpoint_id": state.checkpoint_id}}
        if self._on_stored is not None:
            size = None if self._sizes is None else self._sizes.bytes
            self._on_stored(self.metadata["step"], time.perf_counter() - started, size)

    async def leave(self, state: State) -> None:
        """Store what durability "exit" has put off."""
        if self.durability != "exit":
            return
        if self._stored_id != state.checkpoint_id:
            await self._store(state, None)
        by_task: dict[str, Writes] = {}
        for task_id, name, value in self.pending:
            if task_id in self._kept:  # the others' are stored already
                by_task.setdefault(task_id, []).append((name, value))
        for task_id, writes in by_task.items():
            await self.put_writes(task_id, writes)

    # -- who goes on from whom -------------------------------------------------------------------

    def _signed(self) -> Mapping[str, Any]:
        """Return the metadata with what a run that goes on from here links to."""
        origin = self._own_origin()
        return {**self.metadata, ORIGIN: origin} if origin else self.metadata

    def _own_origin(self) -> Mapping[str, str]:
        if self._run is None:
            return {}
        if self._signed_by_lender:
            return LENDERS
        return origin_of(self._run)

    async def sign(self) -> None:
        """Leave with the checkpoint, now that the run waits, that it is the one to go on from.

        The checkpoints that it has stored itself say so already; the writes have an owner of their own.
        """
        origin = self._own_origin()
        if origin and self._run is not None and not self._stored and self._stored_id is not None:
            await self.put_writes(self._run.id, [(ORIGIN, [time.time_ns(), origin])])

    def resumption(self, answer: Any) -> Resumption:
        """Say what a run goes on from that comes with ``answer``; None if it comes with none."""
        asked = self.unanswered() if answer is not None else set()
        by_id = asked.intersection(answer if isinstance(answer, dict) else ())
        return Resumption(str(self._stored_id), **self._origin, interrupts=tuple(sorted(by_id or asked)))

    # -- what tasks have written -----------------------------------------------------------------

    async def keep(self, task_id: str, writes: Sequence[tuple[str, Any]]) -> None:
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
        if self.durability != "exit" and self._stored_id is not None:
            await self.put_writes(task_id, stored)

    async def put_writes(self, task_id: str, writes: Writes) -> None:
        """Store what a task has written at the checkpoint where we are."""
        place = {**self.config["configurable"], "checkpoint_ns": self._ns, "checkpoint_id": self._id}
        await self._saver.put_writes({"configurable": place}, self._tracked(writes), task_id)

    def _tracked(self, writes: Writes) -> Writes:
        """Return writes without what is untracked, be it in a packet for a node."""
        if not self._untracked:
            return writes
        kept = [(name, self._tracked_packet(value)) for name, value in writes if name not in self._untracked]
        return kept or [(NO_WRITES, None)]

    def _tracked_values(self, values: dict[str, Any]) -> dict[str, Any]:
        packets = values.get(TASKS) if self._untracked else None
        return {**values, TASKS: [*map(self._tracked_packet, packets)]} if packets else values

    def _tracked_packet(self, value: Any) -> Any:
        if not isinstance(value, Send) or not isinstance(value.arg, dict):
            return value
        kept = {key: part for key, part in value.arg.items() if key not in self._untracked}
        return Send(value.node, kept, timeout=value.timeout)

    def branch_off(self, origin: str | None) -> None:
        """Leave the branch we are on: its questions are asked anew. ``origin``: what it was an update of."""
        self.branched_from = origin or self.branched_from
        self.drop(INTERRUPT)

    def drop(self, name: str | None = None) -> None:
        """Forget the pending writes to ``name``, or all."""
        self.pending = [] if name is None else [write for write in self.pending if write[1] != name]

    def take_answer(self, *, keep: bool = False) -> Any:
        """Take the one answer that was given without an interrupt id; MISSING if none is, or it is taken."""
        for write in self.pending:
            if write[0] == NULL_TASK and write[1] == RESUME:
                if not keep:
                    self.pending.remove(write)
                return write[2]
        return MISSING

    def unanswered(self) -> set[str]:
        """Return the ids of interrupts nobody has answered yet."""
        asked: dict[str, list[str]] = {}
        for task_id, name, value in self.pending:
            if name == INTERRUPT:
                asked[task_id] = [item.id for item in items(value)]
        done = {owner for owner, name, _ in self.pending if name not in NO_OUTCOME}
        return {id for task_id, ids in asked.items() if task_id not in done for id in ids}


#: Stands for what a lender signs with.
LENDERS: Mapping[str, str] = {"run_id": "", "traceparent": ""}


def origin_of(run: GraphRun | None) -> Mapping[str, str]:
    """Return what a run that goes on from ``run`` links to; nothing if that is not traced."""
    if run is None or not run.traceparent:
        return {}
    return {"run_id": run.root.id, "traceparent": run.traceparent}


def unsigned(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a checkpoint's metadata as LangGraph knows it: without what a traced run has added."""
    return {k: v for k, v in metadata.items() if k != ORIGIN} if ORIGIN in metadata else metadata


def items(value: Any) -> Sequence[Any]:
    """Return what an INTERRUPT write holds: several, or in old checkpoints one."""
    return value if isinstance(value, (list, tuple)) else (value,)


def saved_values(state: State) -> dict[str, Any]:
    """Return what a checkpoint stores of the channels."""
    return {
        name: saved
        for name, channel in state.channels.items()
        if name in state.versions and (saved := channel.saved()) is not MISSING
    }


def copied_values(state: State, names: Iterable[str]) -> dict[str, Any]:
    """Return copies of what a checkpoint stores of some channels."""
    copies = ((name, state.channels[name].copied()) for name in names if name in state.channels)
    return {name: copy for name, copy in copies if copy is not MISSING}
