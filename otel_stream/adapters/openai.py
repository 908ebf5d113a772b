"""Streams of the ``openai`` client as *messages*, and its calls: of chat completions and the Responses API.

    from otel_stream.adapters.openai import stream_messages

    async def answer(state):
        stream = await client.chat.completions.create(model=..., messages=..., stream=True)
        async for chunk in stream_messages(stream):
            ...

    client = tell_calls(openai.AsyncOpenAI())  # and what is not streamed is told, too

It imports nothing of the client: what an event is, is read off its fields.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast

from otel_stream.adapters import content
from otel_stream.adapters.chunks import MessageChunk, ToolCallChunk, usage_metadata
from otel_stream.adapters.client_requests import tell_requests
from otel_stream.adapters.client_streams import told
from otel_stream.adapters.content import field
from otel_stream.calls import Answered, Content, Operation, Usage, text, whole

StreamT = TypeVar("StreamT")
ClientT = TypeVar("ClientT")


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

    provider = "openai"
    paths: Mapping[str, Operation] = MappingProxyType(
        {"/chat/completions": "chat", "/responses": "chat", "/embeddings": "embeddings"}
    )

    def api(self, url: str) -> str | None:
        return _api(url)

    def answered(self, answer: Any) -> Answered:
        used, choices, vectors = (field(answer, name) for name in ("usage", "choices", "data"))
        if choices is not None:
            reasons = tuple(str(reason) for one in choices if (reason := field(one, "finish_reason")))
        else:
            reasons = tuple(filter(None, (_reason(answer),)))
        return Answered(
            id=field(answer, "id"),
            model=field(answer, "model"),
            service_tier=text(field(answer, "service_tier")),
            fingerprint=text(field(answer, "system_fingerprint")),
            finish_reasons=reasons,
            usage=None if used is None else _usage(used),
            dimensions=_length(vectors),
        )

    def content(self, answer: Any) -> Content:
        choices = field(answer, "choices")
        if choices is None:
            items = content.items(field(answer, "output") or ())
            return Content(
                output=[
                    {"role": "assistant", "parts": items, "finish_reason": content.reason(_reason(answer))}
                ]
            )
        said = [
            {
                **content.message(field(one, "message")),
                "finish_reason": content.reason(field(one, "finish_reason")),
            }
            for one in choices
        ]
        return Content(output=said)


def _api(url: str) -> str | None:
    """Return what the convention calls the interface at an address."""
    path = url.partition("?")[0]
    ends = {"/chat/completions": "chat_completions", "/responses": "responses"}
    return next((name for end, name in ends.items() if path.endswith(end)), None)


def _length(vectors: Any) -> int | None:
    """Return how many numbers the first of several embeddings has; None of one that is still encoded."""
    first = field(vectors[0], "embedding") if isinstance(vectors, list) and vectors else None
    return len(first) if isinstance(first, list) else None


def _reason(response: Any) -> str | None:
    """Return why a model stopped whose answer is one of the Responses API."""
    reason = field(field(response, "incomplete_details"), "reason") or field(response, "status")
    return reason if isinstance(reason, str) else None


def _usage(used: Any) -> Usage:
    """Return the counts of either API."""
    read, written = (
        ("prompt", "completion") if field(used, "prompt_tokens") is not None else ("input", "output")
    )
    return _counted(
        field(used, f"{read}_tokens"),
        field(used, f"{written}_tokens"),
        field(used, f"{read}_tokens_details"),
        field(used, f"{written}_tokens_details"),
    )


class _Reader:
    """Makes chunks of the events of one stream, all with the id that the service gave the answer."""

    provider = "openai"

    def __init__(self) -> None:
        self.message_id: str | None = None
        #: What the service says of its answer: its id, not one that was made up here.
        self.id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.service_tier: str | None = None
        self.fingerprint: str | None = None
        self.finish_reasons: dict[int, str] = {}

    def api(self, url: str) -> str | None:
        return _api(url)

    def is_plain(self, event: Any) -> bool:
        if self.model is None or getattr(event, "usage", None) is not None:
            return False
        choices = getattr(event, "choices", None)
        return choices is not None and len(choices) == 1 and not choices[0].finish_reason

    def text_of(self, event: Any) -> str | None:
        choices = getattr(event, "choices", None)
        if choices is None:
            return event.delta if getattr(event, "type", None) == "response.output_text.delta" else None
        # What ``is_plain`` asks, and more: in one, since it is asked of every chunk that is shown.
        if self.model is None or len(choices) != 1 or getattr(event, "usage", None) is not None:
            return None
        choice, delta = choices[0], choices[0].delta
        if choice.finish_reason or choice.index or delta is None or _says_more(delta):
            return None
        return getattr(delta, "content", None) or ""

    def __call__(self, event: Any) -> Sequence[MessageChunk]:
        if getattr(event, "choices", None) is not None:  # asked first: a field that is missing takes longer
            return self._completion(event)
        kind = getattr(event, "type", None)
        if kind == "chunk":  # the client's helper wraps what the service sends
            return self(event.chunk)
        make = self._RESPONSE.get(kind)
        return () if make is None else make(self, event)

    def _name(self, given: str | None = None) -> str:
        # Not every server that speaks this protocol gives an answer an id.
        self.id = self.id or given
        self.message_id = self.message_id or given or str(uuid.uuid4())
        return self.message_id

    # -- chat completions --------------------------------------------------------------------------

    def _completion(self, event: Any) -> Sequence[MessageChunk]:
        if self.model is None:
            self._about(event)
        found = []
        for choice in event.choices:
            name = self.message_id if self.id and self.message_id else self._name(event.id)
            if choice.finish_reason:
                self.finish_reasons[choice.index] = choice.finish_reason
                self._about(event)
            # Several answers to one question are several messages.
            found.append(_of_choice(choice, f"{name}:{choice.index}" if choice.index else name))
        usage = getattr(event, "usage", None)
        if usage is not None:
            self.usage = _usage(usage)
            self._about(event)
            found.append(MessageChunk(id=self._name(event.id), content="", usage=usage_metadata(self.usage)))
        return found

    def _about(self, said: Any) -> None:
        """Take note of what the service says of itself: at the start, and again at the end."""
        self.model = getattr(said, "model", None) or self.model
        self.service_tier = text(getattr(said, "service_tier", None)) or self.service_tier
        self.fingerprint = text(getattr(said, "system_fingerprint", None)) or self.fingerprint

    # -- responses ---------------------------------------------------------------------------------

    def _created(self, event: Any) -> Sequence[MessageChunk]:
        self._name(event.response.id)
        self._about(event.response)
        return ()

    def _text(self, event: Any) -> Sequence[MessageChunk]:
        return (MessageChunk(id=self._name(), content=event.delta),)

    def _refusal(self, event: Any) -> Sequence[MessageChunk]:
        return (MessageChunk(id=self._name(), content="", refusal=event.delta),)

    def _reasoning(self, event: Any) -> Sequence[MessageChunk]:
        return (MessageChunk(id=self._name(), content="", reasoning=event.delta),)

    def _item(self, event: Any) -> Sequence[MessageChunk]:
        item = event.item
        if item.type != "function_call":
            return ()
        call = ToolCallChunk(index=event.output_index, id=item.call_id, name=item.name, args=item.arguments)
        return (MessageChunk(id=self._name(), content="", tool_calls=(call,)),)

    def _arguments(self, event: Any) -> Sequence[MessageChunk]:
        call = ToolCallChunk(index=event.output_index, args=event.delta)
        return (MessageChunk(id=self._name(), content="", tool_calls=(call,)),)

    def _completed(self, event: Any) -> Sequence[MessageChunk]:
        response = event.response
        if response.usage is not None:
            self.usage = _usage(response.usage)
        reason = _reason(response) or "completed"
        self._about(response)
        self.finish_reasons[0] = reason
        counted = None if self.usage is None else usage_metadata(self.usage)
        return (MessageChunk(id=self._name(response.id), content="", usage=counted, finish_reason=reason),)

    _RESPONSE: ClassVar[dict[Any, Callable[..., Sequence[MessageChunk]]]] = {
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


def _says_more(delta: Any) -> bool:
    """Tell whether a delta says something besides text.

    It is looked up where it is kept: of a field that is missing, pydantic takes a microsecond to say so.
    """
    own = getattr(delta, "__dict__", None)
    if own is None:
        return any(getattr(delta, name, None) for name in ("tool_calls", "refusal", "reasoning_content"))
    if own.get("tool_calls") or own.get("refusal") or own.get("reasoning_content"):
        return True
    more = getattr(delta, "__pydantic_extra__", None)
    return more is not None and bool(
        more.get("tool_calls") or more.get("refusal") or more.get("reasoning_content")
    )


def _of_choice(choice: Any, name: str) -> MessageChunk:
    delta = choice.delta
    calls = getattr(delta, "tool_calls", None)
    return MessageChunk(
        id=name,
        content=getattr(delta, "content", None) or "",
        refusal=getattr(delta, "refusal", None) or "",
        # Not OpenAI's own, but what most servers that speak its protocol call it.
        reasoning=getattr(delta, "reasoning_content", None) or "",
        tool_calls=tuple(map(_of_call, calls)) if calls else (),
        finish_reason=choice.finish_reason,
    )


def _of_call(call: Any) -> ToolCallChunk:
    return ToolCallChunk(
        index=call.index,
        id=call.id,
        name=getattr(call.function, "name", None),
        args=getattr(call.function, "arguments", None) or "",
    )


def _counted(read: Any, written: Any, of_read: Any, of_written: Any) -> Usage:
    """Return counts of a service, those left out that are no whole numbers: servers of others vary."""
    return Usage(
        input=whole(read),
        output=whole(written),
        cache_read=whole(field(of_read, "cached_tokens")),
        cache_write=whole(field(of_read, "cache_write_tokens")),
        reasoning=whole(field(of_written, "reasoning_tokens")),
    )
