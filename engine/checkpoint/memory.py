"""Checkpoints in memory: for tests, for short-lived processes, and as the reference for what a saver does.

Each value is stored once, under the version of its channel, however many checkpoints show it; a checkpoint is
versions. What was put and what is got are copies, so no later change in place can rewrite history.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, cast

from otel_stream.encoding import shown
from otel_stream.stream.copying import snapshot

from ..channels import whole
from ..types import Config
from .base import (
    ERROR,
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrites,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)


class _Saved(NamedTuple):
    #: The checkpoint without its ``channel_values``.
    checkpoint: Any
    metadata: Any
    parent: str | None


class _Write(NamedTuple):
    task_id: str
    channel: str
    value: Any
    path: str


class _Namespace:
    """The checkpoints of one graph of one thread."""

    __slots__ = ("checkpoints", "latest", "values", "writes")

    def __init__(self) -> None:
        self.checkpoints: dict[str, _Saved] = {}
        self.latest = ""
        #: (channel, version) → value.
        self.values: dict[tuple[str, Any], Any] = {}
        #: Checkpoint id → (task id, place) → write.
        self.writes: dict[str, dict[tuple[str, int], _Write]] = {}

    def copy(self) -> _Namespace:
        new = _Namespace()
        new.checkpoints = self.checkpoints.copy()
        new.latest = self.latest
        new.values = self.values.copy()
        new.writes = {key: writes.copy() for key, writes in self.writes.items()}
        return new


_NOTHING = _Namespace()


class InMemorySaver(BaseCheckpointSaver[int]):
    """Keeps checkpoints in this process, from any thread, until ``delete_thread``.

    Without a ``serde``, values are kept as Python objects, copied in and out, so that any type survives as it
    is. An exception among pending writes is kept as its ``repr``: the object would hold on to every frame it
    passed.
    """

    def __init__(self, *, serde: Any = None) -> None:
        super().__init__(serde=serde)
        self._store: Callable[[Any], Any] = serde.dumps_typed if serde is not None else snapshot
        self._load: Callable[[Any], Any] = serde.loads_typed if serde is not None else snapshot
        self._lock = threading.Lock()
        #: Thread id → namespace → what is there.
        self._threads: dict[str, dict[str, _Namespace]] = {}
        self._versions = itertools.count(1)

    def get_next_version(self, current: int | None, channel: None) -> int:
        """Return a version no other call has returned.

        Counting up from ``current`` would not do: two runs that fork from one checkpoint would give the same
        version to different values, and the second would rewrite the first's history.
        """
        version = next(self._versions)
        if current is not None and version <= current:
            # The checkpoint was put here by someone who counts by themselves.
            with self._lock:
                self._versions = itertools.count(int(current) + 2)
            version = int(current) + 1
        return version

    def get_tuple(self, config: Config) -> CheckpointTuple | None:
        thread_id, ns, key = _address(config)
        with self._lock:
            here = self._threads.get(thread_id, {}).get(ns, _NOTHING)
            key = key or here.latest
            saved = here.checkpoints.get(key)
        if saved is None:
            return None
        named = config if get_checkpoint_id(config) else _config(thread_id, ns, key)
        return self._tuple(here, named, saved)

    def list(
        self,
        config: Config | None,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        before_id = get_checkpoint_id(before) if before else None
        matching = (
            found
            for found in self._saved(config)
            if (not before_id or found[3] < before_id) and _matches(self._load(found[4].metadata), filter)
        )
        most = None if limit is None else max(limit, 0)
        for here, thread_id, ns, key, saved in itertools.islice(matching, most):
            yield self._tuple(here, _config(thread_id, ns, key), saved)

    def put(
        self,
        config: Config,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Config:
        values = checkpoint["channel_values"]
        new = {(name, v): self._store(values[name]) for name, v in new_versions.items() if name in values}
        rest = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        about = self._store(get_checkpoint_metadata(config, metadata))
        return self._put(config, checkpoint["id"], new_versions, new, self._store(rest), about)

    @property
    def takes_copies(self) -> bool:
        """Whether :meth:`put_copies` does what ``put`` does: values are kept as they are, by this class."""
        kind = type(self)
        return self.serde is None and (kind.put, kind.aput) == (InMemorySaver.put, InMemorySaver.aput)

    def put_copies(
        self,
        config: Config,
        checkpoint: Mapping[str, Any],
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Config:
        """Do what ``put`` does with a checkpoint of the new values alone, copies that nobody changes."""
        values = checkpoint["channel_values"]
        rest = {key: value for key, value in checkpoint.items() if key != "channel_values"}
        new = {(name, v): values[name] for name, v in new_versions.items() if name in values}
        about = self._store(get_checkpoint_metadata(config, metadata))
        return self._put(config, checkpoint["id"], new_versions, new, rest, about)

    def _put(
        self,
        config: Config,
        key: str,
        versions: ChannelVersions,
        new: dict[tuple[str, Any], Any],
        rest: Any,
        metadata: Any,
    ) -> Config:
        thread_id, ns, parent = _address(config)
        saved = _Saved(rest, metadata, parent)
        with self._lock:
            here = self._threads.setdefault(thread_id, {}).setdefault(ns, _Namespace())
            if len(new) < len(versions):  # those without a value are empty at that version
                for emptied in versions.items():
                    here.values.pop(emptied, None)
            here.values.update(new)
            here.checkpoints[key] = saved
            here.latest = max(here.latest, key)
        return _config(thread_id, ns, key)

    def put_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        thread_id, ns, key = _address(config)
        if not key:
            raise ValueError(
                'config["configurable"]["checkpoint_id"] is missing: name the checkpoint to write to'
            )
        new = {
            (task_id, WRITES_IDX_MAP.get(channel, index)): _Write(
                task_id, channel, self._store(_frameless(channel, value)), task_path
            )
            for index, (channel, value) in enumerate(writes)
        }
        with self._lock:
            here = self._threads.setdefault(thread_id, {}).setdefault(ns, _Namespace())
            known = here.writes.setdefault(key, {})
            known.update({place: write for place, write in new.items() if place[1] < 0 or place not in known})

    def delete_thread(self, thread_id: str) -> None:
        with self._lock:
            self._threads.pop(thread_id, None)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        with self._lock:
            source = self._threads.get(source_thread_id, {})
            # What is stored never changes, so the copy may share it.
            self._threads[target_thread_id] = {ns: here.copy() for ns, here in source.items()}

    async def aget_tuple(self, config: Config) -> CheckpointTuple | None:
        return self.get_tuple(config)

    async def alist(
        self,
        config: Config | None,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        for found in self.list(config, filter=filter, before=before, limit=limit):
            yield found

    async def aput(
        self,
        config: Config,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Config:
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self.put_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self.copy_thread(source_thread_id, target_thread_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep everything: memory needs no closing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep everything: memory needs no closing."""

    def _saved(self, config: Config | None) -> Iterator[tuple[_Namespace, str, str, str, _Saved]]:
        """Iterate over what ``config`` selects as it is now, newest first in each namespace."""
        only_thread, only_ns, only_id = _address(config) if config else (None, None, None)
        if config and "checkpoint_ns" not in config["configurable"]:
            only_ns = None
        with self._lock:
            found = [
                (here, thread_id, ns, sorted(here.checkpoints.items(), reverse=True))
                for thread_id, namespaces in self._threads.items()
                if only_thread is None or thread_id == only_thread
                for ns, here in namespaces.items()
                if only_ns is None or ns == only_ns
            ]
        for here, thread_id, ns, checkpoints in found:
            for key, saved in checkpoints:
                if not only_id or key == only_id:
                    yield here, thread_id, ns, key, saved

    def _tuple(self, here: _Namespace, config: Config, saved: _Saved) -> CheckpointTuple:
        rest = self._load(saved.checkpoint)
        versions: ChannelVersions = rest["channel_versions"]
        with self._lock:
            stored = {name: here.values[name, v] for name, v in versions.items() if (name, v) in here.values}
            writes = sorted(
                here.writes.get(rest["id"], {}).items(),
                key=lambda item: writes_sort_key(item[1].path, *item[0]),
            )
        values = {name: self._load(whole(value)) for name, value in stored.items()}
        pending: PendingWrites = [(w.task_id, w.channel, self._load(w.value)) for _, w in writes]
        place = config["configurable"]
        return CheckpointTuple(
            config=config,
            checkpoint=cast("Checkpoint", {**rest, "channel_values": values}),
            metadata=self._load(saved.metadata),
            parent_config=_config(place["thread_id"], place.get("checkpoint_ns", ""), saved.parent)
            if saved.parent
            else None,
            pending_writes=pending,
        )


#: What LangGraph once called it.
MemorySaver = InMemorySaver


def _address(config: Mapping[str, Any]) -> tuple[str, str, str | None]:
    place = config.get("configurable") or {}
    if "thread_id" not in place:
        raise ValueError(
            'config["configurable"]["thread_id"] is missing: name the thread whose checkpoints are meant, '
            'as in {"configurable": {"thread_id": "1"}}'
        )
    return place["thread_id"], place.get("checkpoint_ns", ""), place.get("checkpoint_id")


def _config(thread_id: str, ns: str, id: str) -> Config:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": id}}


def _matches(metadata: Mapping[str, Any], filter: Mapping[str, Any] | None) -> bool:
    return not filter or all(metadata.get(key) == value for key, value in filter.items())


def _frameless(channel: str, value: Any) -> Any:
    return shown(value) if channel == ERROR and isinstance(value, BaseException) else value
