"""Chunks of messages from clients that are not LangChain's, and the way to the node that they are heard in.

A leaf that knows neither client nor engine: clients' adapters make chunks here, and an engine makes itself
known with ``register``, so that a chunk finds the node that is running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from otel_stream.calls import Usage
from otel_stream.events import Event, Task


class ToolCallChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a tool call; pieces of one call have the same ``index``. ``args`` is a piece of JSON."""

    index: int
    id: str | None = None
    name: str | None = None
    args: str = ""


class MessageChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a message; pieces of one message have the same ``id``, and ``+`` joins them.

    ``usage`` counts tokens (``input_tokens``, ``output_tokens``, ``total_tokens``, and parts of the first two
    as LangChain's ``usage_metadata`` has them, if there are any) and, like ``finish_reason``, comes once per
    message.
    """

    id: str | None
    content: str
    role: str = "assistant"
    #: What a model thinks aloud, and what it says where it refuses to answer.
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallChunk, ...] = ()
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None

    def __add__(self, other: MessageChunk) -> MessageChunk:
        if not isinstance(other, MessageChunk):
            return NotImplemented
        return MessageChunk(
            id=self.id,
            content=self.content + other.content,
            role=self.role,
            reasoning=self.reasoning + other.reasoning,
            refusal=self.refusal + other.refusal,
            tool_calls=_joined(self.tool_calls, other.tool_calls),
            usage=other.usage or self.usage,
            finish_reason=other.finish_reason or self.finish_reason,
        )


def usage_metadata(usage: Usage) -> dict[str, Any]:
    """Return counts as a chunk has them, and as LangChain's ``usage_metadata`` does."""
    read, written = usage.input or 0, usage.output or 0
    found: dict[str, Any] = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    of_read = {"cache_read": usage.cache_read, "cache_creation": usage.cache_write}
    if of_read := {name: count for name, count in of_read.items() if count}:
        found["input_token_details"] = of_read
    if usage.reasoning:
        found["output_token_details"] = {"reasoning": usage.reasoning}
    return found


def _joined(first: tuple[ToolCallChunk, ...], then: tuple[ToolCallChunk, ...]) -> tuple[ToolCallChunk, ...]:
    calls = {call.index: call for call in first}
    for piece in then:
        call = calls.get(piece.index)
        calls[piece.index] = piece if call is None else _longer(call, piece)
    return tuple(calls.values())


def _longer(call: ToolCallChunk, piece: ToolCallChunk) -> ToolCallChunk:
    return ToolCallChunk(
        index=call.index, id=call.id or piece.id, name=call.name or piece.name, args=call.args + piece.args
    )


#: Shows a chunk now, and not once more when the node returns a message with its ``id``.
Show: TypeAlias = Callable[[Any], None]
#: Asked before each chunk: what shows it; None if nobody wants messages now.
Ask: TypeAlias = Callable[[], Show | None]


class Speaker(Protocol):
    """A node that is running, as the one on whose behalf messages are shown."""

    def asking(self, metadata: Mapping[str, Any]) -> Ask:
        """Return what is asked before each chunk of one stream; ``metadata`` goes with all of them."""
        ...

    def where(self) -> tuple[Callable[[Event], None], Task] | None:
        """Return whom to tell of a call the node makes, and whose it is; None if nobody wants to know."""
        ...


#: Finds the node that is running where it is called; None outside of a node.
FindSpeaker: TypeAlias = Callable[[], Speaker | None]

_ENGINES: Final[list[FindSpeaker]] = []


def register(find: FindSpeaker) -> None:
    """Make an engine known: ``find`` returns its node that is running here. Idempotent."""
    if find not in _ENGINES:
        _ENGINES.append(find)


def speaker() -> Speaker | None:
    """Return the node that is running here, None outside of one."""
    return next((found for find in _ENGINES if (found := find()) is not None), None)
