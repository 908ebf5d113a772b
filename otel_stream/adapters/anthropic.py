"""Streams of the ``anthropic`` client as *messages*.

    from otel_stream.adapters.anthropic import stream_messages

    async def answer(state):
        async with stream_messages(client.messages.stream(model=..., messages=..., max_tokens=...)) as stream:
            async for text in stream.text_stream:
                ...
            return {"answer": await stream.get_final_text()}

It imports nothing of the client: what an event is, is read off its fields.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, TypeVar, cast

from otel_stream.adapters.chunks import MessageChunk, ToolCallChunk, usage_metadata
from otel_stream.adapters.client_streams import told
from otel_stream.calls import Usage

StreamT = TypeVar("StreamT")


def stream_messages(stream: StreamT, *, metadata: Mapping[str, Any] | None = None) -> StreamT:
    """Return ``stream`` as it is, except that each of its chunks is shown in *messages* mode.

    ``stream`` is what ``messages.create(stream=True)`` or ``messages.stream()`` returns, synchronous or
    asynchronous. Leaving the loop early closes it. ``metadata`` is added to that of the messages; a tag
    "nostream" there keeps them from being shown.

    Raises:
        ConfigError: ``stream`` can't be iterated; one that was not awaited, for example.
    """
    about = {"ls_provider": "anthropic", "ls_model_type": "chat", **(metadata or {})}
    return cast("StreamT", told(stream, _Reader(), about))


_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


class _Reader:
    """Makes chunks of the events of one stream, all with the id that the service gave the message."""

    provider = "anthropic"

    def __init__(self) -> None:
        self._id = str(uuid.uuid4())
        #: What the service says of its answer: its id, not one that was made up here.
        self.id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.finish_reasons: dict[int, str] = {}
        #: Counts of the service as they came last; those of what was read leave caches out.
        self._counts: dict[str, int] = {}

    def __call__(self, event: Any) -> Iterator[MessageChunk]:
        make = self._EVENTS.get(getattr(event, "type", None))
        if make is not None:
            yield from make(self, event)

    def _start(self, event: Any) -> Iterator[MessageChunk]:
        self.id = event.message.id
        self._id = self.id or self._id
        self.model = getattr(event.message, "model", None)
        self._count(event.message.usage)
        yield MessageChunk(id=self._id, content="")

    def _block(self, event: Any) -> Iterator[MessageChunk]:
        block = event.content_block
        if block.type in {"tool_use", "server_tool_use"}:
            call = ToolCallChunk(index=event.index, id=block.id, name=block.name)
            yield MessageChunk(id=self._id, content="", tool_calls=(call,))

    def _delta(self, event: Any) -> Iterator[MessageChunk]:
        delta = event.delta
        if delta.type == "text_delta":
            yield MessageChunk(id=self._id, content=delta.text)
        elif delta.type == "thinking_delta":
            yield MessageChunk(id=self._id, content="", reasoning=delta.thinking)
        elif delta.type == "input_json_delta":
            call = ToolCallChunk(index=event.index, args=delta.partial_json)
            yield MessageChunk(id=self._id, content="", tool_calls=(call,))

    def _end(self, event: Any) -> Iterator[MessageChunk]:
        counted = self._count(event.usage)
        if event.delta.stop_reason:
            self.finish_reasons[0] = event.delta.stop_reason
        yield MessageChunk(
            id=self._id, content="", usage=usage_metadata(counted), finish_reason=event.delta.stop_reason
        )

    def _count(self, usage: Any) -> Usage:
        for name in _COUNTS:
            count = getattr(usage, name, None)
            if count is not None:
                self._counts[name] = count
        read, written, stored, cached = (self._counts.get(name) for name in _COUNTS)
        thought = getattr(getattr(usage, "output_tokens_details", None), "thinking_tokens", None)
        self.usage = Usage(
            input=(read or 0) + (stored or 0) + (cached or 0),
            output=written or 0,
            cache_read=cached,
            cache_write=stored,
            reasoning=thought,
        )
        return self.usage

    _EVENTS: ClassVar[dict[Any, Callable[..., Iterator[MessageChunk]]]] = {
        "message_start": _start,
        "content_block_start": _block,
        "content_block_delta": _delta,
        "message_delta": _end,
    }
