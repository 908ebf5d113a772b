"""Messages of chat models, one log event each: their chunks are joined until the last one is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, reduce
from typing import Any, Final

import msgspec

from otel_stream.events import Event
from otel_stream.parts import StreamPart, message_id

#: Fields of mappings whose text is the same in every chunk, or comes once.
_NAMES: Final = frozenset(
    {"chunk_position", "finish_reason", "id", "model", "name", "object", "role", "tool_call_id", "type"}
)
_SIZED: Final = (str, list)
#: Messages that may wait for their last chunk at the same time; the oldest goes first if there are more.
MAX_OPEN: Final = 64


class Message(msgspec.Struct):
    """A message on its way out: one part that stands for ``parts``, of which the first was ``first_seq``.

    ``size`` is the sum of the lengths of the chunks' content.
    """

    part: StreamPart
    event: Event
    first_seq: int | None
    parts: int = 1
    size: int = 0
    chunks: list[Any] = []


class Messages:
    """Joins the chunks of every message of one root run.

    ``keep``: whether content is exported, so that chunks are needed; otherwise they are only counted.
    ``unnamed``: whether chunks that don't say which message they are of are all of one, as long as their task
    goes on: what a rule looks for may be split over them.
    """

    __slots__ = ("_keep", "_known", "_open", "_unnamed")

    def __init__(self, *, keep: bool, unnamed: bool) -> None:
        self._keep = keep
        self._unnamed = unnamed
        self._open: dict[tuple[Any, Any], Message] = {}
        #: Classes of chunks that say by their fields what they are.
        self._known: set[type] = set()

    def add(self, part: StreamPart, event: Event) -> Iterable[Message]:
        """Take a part of mode *messages*; return what is complete by it."""
        chunk = part.data[0]
        # Nearly always it is one more of a message that has begun, and not the last.
        if type(chunk) in self._known and chunk.chunk_position is None and type(chunk.content) is str:
            key = part.task_id, chunk.id
            # Taken out, so that no other thread completes it meanwhile.
            message = None if chunk.id is None else self._open.pop(key, None)
            if message is not None:
                message.part, message.event = part, event
                message.parts += 1
                message.size += len(chunk.content)
                if self._keep:
                    message.chunks.append(chunk)
                self._open[key] = message
                return ()
        return self._taken(part, event)

    def _taken(self, part: StreamPart, event: Event) -> Iterator[Message]:
        chunk = part.data[0]
        key = part.task_id, message_id(part)
        message = self._open.pop(key, None)
        if message is None:
            message = Message(part, event, part.seq)
        else:
            message.part, message.event = part, event
            message.parts += 1
        message.size += _length(chunk)
        if self._keep:
            message.chunks.append(chunk)
        if self._is_last(chunk):
            yield self._joined(message)
            return
        self._open[key] = message
        kind: Any = type(chunk)
        if isinstance(key[1], str) and _has_fields(kind):
            self._known.add(kind)
        if len(self._open) > MAX_OPEN:
            yield self._joined(self._open.pop(next(iter(self._open))))

    def end(self, task_id: str | None = None) -> Iterator[Message]:
        """Yield the messages of a task that nothing more will come for, or all of them."""
        for key in tuple(self._open):
            message = self._open.pop(key, None) if task_id in (None, key[0]) else None
            if message is not None:
                yield self._joined(message)

    @property
    def waiting(self) -> bool:
        """Whether a message has begun."""
        return bool(self._open)

    def _is_last(self, chunk: Any) -> bool:
        """Tell whether nothing more comes of this message: it is whole, or can't be told from another."""
        if _field(chunk, "chunk_position") == "last":
            return True
        if _field(chunk, "id") is None and not self._unnamed:
            return True
        kind = chunk.get("type", "Chunk") if isinstance(chunk, dict) else type(chunk).__name__
        return not str(kind).endswith("Chunk")

    def _joined(self, message: Message) -> Message:
        if message.parts > 1 and self._keep:
            part = message.part
            data = _sum(message.chunks), part.data[1]
            message.part = msgspec.structs.replace(part, data=data)
        message.chunks = []
        return message


def _sum(chunks: list[Any]) -> Any:
    first: Any = chunks[0]
    with suppress(Exception):
        # Chunks of LangChain take all the others at once, which is a great deal faster.
        return first + chunks[1:]
    with suppress(Exception):
        return reduce(_added, chunks)
    # Nobody's to join: they are shown side by side.
    return chunks


def _added(before: Any, after: Any) -> Any:
    """Return two chunks as one; of mappings, as some clients' are, every text is the text of both."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return before + after
    return {**before, **{key: _grown(key, before.get(key), value) for key, value in after.items()}}


def _grown(key: str, before: Any, after: Any) -> Any:
    if before is None or after is None:
        return before if after is None else after
    kinds = type(before), type(after)
    if kinds == (str, str):
        return after if key in _NAMES else before + after
    if kinds == (list, list):
        return _side_by_side(before, after)
    return _added(before, after) if kinds == (dict, dict) else after


def _side_by_side(before: list[Any], after: list[Any]) -> list[Any]:
    """Return the items of both; pieces of one thing, such as a tool call, have the same ``index``."""
    items = list(before)
    for item in after:
        index = _field(item, "index")
        same = [n for n, one in enumerate(items) if index is not None and _field(one, "index") == index]
        if same and isinstance(item, dict):
            items[same[0]] = _added(items[same[0]], item)
        else:
            items.append(item)
    return items


@lru_cache(maxsize=64)
def _has_fields(kind: Any) -> bool:
    """Tell whether all of a class say what they are by fields: those of LangChain's do."""
    fields = getattr(kind, "model_fields", ())
    told = all(name in fields for name in ("chunk_position", "content", "id"))
    return told and not issubclass(kind, Mapping)


def _field(chunk: Any, name: str) -> Any:
    return chunk.get(name) if isinstance(chunk, dict) else getattr(chunk, name, None)


def _length(chunk: Any) -> int:
    content = _field(chunk, "content")
    return len(content) if isinstance(content, _SIZED) else 0
