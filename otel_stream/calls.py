"""Calls that nodes make of models, tools and retrievers: what was asked, and what came of it.

A call is an identity, like a run and a task: it lasts as long as what it names, and the events of its start
and its end are about it. What is content is only made when somebody asks for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

Operation: TypeAlias = Literal["chat", "text_completion", "embeddings", "execute_tool", "retrieval"]

#: Messages, parts and definitions of tools in the form of OpenTelemetry's GenAI conventions.
Parts: TypeAlias = list[dict[str, Any]]

#: Times between chunks that a call remembers before it hands them on.
MANY_GAPS: Final = 4096


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the service counted them, None where it said nothing.

    ``input`` contains those that were read from a cache and written to it, ``output`` those of reasoning.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            input=_sum(self.input, other.input),
            output=_sum(self.output, other.output),
            cache_read=_sum(self.cache_read, other.cache_read),
            cache_write=_sum(self.cache_write, other.cache_write),
            reasoning=_sum(self.reasoning, other.reasoning),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call when it begins; None, or empty, what nobody told.

    ``name`` is that of the model, the tool, or what is searched. The rest is a model's but for ``call_id``,
    ``description`` and ``kind``, which are a tool's, and ``model``, that of a retriever's embeddings.
    ``api`` and ``service_tier`` are words of OpenAI's; ``dimensions`` and ``encodings`` are of embeddings.
    """

    name: str | None = None
    provider: str | None = None
    server_address: str | None = None
    server_port: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    choice_count: int | None = None
    output_type: str | None = None
    reasoning_level: str | None = None
    previous_response: str | None = None
    api: str | None = None
    service_tier: str | None = None
    dimensions: int | None = None
    encodings: tuple[str, ...] = ()
    call_id: str | None = None
    description: str | None = None
    kind: str | None = None
    model: str | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call: empty if it failed before anything did.

    ``failed``: what went wrong where nothing was raised, a tool that answers with an error, say.
    ``service_tier`` and ``fingerprint`` are OpenAI's; ``dimensions`` is the length of an embedding.
    """

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    fingerprint: str | None = None
    dimensions: int | None = None
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    failed: str | None = None


class Content(msgspec.Struct, kw_only=True):
    """What was said: of a model ``system`` to ``tools``, of a tool the next two, of a retriever the last."""

    system: Parts | None = None
    input: Parts | None = None
    output: Parts | None = None
    tools: Parts | None = None
    arguments: Any = None
    result: Any = None
    query: str | None = None
    documents: Parts | None = None


#: Makes the content of one side of a call.
MakeContent: TypeAlias = Callable[[], Content]


class Call:
    """One call of a model, a tool or a retriever."""

    __slots__ = (
        "answer",
        "answered",
        "asked",
        "context",
        "gaps",
        "last_chunk",
        "on_gaps",
        "operation",
        "question",
        "telemetry",
        "time_to_first_chunk",
        "told_elsewhere",
        "wants_answer",
    )

    def __init__(self, operation: Operation, asked: Asked, question: MakeContent | None = None) -> None:
        self.operation: Operation = operation
        self.asked = asked
        self.answered = Answered()
        #: What it was asked with, and what it answered.
        self.question = question
        self.answer: MakeContent | None = None
        #: Nanoseconds since the epoch; 0 before there is one.
        self.last_chunk = 0
        #: Nanoseconds from the start to the first chunk; None before there is one.
        self.time_to_first_chunk: int | None = None
        #: Nanoseconds between chunks.
        self.gaps = array("q")
        #: Takes them when there are many; None: nobody wants them.
        self.on_gaps: Callable[[Call], None] | None = None
        #: Whether another instrumentation makes a span of this call.
        self.told_elsewhere = False
        #: Whether what it answers is shown somewhere, once it has begun.
        self.wants_answer = False
        #: OpenTelemetry's context for what is done inside the call, once telemetry has made one.
        self.context: Any = None
        #: A slot for telemetry's own bookkeeping.
        self.telemetry: Any = None

    def chunk_came(self, now: int, started: int) -> None:
        """Take note of a chunk of the answer; both times in nanoseconds since the epoch."""
        if self.last_chunk:
            self.gaps.append(now - self.last_chunk)
            if len(self.gaps) >= MANY_GAPS:
                self._hand_on()
        else:
            self.time_to_first_chunk = max(0, now - started)
        self.last_chunk = now

    def _hand_on(self) -> None:
        if self.on_gaps is not None:
            self.on_gaps(self)
        del self.gaps[:]

    def __repr__(self) -> str:
        return f"Call({self.operation!r}, {self.asked.name!r})"


def given(values: Mapping[str, Any], *names: str) -> Any:
    """Return the first of ``names`` that has a value; None if none has."""
    return next((values[name] for name in names if values.get(name) is not None), None)


def number(value: Any) -> float | None:
    """Return ``value`` as a float if it is a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole(value: Any) -> int | None:
    """Return ``value`` if it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text(value: Any) -> str | None:
    """Return ``value`` if it is a text, and not an empty one."""
    return value if isinstance(value, str) and value else None


def reasoning_level(body: Mapping[str, Any]) -> str | None:
    """Return how much a request asks a model to think, in either of OpenAI's ways to say it."""
    about = body.get("reasoning")
    return text(about.get("effort") if isinstance(about, Mapping) else body.get("reasoning_effort"))


def texts(value: Any) -> tuple[str, ...]:
    """Return ``value``, a text or a sequence of them, as texts; empty if it is anything else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(one for one in value if isinstance(one, str))
    return ()
