"""The calls behind clients' streams: what was asked is read off the request that a stream answers.

The request was sent before anybody hears of the stream, so the call has begun then: httpx keeps when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter, time_ns
from typing import Any, Protocol

from opentelemetry.trace import get_tracer_provider

from otel_stream.adapters import content
from otel_stream.adapters.chunks import MessageChunk, Speaker
from otel_stream.adapters.others import is_instrumented, is_wrapped
from otel_stream.adapters.providers import server_of
from otel_stream.calls import (
    Answered,
    Asked,
    Call,
    Content,
    Usage,
    given,
    number,
    reasoning_level,
    text,
    texts,
    whole,
)
from otel_stream.events import CallEnded, CallStarted, Event, Task
from otel_stream.telemetry.run import is_configured


class Reader(Protocol):
    """Makes chunks of the events of one stream, and remembers what the service says of its answer."""

    #: Who provides the model, and the key under which its requests have what they say first.
    provider: str
    id: str | None
    #: What the chunks of the answer have for an id, None before it is known.
    message_id: str | None
    model: str | None
    usage: Usage | None
    #: What OpenAI says besides.
    service_tier: str | None
    fingerprint: str | None
    #: By the place of the answer among several.
    finish_reasons: dict[int, str]

    def __call__(self, event: Any) -> Iterable[MessageChunk]:
        """Return chunks of an event."""
        ...

    def is_plain(self, event: Any) -> bool:
        """Tell whether an event says nothing but more of the answer, once it is known whose that is."""
        ...

    def text_of(self, event: Any) -> str | None:
        """Return the text of a plain event that has nothing else, None of any other; for ``message_id``."""
        ...

    def api(self, url: str) -> str | None:
        """Return which of the service's interfaces is at an address, where it has several."""
        ...


class ClientCall:
    """A call of a model whose answer a client streams, from the request to the end of the stream."""

    def __init__(
        self, call: Call, reader: Reader, emit: Callable[[Event], None], task: Task, started: int
    ) -> None:
        self._call = call
        self._reader = reader
        self._emit = emit
        self._task = task
        self._over = False
        self._said: list[MessageChunk] = []
        call.started = started
        emit(CallStarted(task, call, started))
        #: Whether chunks are wanted for what they say, not only for when they came.
        self.keeps = call.wants_answer
        #: Takes note that a chunk came that says nothing but more of the answer.
        self.came = call.noting()

    def heard(self, chunk: MessageChunk) -> None:
        """Take note of a chunk."""
        call = self._call
        if chunk.usage is None or chunk.content or call.time_to_first_chunk is None:
            self.came()
        if self.keeps:
            self._said.append(chunk)

    def end(self, error: BaseException | None = None) -> None:
        """Take note that the stream is over, whichever way; once."""
        if self._over:
            return
        self._over = True
        reader, call = self._reader, self._call
        places = sorted(reader.finish_reasons, key=lambda place: whole(place) or 0)
        reasons = tuple(str(reader.finish_reasons[place]) for place in places)
        call.answered = Answered(
            id=reader.id,
            model=reader.model,
            service_tier=reader.service_tier,
            fingerprint=reader.fingerprint,
            finish_reasons=reasons,
            usage=reader.usage,
        )
        call.answer = self._content
        self._emit(CallEnded(self._task, call, error, time_ns()))

    def _content(self) -> Content:
        found: dict[str | None, list[MessageChunk]] = {}
        for chunk in self._said:
            found.setdefault(chunk.id, []).append(chunk)
        reasons = self._reader.finish_reasons
        output = []
        for place, chunks in enumerate(found.values()):
            shown = content.message(_whole(chunks))
            output.append({**shown, "finish_reason": content.reason(reasons.get(place))})
        return Content(output=output)


def _whole(chunks: list[MessageChunk]) -> dict[str, Any]:
    """Return the message that chunks make up."""
    joined = MessageChunk(id=None, content="")
    for chunk in chunks:
        if chunk.tool_calls:
            joined += chunk
    text = "".join(chunk.content or chunk.refusal for chunk in chunks)
    thought = "".join(chunk.reasoning for chunk in chunks)
    blocks = [{"type": "reasoning", "reasoning": thought}] if thought else []
    blocks += [{"type": "text", "text": text}] if text else []
    calls = [{"id": call.id, "name": call.name, "args": call.args} for call in joined.tool_calls]
    return {"role": "assistant", "content": blocks, "tool_calls": calls}


def begin(stream: Any, reader: Reader, node: Speaker | None, since: int) -> ClientCall | None:
    """Tell that a model was called, if anybody wants to know; ``since``: the latest that it can have been.

    Returns None for what answers no request yet: a manager that has not been entered.
    """
    here = None if node is None else node.where()
    response = _response(stream)
    if here is None or response is None:
        return None
    emit, task = here
    request = getattr(response, "request", None)
    body, url = _body(request), getattr(request, "url", None)
    call = Call("chat", asked_of(reader.provider, body, url, reader.api(str(url))))
    call.question = lambda: question_of(body)
    # anthropic's client traces itself, and has wrapped the body of this response if it does.
    is_observed = hasattr(getattr(response, "stream", None), "stream_observer")
    read = any(map(is_wrapped, (stream, getattr(stream, "_raw_stream", None))))
    call.told_elsewhere = is_observed or read or is_instrumented(reader.provider)
    return ClientCall(call, reader, emit, task, _sent(response) or since)


def _response(stream: Any) -> Any:
    """Return the response that a stream reads, None if it has none."""
    for holder in (stream, getattr(stream, "_raw_stream", None)):
        response = getattr(holder, "response", None)
        if response is not None and hasattr(response, "headers"):
            return response
    return None


def _sent(response: Any) -> int | None:
    """Return when the request was sent, in nanoseconds since the epoch; None if that is not kept."""
    body, began = getattr(response, "stream", None), None
    while body is not None and began is None:
        began = getattr(body, "_start", None)
        body = getattr(body, "_body", None) or getattr(body, "_async_body", None)
    if not isinstance(began, float):
        return None
    return time_ns() - max(0, int((perf_counter() - began) * 1e9))


def _body(request: Any) -> Mapping[str, Any]:
    try:
        found = json.loads(request.content)
    except Exception:  # noqa: BLE001 - a request whose body was streamed, or that is no JSON, tells nothing
        return {}
    return found if isinstance(found, dict) else {}


def traces_itself(client: Any) -> bool:
    """Tell whether a client makes spans of its calls itself, as anthropic's does unless it is told not to."""
    if not is_configured(get_tracer_provider()):
        return False
    told = getattr(client, "open_telemetry", None)
    traces = told.get("traces") if isinstance(told, Mapping) else None
    return isinstance(traces, Mapping) and bool(traces.get("enabled"))


def asked_of(provider: str, body: Mapping[str, Any], url: Any, api: str | None = None) -> Asked:
    """Return what the body of a request, sent to ``url`` in the words of ``api``, asks for."""
    address, port = server_of(url)
    form = body.get("response_format")
    if form is None and isinstance(body.get("text"), Mapping):
        form = body["text"].get("format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    reached = "azure.ai.openai" if provider == "openai" and str(address).endswith(".azure.com") else provider
    return Asked(
        name=body.get("model") if isinstance(body.get("model"), str) else None,
        provider=reached,
        server_address=address,
        server_port=port,
        temperature=number(body.get("temperature")),
        top_p=number(body.get("top_p")),
        top_k=number(body.get("top_k")),
        max_tokens=whole(given(body, "max_completion_tokens", "max_output_tokens", "max_tokens")),
        frequency_penalty=number(body.get("frequency_penalty")),
        presence_penalty=number(body.get("presence_penalty")),
        seed=whole(body.get("seed")),
        stop_sequences=texts(given(body, "stop", "stop_sequences")),
        choice_count=whole(body.get("n")),
        output_type=None if kind is None else "text" if kind == "text" else "json",
        reasoning_level=reasoning_level(body),
        previous_response=text(body.get("previous_response_id")),
        api=api,
        service_tier=text(body.get("service_tier")) if provider == "openai" else None,
        dimensions=whole(body.get("dimensions")),
        encodings=texts(body.get("encoding_format")),
    )


def question_of(body: Mapping[str, Any]) -> Content:
    """Return what the body of a request says to the model."""
    said = given(body, "messages", "input")
    apart = given(body, "system", "instructions")
    return Content(
        system=content.parts(apart) or None,
        input=content.messages([said] if isinstance(said, str) else said or ()),
        tools=content.definitions(body.get("tools")) or None,
    )
