"""Calls that nodes make of models, tools and retrievers: what was asked, and what came of it.

A call is an identity, like a run and a task: it lasts as long as what it names, and the events of its start
and its end are about it. What is content is only made when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import sub
from time import time_ns
from typing import Any, Final, Literal, TypeAlias

import msgspec

Operation: TypeAlias = Literal["chat", "text_completion", "embeddings", "execute_tool", "retrieval"]

#: Messages, parts and definitions of tools in the form of OpenTelemetry's GenAI conventions.
Parts: TypeAlias = list[dict[str, Any]]

#: Chunks of whose times a call remembers before it hands on what lies between them.
MANY_CHUNKS: Final = 4096


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
        "_first_chunk",
        "answer",
        "answered",
        "asked",
        "context",
        "on_chunks",
        "operation",
        "question",
        "started",
        "telemetry",
        "times",
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
        #: When it began, and when its chunks came: from the last one on of those whose gaps were taken. In
        #: nanoseconds since the epoch.
        self.started = 0
        self.times: list[int] = []
        self._first_chunk: int | None = None
        #: Takes what lies between chunks when there are many; None: nobody wants it.
        self.on_chunks: Callable[[Call], None] | None = None
        #: Whether another instrumentation makes a span of this call.
        self.told_elsewhere = False
        #: Whether what it answers is shown somewhere, once it has begun.
        self.wants_answer = False
        #: OpenTelemetry's context for what is done inside the call, once telemetry has made one.
        self.context: Any = None
        #: A slot for telemetry's own bookkeeping.
        self.telemetry: Any = None

    def chunk_came(self) -> None:
        """Take note that a chunk of the answer came just now."""
        self.noting()()

    def noting(self) -> Callable[[], None]:
        """Return what does ``chunk_came`` in half the time, for who has many."""
        times, now, hand_on = self.times, time_ns, self.hand_on
        append = times.append

        def came() -> None:
            append(now())
            if len(times) > MANY_CHUNKS:
                hand_on()

        return came

    def hand_on(self) -> None:
        """Have what lies between chunks taken, and forget it: there are many."""
        if self.on_chunks is not None:
            self.on_chunks(self)
        self.take_gaps()

    @property
    def time_to_first_chunk(self) -> int | None:
        """Nanoseconds from the start to the first chunk; None before there is one."""
        first = self._first_chunk or (self.times[0] if self.times else None)
        return None if first is None else max(0, first - self.started)

    def take_gaps(self) -> list[int]:
        """Return the nanoseconds between chunks, once: what is returned is forgotten."""
        times = self.times
        if not times:
            return []
        self._first_chunk = self._first_chunk or times[0]
        gaps = [*map(sub, times[1:], times)]
        del times[:-1]
        return [max(0, gap) for gap in gaps] if gaps and min(gaps) < 0 else gaps

    def __repr__(self) -> str:
        return f"Call({self.operation!r}, {self.asked.name!r})"


def given(values: Mapping[str, Any], *names: str) -> Any:
    """Return the first of ``names`` that has a value; None if none has."""
    for name in names:
        value = values.get(name)
        if value is not None:
            return value
    return None


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
