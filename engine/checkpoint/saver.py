"""A checkpointer as the engine calls it: with coroutines, whether there is an event loop or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..types import Config
from .words import is_langgraphs, loaded_tuple, stored_values, stored_writes

#: What of ours checkpoints hold; LangGraph's savers rebuild only what they are told to trust.
_STORED = (
    ("engine.types", "Interrupt"),
    ("engine.types", "Overwrite"),
    ("engine.types", "Send"),
    ("engine.policies", "TimeoutPolicy"),
    ("engine.messages", "Message"),
    ("engine.messages", "RemoveMessage"),
)


def trusting(saver: Any, types: Iterable[tuple[str, str]]) -> Any:
    """Return a view of ``saver`` that rebuilds ``types``, if it must be told; itself if it need not.

    LangGraph's savers do in strict mode, and where their serialiser was given a list of types.
    """
    allow, serde = getattr(saver, "with_allowlist", None), getattr(saver, "serde", None)
    # One that encrypts has another inside. A saver that is asked in vain logs a warning.
    if allow is None or not hasattr(getattr(serde, "serde", serde), "with_msgpack_allowlist"):
        return saver
    return allow((*_STORED, *types))


class Saver:
    """Awaits a checkpointer's async methods, or calls its sync ones where nothing may suspend.

    LangGraph's savers are given its words in place of ours, and give ours back.
    """

    __slots__ = ("_is_async", "_saver", "is_langgraphs", "next_version", "takes_copies")

    def __init__(self, saver: Any, *, is_async: bool) -> None:
        self._saver = saver
        self.is_langgraphs = is_langgraphs(saver)
        self._is_async = is_async
        self.next_version = getattr(saver, "get_next_version", None)
        #: Whether it is given copies of what is new, which it keeps as they are.
        self.takes_copies = bool(getattr(saver, "takes_copies", False))

    async def get(self, place: Config) -> Any:
        """Return the checkpoint that ``place`` names, or the latest there; None if there is none.

        Raises:
            NotImplementedError: a saver without async methods, on an event loop.
        """
        try:
            found = await self._saver.aget_tuple(place) if self._is_async else self._saver.get_tuple(place)
        except NotImplementedError as error:
            if error.args:
                raise
            name, calls = type(self._saver).__name__, "invoke" if self._is_async else "ainvoke"
            kind = "async" if self._is_async else "sync"
            raise NotImplementedError(
                f"{name} has no {kind} methods: take one that has, or {calls}"
            ) from error
        return loaded_tuple(found) if self.is_langgraphs else found

    async def list(self, place: Config, **which: Any) -> list[Any]:
        """Return the checkpoints of ``place``, newest first; ``before``, ``filter`` and ``limit`` choose."""
        if self._is_async:
            every = [found async for found in self._saver.alist(place, **which)]
        else:
            every = list(self._saver.list(place, **which))
        return [loaded_tuple(found) for found in every] if self.is_langgraphs else every

    async def newest(self, place: Config, before: str | None) -> Any:
        """Return the latest checkpoint of ``place``, or the latest before the one of that id."""
        if before is None:
            return await self.get(place)
        bound = {"configurable": {"checkpoint_id": before}}
        return next(iter(await self.list(place, before=bound, limit=1)), None)

    async def put(
        self,
        place: Config,
        checkpoint: Mapping[str, Any],
        metadata: Mapping[str, Any],
        versions: Mapping[str, Any],
    ) -> Config:
        """Store a checkpoint behind the one that ``place`` names; return where it is."""
        if self.takes_copies:
            copied: Config = self._saver.put_copies(place, checkpoint, metadata, versions)
            return copied
        if self.is_langgraphs:
            checkpoint = {**checkpoint, "channel_values": stored_values(checkpoint["channel_values"])}
        what = (place, checkpoint, metadata, versions)
        stored: Config = await self._saver.aput(*what) if self._is_async else self._saver.put(*what)
        return stored

    async def put_writes(self, place: Config, writes: Sequence[tuple[str, Any]], task_id: str) -> None:
        """Store what a task has written at the checkpoint that ``place`` names."""
        if self.is_langgraphs:
            writes = stored_writes(writes)
        if self._is_async:
            await self._saver.aput_writes(place, writes, task_id)
        else:
            self._saver.put_writes(place, writes, task_id)


def without_id(config: Config) -> Config:
    """Return the place of a thread instead of one of its checkpoints."""
    return {"configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}
