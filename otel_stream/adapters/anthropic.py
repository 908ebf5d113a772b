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
from typing import Any, ClassVar, TypeVar, cast

from otel_stream.adapters.chunks import MessageChunk, ToolCallChunk
from otel_stream.adapters.client_streams import told

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


class _Reader:
    """Makes chunks of the events of one stream, all with the id that the service gave the message."""

    def __init__(self) -> None:
        self._id = str(uuid.uuid4())
        self._read = 0

    def __call__(self, event: Any) -> Iterator[MessageChunk]:
        make = self._EVENTS.get(getattr(event, "type", None))
        if make is not None:
            yield from make(self, event)

    def _start(self, event: Any) -> Iterator[MessageChunk]:
        self._id = event.message.id or self._id
        usage = event.message.usage
        cached = (getattr(usage, f"cache_{how}_input_tokens", None) or 0 for how in ("creation", "read"))
        self._read = (usage.input_tokens or 0) + sum(cached)
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
        written = event.usage.output_tokens or 0
        usage = {
            "input_tokens": self._read,
            "output_tokens": written,
            "total_tokens": self._read + written,
        }
        yield MessageChunk(id=self._id, content="", usage=usage, finish_reason=event.delta.stop_reason)

    _EVENTS: ClassVar[dict[Any, Callable[..., Iterator[MessageChunk]]]] = {
        "message_start": _start,
        "content_block_start": _block,
        "content_block_delta": _delta,
        "message_delta": _end,
    }
