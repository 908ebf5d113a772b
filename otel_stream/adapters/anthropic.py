"""Streams of the ``anthropic`` client as *messages*, and its calls.

    from otel_stream.adapters.anthropic import stream_messages

    async def answer(state):
        async with stream_messages(client.messages.stream(model=..., messages=..., max_tokens=...)) as stream:
            async for text in stream.text_stream:
                ...
            return {"answer": await stream.get_final_text()}

    client = tell_calls(anthropic.AsyncAnthropic())  # and what is not streamed is told, too

It imports nothing of the client: what an event is, is read off its fields.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar, cast

from otel_stream.adapters import content
from otel_stream.adapters.chunks import MessageChunk, ToolCallChunk, usage_metadata
from otel_stream.adapters.client_requests import tell_requests
from otel_stream.adapters.client_streams import told
from otel_stream.adapters.content import field
from otel_stream.calls import Answered, Content, Operation, Usage, whole

StreamT = TypeVar("StreamT")
ClientT = TypeVar("ClientT")


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


def tell_calls(client: ClientT) -> ClientT:
    """Return ``client``, whose calls of models in nodes are told from now on.

    They are those that are not streamed, and those whose stream never begins; give streams to
    ``stream_messages``. A call lasts from before its request is sent until its answer is there, retries
    included. The client is changed, not wrapped; copies of it (``with_options``) are not.

    Raises:
        ConfigError: ``client`` is no client.
    """
    tell_requests(client, _Service())
    return client


class _Service:
    """What is told of answers that come as a whole."""

    provider = "anthropic"
    paths: Mapping[str, Operation] = MappingProxyType({"/v1/messages": "chat"})

    def api(self, url: str) -> str | None:
        return None

    def answered(self, answer: Any) -> Answered:
        used, reason = field(answer, "usage"), field(answer, "stop_reason")
        counts = {name: count for name in _COUNTS if (count := whole(field(used, name))) is not None}
        return Answered(
            id=field(answer, "id"),
            model=field(answer, "model"),
            finish_reasons=(reason,) if isinstance(reason, str) else (),
            usage=None if used is None else _usage(counts, used),
        )

    def content(self, answer: Any) -> Content:
        said = {"role": "assistant", "parts": content.parts(field(answer, "content"))}
        return Content(output=[{**said, "finish_reason": content.reason(field(answer, "stop_reason"))}])


_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


#: Kinds of deltas that say something.
_SAID: Final = frozenset({"text_delta", "thinking_delta", "input_json_delta"})


class _Reader:
    """Makes chunks of the events of one stream, all with the id that the service gave the message."""

    provider = "anthropic"
    service_tier: str | None = None
    fingerprint: str | None = None

    def __init__(self) -> None:
        self.message_id: str | None = str(uuid.uuid4())
        #: What the service says of its answer: its id, not one that was made up here.
        self.id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.finish_reasons: dict[int, str] = {}
        #: Counts of the service as they came last; those of what was read leave caches out.
        self._counts: dict[str, int] = {}

    def api(self, url: str) -> str | None:
        return None

    def is_plain(self, event: Any) -> bool:
        return getattr(event, "type", None) == "content_block_delta" and event.delta.type in _SAID

    def text_of(self, event: Any) -> str | None:
        if getattr(event, "type", None) != "content_block_delta" or event.delta.type != "text_delta":
            return None
        text: str = event.delta.text
        return text

    def __call__(self, event: Any) -> Sequence[MessageChunk]:
        make = self._EVENTS.get(getattr(event, "type", None))
        return () if make is None else make(self, event)

    def _start(self, event: Any) -> Sequence[MessageChunk]:
        self.id = event.message.id
        self.message_id = self.id or self.message_id
        self.model = getattr(event.message, "model", None)
        self._count(event.message.usage)
        return (MessageChunk(id=self.message_id, content=""),)

    def _block(self, event: Any) -> Sequence[MessageChunk]:
        block = event.content_block
        if block.type not in {"tool_use", "server_tool_use"}:
            return ()
        call = ToolCallChunk(index=event.index, id=block.id, name=block.name)
        return (MessageChunk(id=self.message_id, content="", tool_calls=(call,)),)

    def _delta(self, event: Any) -> Sequence[MessageChunk]:
        delta = event.delta
        if delta.type == "text_delta":
            return (MessageChunk(id=self.message_id, content=delta.text),)
        if delta.type == "thinking_delta":
            return (MessageChunk(id=self.message_id, content="", reasoning=delta.thinking),)
        if delta.type == "input_json_delta":
            call = ToolCallChunk(index=event.index, args=delta.partial_json)
            return (MessageChunk(id=self.message_id, content="", tool_calls=(call,)),)
        return ()

    def _end(self, event: Any) -> Sequence[MessageChunk]:
        counted = self._count(event.usage)
        if event.delta.stop_reason:
            self.finish_reasons[0] = event.delta.stop_reason
        told = usage_metadata(counted)
        reason = event.delta.stop_reason
        return (MessageChunk(id=self.message_id, content="", usage=told, finish_reason=reason),)

    def _count(self, usage: Any) -> Usage:
        for name in _COUNTS:
            count = whole(getattr(usage, name, None))
            if count is not None:
                self._counts[name] = count
        self.usage = _usage(self._counts, usage)
        return self.usage

    _EVENTS: ClassVar[dict[Any, Callable[..., Sequence[MessageChunk]]]] = {
        "message_start": _start,
        "content_block_start": _block,
        "content_block_delta": _delta,
        "message_delta": _end,
    }


def _usage(counts: Mapping[str, int], last: Any) -> Usage:
    """Return what was counted: of what was read, the service leaves caches out."""
    read, written, stored, cached = (counts.get(name) for name in _COUNTS)
    return Usage(
        input=(read or 0) + (stored or 0) + (cached or 0),
        output=written or 0,
        cache_read=cached,
        cache_write=stored,
        reasoning=whole(field(field(last, "output_tokens_details"), "thinking_tokens")),
    )
