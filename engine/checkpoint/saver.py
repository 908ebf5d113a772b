"""A checkpointer as the engine calls it: with coroutines, whether there is an event loop or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..types import Config

#: What of ours checkpoints hold; LangGraph's savers rebuild only what they are told to trust.
_STORED = (
    ("engine.types", "Interrupt"),
    ("engine.types", "Overwrite"),
    ("engine.types", "Send"),
    ("engine.policies", "TimeoutPolicy"),
    ("engine.messages", "Message"),
    ("engine.messages", "RemoveMessage"),
)


class Saver:
    """Awaits a checkpointer's async methods, or calls its sync ones where nothing may suspend."""

    __slots__ = ("_is_async", "_saver", "next_version")

    def __init__(self, saver: Any, *, is_async: bool) -> None:
        #: LangGraph's savers give a view that rebuilds our types.
        allow = getattr(saver, "with_allowlist", None)
        self._saver = saver if allow is None else allow(_STORED)
        self._is_async = is_async
        self.next_version = getattr(saver, "get_next_version", None)

    async def get(self, place: Config) -> Any:
        """Return the checkpoint that ``place`` names, or the latest there; None if there is none."""
        return await self._saver.aget_tuple(place) if self._is_async else self._saver.get_tuple(place)

    async def list(self, place: Config, **which: Any) -> list[Any]:
        """Return the checkpoints of ``place``, newest first; ``before``, ``filter`` and ``limit`` choose."""
        if self._is_async:
            return [found async for found in self._saver.alist(place, **which)]
        return list(self._saver.list(place, **which))

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
        what = (place, checkpoint, metadata, versions)
        stored: Config = await self._saver.aput(*what) if self._is_async else self._saver.put(*what)
        return stored

    async def put_writes(self, place: Config, writes: Sequence[tuple[str, Any]], task_id: str) -> None:
        """Store what a task has written at the checkpoint that ``place`` names."""
        if self._is_async:
            await self._saver.aput_writes(place, writes, task_id)
        else:
            self._saver.put_writes(place, writes, task_id)


def without_id(config: Config) -> Config:
    """Return the place of a thread instead of one of its checkpoints."""
    return {"configurable": {k: v for k, v in config["configurable"].items() if k != "checkpoint_id"}}
