"""Streams of the ``openai`` client as *messages*: of chat completions and of the Responses API.

    from otel_stream.adapters.openai import stream_messages

    async def answer(state):
        stream = await client.chat.completions.create(model=..., messages=..., stream=True)
        async for chunk in stream_messages(stream):
            ...

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

    ``stream`` is what ``create(stream=True)`` or ``.stream()`` of chat completions or responses returns,
    synchronous or asynchronous. Leaving the loop early closes it. ``metadata`` is added to that of the
    messages; a tag "nostream" there keeps them from being shown.

    Raises:
        ConfigError: ``stream`` can't be iterated; one that was not awaited, for example.
    """
    about = {"ls_provider": "openai", "ls_model_type": "chat", **(metadata or {})}
    return cast("StreamT", told(stream, _Reader(), about))


class _Reader:
    """Makes chunks of the events of one stream, all with the id that the service gave the answer."""

    def __init__(self) -> None:
        self._id: str | None = None

    def __call__(self, event: Any) -> Iterator[MessageChunk]:
        kind = getattr(event, "type", None)
        if kind == "chunk":  # the client's helper wraps what the service sends
            event = event.chunk
        if getattr(event, "choices", None) is not None:
            yield from self._completion(event)
        elif kind in self._RESPONSE:
            yield from self._RESPONSE[kind](self, event)

    def _name(self, given: str | None = None) -> str:
        # Not every server that speaks this protocol gives an answer an id.
        self._id = self._id or given or str(uuid.uuid4())
        return self._id

    # -- chat completions --------------------------------------------------------------------------

    def _completion(self, event: Any) -> Iterator[MessageChunk]:
        for choice in event.choices:
            name = self._name(event.id)
            # Several answers to one question are several messages.
            yield _of_choice(choice, f"{name}:{choice.index}" if choice.index else name)
        usage = getattr(event, "usage", None)
        if usage is not None:
            yield MessageChunk(
                id=self._name(event.id),
                content="",
                usage=_usage(usage.prompt_tokens, usage.completion_tokens),
            )

    # -- responses ---------------------------------------------------------------------------------

    def _created(self, event: Any) -> Iterator[MessageChunk]:
        self._name(event.response.id)
        yield from ()

    def _text(self, event: Any) -> Iterator[MessageChunk]:
        yield MessageChunk(id=self._name(), content=event.delta)

    def _refusal(self, event: Any) -> Iterator[MessageChunk]:
        yield MessageChunk(id=self._name(), content="", refusal=event.delta)

    def _reasoning(self, event: Any) -> Iterator[MessageChunk]:
        yield MessageChunk(id=self._name(), content="", reasoning=event.delta)

    def _item(self, event: Any) -> Iterator[MessageChunk]:
        item = event.item
        if item.type == "function_call":
            call = ToolCallChunk(
                index=event.output_index, id=item.call_id, name=item.name, args=item.arguments
            )
            yield MessageChunk(id=self._name(), content="", tool_calls=(call,))

    def _arguments(self, event: Any) -> Iterator[MessageChunk]:
        call = ToolCallChunk(index=event.output_index, args=event.delta)
        yield MessageChunk(id=self._name(), content="", tool_calls=(call,))

    def _completed(self, event: Any) -> Iterator[MessageChunk]:
        response = event.response
        used, details = response.usage, response.incomplete_details
        yield MessageChunk(
            id=self._name(response.id),
            content="",
            usage=None if used is None else _usage(used.input_tokens, used.output_tokens),
            finish_reason=getattr(details, "reason", None) or response.status,
        )

    _RESPONSE: ClassVar[dict[Any, Callable[..., Iterator[MessageChunk]]]] = {
        "response.created": _created,
        "response.output_item.added": _item,
        "response.output_text.delta": _text,
        "response.refusal.delta": _refusal,
        "response.reasoning_text.delta": _reasoning,
        "response.reasoning_summary_text.delta": _reasoning,
        "response.function_call_arguments.delta": _arguments,
        "response.completed": _completed,
        "response.incomplete": _completed,
        "response.failed": _completed,
    }


def _of_choice(choice: Any, name: str) -> MessageChunk:
    delta = choice.delta
    return MessageChunk(
        id=name,
        content=getattr(delta, "content", None) or "",
        refusal=getattr(delta, "refusal", None) or "",
        # Not OpenAI's own, but what most servers that speak its protocol call it.
        reasoning=getattr(delta, "reasoning_content", None) or "",
        tool_calls=tuple(
            ToolCallChunk(
                index=call.index,
                id=call.id,
                name=getattr(call.function, "name", None),
                args=getattr(call.function, "arguments", None) or "",
            )
            for call in getattr(delta, "tool_calls", None) or ()
        ),
        finish_reason=choice.finish_reason,
    )


def _usage(read: int, written: int) -> dict[str, int]:
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
