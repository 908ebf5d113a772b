"""LangChain's models, tools and retrievers, called in nodes, as calls.

A handler tells of them; it changes nothing about how they run. What is done inside a call finds its span as
the current one where the call is a frame of LangChain's that can be wrapped: a tool's run, and the request of
a model that is invoked. Of a model's own ``stream`` the chunks come to the node one by one, and a context
that was made current for it would be current in the node, too: so there it is not.

Importing it loads LangChain.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from time import time_ns
from typing import Any, Final, TypeAlias

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import chat_models
from langchain_core.tools import BaseTool
from opentelemetry.context import attach, get_current

from otel_stream.adapters import content
from otel_stream.adapters.langchain_tokens import goes_on, tell_at_once
from otel_stream.adapters.others import told_by_client, told_by_langchain
from otel_stream.adapters.providers import provider_name, server_in
from otel_stream.calls import (
    Answered,
    Asked,
    Call,
    Content,
    Operation,
    Usage,
    given,
    number,
    reasoning_level,
    text,
    texts,
    whole,
)
from otel_stream.events import CallEnded, CallStarted, Event, Task

#: Who is told of a call that is made here, and of which task it is; None outside of a node.
Where: TypeAlias = Callable[[], "tuple[Callable[[Event], None], Task] | None"]

#: What raises and is no failure: a graph that stops, or goes on elsewhere. Known by their names: neither
#: engine's classes can be imported here.
_PAUSES: Final = frozenset({"GraphInterrupt", "GraphDrained", "GraphBubbleUp", "ParentCommand"})

#: Who says what the convention has names of OpenAI's own for.
_OPENAI: Final = frozenset({"openai", "azure.ai.openai"})


class CallsHandler(BaseCallbackHandler):
    """Tells of the models, tools and retrievers that nodes call."""

    #: Told where the call is made, in its context.
    run_inline = True
    #: One of a task's own: of an enclosing task's it takes the place.
    of_a_task = True
    # LangChain declares these as properties, and reads them as attributes. Agents are what it calls tools.
    ignore_chain = ignore_retry = ignore_custom_event = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, where: Where) -> None:
        super().__init__()
        _let_calls_be_current()
        self._where = where
        #: Calls in progress, by LangChain's ids of their runs, and whom to tell.
        self._calls: dict[uuid.UUID, tuple[Call, Callable[[Event], None], Task]] = {}

    def call(self, run_id: uuid.UUID) -> Call | None:
        """Return the call in progress with this id."""
        found = self._calls.get(run_id)
        return None if found is None else found[0]

    def _start(self, run_id: uuid.UUID, make: Callable[[], Call]) -> Call | None:
        here = self._where()
        if here is None:
            return None
        emit, task = here
        call, now = make(), time_ns()
        call.told_elsewhere = told_by_langchain() or told_by_client(call.asked.provider)
        call.started = now
        self._calls[run_id] = call, emit, task
        emit(CallStarted(task, call, now))
        return call

    def _end(self, run_id: uuid.UUID, error: BaseException | None) -> None:
        found = self._calls.pop(run_id, None)
        if found is not None:
            call, emit, task = found
            emit(CallEnded(task, call, None if is_pause(error) else error, time_ns()))

    # -- models -----------------------------------------------------------------------------------------

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[Any]], *, run_id: uuid.UUID, **about: Any
    ) -> None:
        self._start(run_id, partial(_model, "chat", serialized, messages, about))

    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: uuid.UUID, **about: Any
    ) -> None:
        self._start(run_id, partial(_model, "text_completion", serialized, [[one] for one in prompts], about))

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: uuid.UUID, **_: Any) -> None:
        call = self.call(run_id)
        if call is not None and (token or goes_on(chunk)):
            call.chunk_came()

    def takes(self, run_id: uuid.UUID) -> Call | None:
        """Return the call that is to note when its chunks came, None if it is not told of."""
        return self.call(run_id)

    def on_stream_event(self, event: Mapping[str, Any], *, run_id: uuid.UUID, **_: Any) -> None:
        """Take note of a chunk, where models tell them by the events of LangGraph's protocol."""
        call = self.call(run_id)
        if call is not None and event.get("event") == "content-block-delta":
            call.chunk_came()

    def on_llm_end(self, response: Any, *, run_id: uuid.UUID, **_: Any) -> None:
        call = self.call(run_id)
        if call is not None:
            _answer(call, response)
        self._end(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: uuid.UUID, **about: Any) -> None:
        call, response = self.call(run_id), about.get("response")
        if call is not None and getattr(response, "generations", None):
            _answer(call, response)
        self._end(run_id, error)

    # -- tools ------------------------------------------------------------------------------------------

    def on_tool_start(
        self, serialized: dict[str, Any] | None, input_str: str, *, run_id: uuid.UUID, **about: Any
    ) -> None:
        call = self._start(run_id, partial(_tool, serialized or {}, input_str, about))
        if _BEGINS.get() and call is not None and call.context is not None:
            _BEGINS.set(False)
            attach(call.context)  # the frame of the tool's run puts back what was before

    def on_tool_end(self, output: Any, *, run_id: uuid.UUID, **_: Any) -> None:
        call = self.call(run_id)
        if call is not None:
            if getattr(output, "status", None) == "error":
                call.answered = Answered(failed="tool_error")
            call.answer = partial(_result, output)
        self._end(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:
        self._end(run_id, error)

    # -- retrievers -------------------------------------------------------------------------------------

    def on_retriever_start(
        self, serialized: dict[str, Any] | None, query: str, *, run_id: uuid.UUID, **about: Any
    ) -> None:
        self._start(run_id, partial(_retrieval, serialized or {}, query, about))

    def on_retriever_end(self, documents: Sequence[Any], *, run_id: uuid.UUID, **_: Any) -> None:
        call = self.call(run_id)
        if call is not None:
            call.answer = partial(_documents, documents)
        self._end(run_id, None)

    def on_retriever_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:
        self._end(run_id, error)


def is_pause(error: BaseException | None) -> bool:
    """Tell whether what was raised only stops the graph, or sends it elsewhere."""
    return error is not None and any(kind.__name__ in _PAUSES for kind in type(error).__mro__)


# -- what LangChain tells ---------------------------------------------------------------------------------


def _model(operation: Operation, serialized: Any, asked: list[list[Any]], about: Mapping[str, Any]) -> Call:
    metadata = about.get("metadata") or {}
    settings = about.get("invocation_params") or {}
    kwargs = (serialized or {}).get("kwargs") or {}
    address, port = server_in({**kwargs, **settings})
    provider = provider_name(metadata.get("ls_provider"))
    request = Asked(
        name=text(given(settings, "model_name", "model_id", "model") or metadata.get("ls_model_name")),
        provider=provider,
        server_address=address,
        server_port=port,
        temperature=number(given({**metadata, **settings}, "temperature", "ls_temperature")),
        top_p=number(settings.get("top_p")),
        top_k=number(settings.get("top_k")),
        max_tokens=whole(
            given({**metadata, **settings}, "max_completion_tokens", "max_tokens", "ls_max_tokens")
        ),
        frequency_penalty=number(settings.get("frequency_penalty")),
        presence_penalty=number(settings.get("presence_penalty")),
        seed=whole(settings.get("seed")),
        stop_sequences=texts(given({**metadata, **settings}, "stop", "stop_sequences", "ls_stop")),
        choice_count=whole(settings.get("n")),
        output_type=output_type(settings.get("response_format")),
        reasoning_level=reasoning_level(settings),
        previous_response=text(settings.get("previous_response_id")),
        service_tier=text(settings.get("service_tier")) if provider in _OPENAI else None,
    )
    said = [message for messages in asked for message in messages]
    tools = given(settings, "tools", "functions")
    return Call(operation, request, lambda: _question(said, tools))


def _question(said: list[Any], tools: Any) -> Content:
    return Content(input=content.messages(said), tools=content.definitions(tools) or None)


def output_type(response_format: Any) -> str | None:
    """Return the kind of output that a request asks for, None if it names no format."""
    kind = response_format.get("type") if isinstance(response_format, Mapping) else response_format
    if kind is None:
        return None
    return "text" if kind == "text" else "json"


def _answer(call: Call, response: Any) -> None:
    """Take in the answer of a model."""
    generations = [one for several in response.generations for one in several]
    messages = [message for one in generations if (message := getattr(one, "message", None)) is not None]
    told: list[Mapping[str, Any]] = [getattr(one, "response_metadata", None) or {} for one in messages]
    first = told[0] if told else getattr(response, "llm_output", None) or {}
    usage: Usage | None = None
    for message in messages:
        found = usage_of(getattr(message, "usage_metadata", None))
        usage = found if usage is None or found is None else usage + found
    reasons = tuple(
        str(found)
        for one in told
        if (found := given(one, "finish_reason", "stop_reason", "stopReason", "done_reason")) is not None
    )
    openai = first if call.asked.provider in _OPENAI else {}
    call.answered = Answered(
        service_tier=text(openai.get("service_tier")),
        fingerprint=text(openai.get("system_fingerprint")),
        id=text(first.get("id")) or _service_id(messages),
        model=text(given(first, "model_name", "model")),
        finish_reasons=reasons,
        usage=usage or _usage_of_output(getattr(response, "llm_output", None)),
    )
    call.answer = lambda: _said(generations, reasons)


def _said(generations: Sequence[Any], reasons: Sequence[str]) -> Content:
    found = []
    for place, one in enumerate(generations):
        message = getattr(one, "message", None)
        shown = content.message(
            message if message is not None else {"role": "assistant", "content": one.text}
        )
        shown["role"] = "assistant"
        shown["finish_reason"] = content.reason(reasons[place] if place < len(reasons) else None)
        found.append(shown)
    return Content(output=found)


def _service_id(messages: Sequence[Any]) -> str | None:
    """Return the id of the answer, unless LangChain has made it."""
    id = text(getattr(messages[0], "id", None)) if messages else None
    return None if id is None or id.startswith(("lc_", "run-")) else id


def usage_of(told: Mapping[str, Any] | None) -> Usage | None:
    """Return what ``usage_metadata`` says; nothing of an answer that comes from LangChain's cache."""
    if not told or "total_cost" in told:
        return None
    read, written = told.get("input_token_details") or {}, told.get("output_token_details") or {}
    stored = read.get("cache_creation") or sum(
        whole(read.get(f"ephemeral_{time}_input_tokens")) or 0 for time in ("5m", "1h")
    )
    return Usage(
        input=whole(told.get("input_tokens")),
        output=whole(told.get("output_tokens")),
        cache_read=whole(read.get("cache_read")),
        cache_write=whole(stored) or None,
        reasoning=whole(written.get("reasoning")),
    )


def _usage_of_output(told: Any) -> Usage | None:
    """Return what models that complete text tell beside their answers."""
    counts = told.get("token_usage") if isinstance(told, Mapping) else None
    if not isinstance(counts, Mapping):
        return None
    found = Usage(input=whole(counts.get("prompt_tokens")), output=whole(counts.get("completion_tokens")))
    return None if found == Usage() else found


def _tool(serialized: Mapping[str, Any], input_str: str, about: Mapping[str, Any]) -> Call:
    call_id, inputs = about.get("tool_call_id"), about.get("inputs")
    asked = Asked(
        name=text(serialized.get("name")) or text(about.get("name")) or "",
        call_id=None if call_id is None else str(call_id),
        description=text(serialized.get("description")),
        kind="function",
    )
    return Call("execute_tool", asked, lambda: Content(arguments=input_str if inputs is None else inputs))


def _result(output: Any) -> Content:
    said = getattr(output, "content", output)
    return Content(result=content.by_reference(said))


def _retrieval(serialized: Mapping[str, Any], query: str, about: Mapping[str, Any]) -> Call:
    metadata = about.get("metadata") or {}
    store = text(metadata.get("ls_vector_store_provider"))
    name = text(metadata.get("ls_retriever_name")) or text(about.get("name")) or text(serialized.get("name"))
    asked = Asked(
        name=name,
        provider=provider_name(store or metadata.get("ls_embedding_provider")),
        model=text(metadata.get("ls_embedding_model")),
    )
    return Call("retrieval", asked, lambda: Content(query=query))


def _documents(documents: Sequence[Any]) -> Content:
    found = [(one, getattr(one, "metadata", None) or {}) for one in documents]
    return Content(
        documents=[
            {
                "id": str(getattr(one, "id", None) or about.get("id") or place),
                "score": number(given(about, "score", "relevance_score")) or 0.0,
            }
            for place, (one, about) in enumerate(found)
        ]
    )


# -- where the span of a call is current --------------------------------------------------------------------


#: Whether a tool is about to begin, in a frame that will put back what was current before.
_BEGINS: Final[ContextVar[bool]] = ContextVar("otel_stream_tool_begins", default=False)


@functools.cache
def _let_calls_be_current() -> None:
    """Wrap the frames in which a call's span can be current, once."""
    _wrap(BaseTool, run=_put_back, arun=_put_back_later)
    _wrap(chat_models.BaseChatModel, _generate_with_cache=_inside, _agenerate_with_cache=_inside_later)
    tell_at_once(CallsHandler)


def _wrap(kind: type, **wraps: Callable[[Any], Any]) -> None:
    """Replace methods by what is made of them; none, if one of them is not there."""
    if all(hasattr(kind, name) for name in wraps):
        for name, wrap in wraps.items():
            setattr(kind, name, wrap(getattr(kind, name)))


def _put_back(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        before, token = get_current(), _BEGINS.set(True)
        try:
            return original(*args, **kwargs)
        finally:
            _BEGINS.reset(token)
            if get_current() is not before:
                attach(before)

    return run


def _put_back_later(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def arun(*args: Any, **kwargs: Any) -> Any:
        before, token = get_current(), _BEGINS.set(True)
        try:
            return await original(*args, **kwargs)
        finally:
            _BEGINS.reset(token)
            if get_current() is not before:
                attach(before)

    return arun


def _inside(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def generate(*args: Any, **kwargs: Any) -> Any:
        context = _context_of(kwargs.get("run_manager"))
        if context is None:
            return original(*args, **kwargs)
        before = get_current()
        attach(context)
        try:
            return original(*args, **kwargs)
        finally:
            attach(before)

    return generate


def _inside_later(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def agenerate(*args: Any, **kwargs: Any) -> Any:
        context = _context_of(kwargs.get("run_manager"))
        if context is None:
            return await original(*args, **kwargs)
        before = get_current()
        attach(context)
        try:
            return await original(*args, **kwargs)
        finally:
            attach(before)

    return agenerate


def _context_of(manager: Any) -> Any:
    """Return the context of the call that a manager of LangChain's is for."""
    for handler in getattr(manager, "handlers", None) or ():
        if isinstance(handler, CallsHandler):
            call = handler.call(manager.run_id)
            return None if call is None else call.context
    return None
