"""What a checkpoint is, and what a place that keeps them can do.

The shapes and method names are LangGraph's, so its savers (SQLite, Postgres, ...) serve this engine as they
are, and code written against one of them works with ours. Nothing here knows channels or nodes: a checkpoint
is values, their versions, and which versions each node has seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, NamedTuple, NoReturn, ParamSpec, TypeAlias, TypedDict, TypeVar, cast

from ..types import INTERRUPT, Config
from .identity import checkpoint_id as checkpoint_id  # noqa: PLC0414 - offered here, too

V = TypeVar("V", int, float, str)
P = ParamSpec("P")
T = TypeVar("T")

ERROR = "__error__"
SCHEDULED = "__scheduled__"
RESUME = "__resume__"

#: The format of checkpoints; LangGraph's savers rewrite what is older than 4.
VERSION = 4

#: A write's place among its task's is its index; these have one place each, and a later write replaces it.
WRITES_IDX_MAP: dict[str, int] = {ERROR: -1, SCHEDULED: -2, INTERRUPT: -3, RESUME: -4}

#: Says where a run is, not what it is about; stored in the checkpoint's own place, or not at all.
EXCLUDED_METADATA_KEYS = frozenset(
    {
        "thread_id",
        "checkpoint_id",
        "checkpoint_ns",
        "checkpoint_map",
        "langgraph_step",
        "langgraph_node",
        "langgraph_triggers",
        "langgraph_path",
        "langgraph_checkpoint_ns",
    }
)

#: ``(task id, channel, value)``: what a task wrote before its superstep was over.
PendingWrite: TypeAlias = tuple[str, str, Any]
PendingWrites: TypeAlias = list[PendingWrite]
#: Channel → version. Versions of one saver are all of one type, and a later one is greater.
ChannelVersions: TypeAlias = dict[str, str | int | float]


class CheckpointMetadata(TypedDict, total=False):
    """What led to a checkpoint. ``step`` is -1 for a run's input; ``parents``: namespace → checkpoint id.

    ``source`` is what made it: input, loop, update or fork. ``run_id`` names the run.
    """

    source: Literal["input", "loop", "update", "fork"]
    step: int
    parents: dict[str, str]
    run_id: str


class Checkpoint(TypedDict):
    """The state of a thread at one moment. ``id`` sorts by time, ``ts`` is ISO 8601.

    ``v`` is the version of this format. ``channel_values`` and ``channel_versions`` are by channel,
    ``versions_seen`` by node and channel: what each node has acted on. ``updated_channels`` changed in the
    superstep before.
    """

    v: int
    id: str
    ts: str
    channel_values: dict[str, Any]
    channel_versions: ChannelVersions
    #: Node → channel → the version the node has acted on.
    versions_seen: dict[str, ChannelVersions]
    updated_channels: list[str] | None


class CheckpointTuple(NamedTuple):
    """A checkpoint with everything that is stored beside it."""

    #: What finds it again: ``thread_id``, ``checkpoint_ns`` and ``checkpoint_id`` below ``configurable``.
    config: Config
    #: The values of the channels, and which tasks have seen which version of them.
    checkpoint: Checkpoint
    #: How it came about: its ``source`` and ``step``, and what the run's config said.
    metadata: CheckpointMetadata
    #: What finds the checkpoint before it; None of the first of its thread.
    parent_config: Config | None = None
    #: (task id, channel, value) of tasks that had finished when the superstep was left.
    pending_writes: PendingWrites | None = None


def empty_checkpoint() -> Checkpoint:
    """Return the checkpoint of a thread on which nothing has happened."""
    return Checkpoint(
        v=VERSION,
        id=checkpoint_id(),
        ts=datetime.now(UTC).isoformat(),
        channel_values={},
        channel_versions={},
        versions_seen={},
        updated_channels=None,
    )


def copy_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Return a copy with mappings of its own; the values in them are shared."""
    return Checkpoint(
        v=checkpoint["v"],
        id=checkpoint["id"],
        ts=checkpoint["ts"],
        channel_values=checkpoint["channel_values"].copy(),
        channel_versions=checkpoint["channel_versions"].copy(),
        versions_seen={node: seen.copy() for node, seen in checkpoint["versions_seen"].items()},
        updated_channels=checkpoint.get("updated_channels"),
    )


def get_checkpoint_id(config: Mapping[str, Any]) -> str | None:
    """Return the checkpoint that ``config`` asks for, None for the latest."""
    return cast("str | None", config["configurable"].get("checkpoint_id"))


def get_checkpoint_metadata(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> CheckpointMetadata:
    """Return ``metadata`` with the simple values of the run's own metadata and configurable added.

    Keys that begin with ``__`` or say where the run is are left out. NUL characters go, as Postgres has none.
    """
    found = {key: _storable(value) for key, value in metadata.items()}
    for source in (config.get("metadata"), config.get("configurable")):
        for key, value in (source or {}).items():
            if key in found or key in EXCLUDED_METADATA_KEYS or key.startswith("__"):
                continue
            if isinstance(value, str | int | float):
                found[key] = _storable(value)
    return cast("CheckpointMetadata", found)


def _storable(value: Any) -> Any:
    return value.replace("\0", "") if isinstance(value, str) else value


def writes_sort_key(task_path: str, task_id: str = "", idx: int = 0) -> tuple[str, str, int]:
    """Order the pending writes of a checkpoint as a superstep would have applied them."""
    return task_path, task_id, idx


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    from anyio import to_thread

    return await to_thread.run_sync(lambda: function(*args, **kwargs))


class BaseCheckpointSaver(Generic[V]):
    """Keeps checkpoints by thread, namespace and id, as ``config["configurable"]`` names them.

    Implement ``get_tuple``, ``list``, ``put``, ``put_writes`` and ``delete_thread``. The methods whose names
    begin with ``a`` run those in a worker thread, under asyncio and trio alike; override them where there is
    something better to do.
    """

    #: Turns values into bytes and back (``dumps_typed``, ``loads_typed``); None if the saver needs none.
    serde: Any = None

    def __init__(self, *, serde: Any = None) -> None:
        if serde is not None:
            self.serde = serde

    @property
    def config_specs(self) -> Sequence[Any]:
        """What the saver wants to be configured with at run time; nothing."""
        return []

    def get(self, config: Config) -> Checkpoint | None:
        """Return the checkpoint ``config`` names, or the latest of its thread, or None."""
        found = self.get_tuple(config)
        return found.checkpoint if found else None

    def get_tuple(self, config: Config) -> CheckpointTuple | None:
        """Like ``get``, with metadata, parent and pending writes, which are in ``writes_sort_key`` order."""
        self._missing("get_tuple")

    def list(
        self,
        config: Config | None,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Iterate over the checkpoints of a thread, of all if ``config`` is None, newest first.

        ``filter`` compares metadata for equality; ``before`` names a checkpoint to stay older than.
        """
        self._missing("list")

    def put(
        self,
        config: Config,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Config:
        """Store ``checkpoint`` as a child of the one ``config`` names; return the config that names it.

        ``new_versions``: the channels that changed since the parent. Only their values need storing.
        """
        self._missing("put")

    def put_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store ``(channel, value)`` pairs beside the checkpoint ``config`` names.

        Doing it again for the same task changes nothing, except for the channels of ``WRITES_IDX_MAP``.
        """
        self._missing("put_writes")

    def delete_thread(self, thread_id: str) -> None:
        """Forget everything about a thread; no error if there is nothing."""
        self._missing("delete_thread")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Store all of one thread under another name too."""
        self._missing("copy_thread")

    def get_next_version(self, current: Any, channel: None) -> Any:
        """Return a version greater than ``current``; ``channel`` is there for LangGraph's sake.

        Raises:
            NotImplementedError: versions are strings, which only the saver that made them can count up.
        """
        if isinstance(current, str):
            raise NotImplementedError(
                f"{type(self).__name__} got version {current!r}; override get_next_version to make strings"
            )
        return 1 if current is None else current + 1

    async def aget(self, config: Config) -> Checkpoint | None:
        """See ``get``."""
        found = await self.aget_tuple(config)
        return found.checkpoint if found else None

    async def aget_tuple(self, config: Config) -> CheckpointTuple | None:
        """See ``get_tuple``."""
        return await _in_thread(self.get_tuple, config)

    async def alist(
        self,
        config: Config | None,
        *,
        filter: dict[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See ``list``."""

        def collect() -> Sequence[CheckpointTuple]:
            return [*self.list(config, filter=filter, before=before, limit=limit)]

        for found in await _in_thread(collect):
            yield found

    async def aput(
        self,
        config: Config,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Config:
        """See ``put``."""
        return await _in_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Config, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See ``put_writes``."""
        await _in_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """See ``delete_thread``."""
        await _in_thread(self.delete_thread, thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See ``copy_thread``."""
        await _in_thread(self.copy_thread, source_thread_id, target_thread_id)

    def _missing(self, method: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} does not implement {method}()")
