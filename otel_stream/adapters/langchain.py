"""LangChain's chat models and tools as sources of parts, and its message classes: the place that knows them.

The module can be imported without LangChain; ask ``available()`` before anything else is used. Importing it
loads LangChain if that is there, 0.1 s, so import it late.

What becomes a part is LangGraph's rule: every chunk a chat model streams in a node; the whole message if it
streams none; and the messages a node returns that nobody has seen, neither streamed nor in the node's input.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast

from otel_stream.adapters.chunks import MessageChunk

T = TypeVar("T")

_FOUND: Final = find_spec("langchain_core") is not None

if TYPE_CHECKING or _FOUND:
    # Where the ambient config is: nothing else here loads it.
    import langchain_core.runnables.config  # noqa: F401
    from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
    from langchain_core.messages import (
        AIMessageChunk,
        BaseMessage,
        BaseMessageChunk,
        convert_to_messages,
        convert_to_openai_messages,
        message_chunk_to_message,
    )
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

    # A chat model whose handlers follow this protocol streams even when it is only invoked.
    from langchain_core.tracers._streaming import _StreamingCallbackHandler
    from pydantic import BaseModel

    try:
        # One whose handlers follow this one tells them by the events of the streaming protocol.
        from langchain_core.tracers._streaming import (
            _V2StreamingCallbackHandler,  # pyright: ignore[reportAssignmentType]
        )
    except ImportError:  # before 1.4

        class _V2StreamingCallbackHandler:  # type: ignore[no-redef]
            """Stands in where models know no such events."""
else:

    class BaseCallbackHandler:
        """Stands in where there is no LangChain to call a handler."""

    class _StreamingCallbackHandler(Generic[T]):
        """Stands in where there is no LangChain to call a handler."""

    class _V2StreamingCallbackHandler:
        """Stands in where there is no LangChain to call a handler."""


#: Takes a message or chunk and the metadata that says where it is from; sync, never raises.
Emit: TypeAlias = Callable[[Any, Mapping[str, Any]], None]
#: Returns what does so with the chunks of one call, given its metadata.
EmitOfCall: TypeAlias = Callable[[Mapping[str, Any]], Callable[[Any], None]]

NOSTREAM: Final = "nostream"
HIDDEN: Final = "langsmith:hidden"
_PARENT: Final = "__parent__"


def available() -> bool:
    """Whether LangChain is installed."""
    return _FOUND


def loaded() -> bool:
    """Whether the program has loaded LangChain; None of its objects can exist before."""
    return sys.modules.get("langchain_core") is not None


class MessagesHandler(BaseCallbackHandler, _StreamingCallbackHandler[Any]):
    """Reports the messages of one task: the callback that its LangChain calls inherit.

    ``metadata`` goes with messages that the node returns; a chat model's own is LangChain's, which contains
    what its ``manager`` was given. ``seen`` holds the ids of messages that were shown; share one set among
    all tasks of a root run, or a subgraph's messages are shown again when its node returns them. Of those in
    ``inside``, too, ``again`` is told when a node returns them.
    """

    #: Callbacks run where they occur, never in another thread: order is kept and nothing needs a lock.
    run_inline = True
    of_a_task = True

    def __init__(
        self,
        emit: Emit,
        metadata: Mapping[str, Any] | None = None,
        seen: set[str] | None = None,
        inside: Collection[str] = (),
        again: Callable[[Any], object] = id,
        of_call: EmitOfCall | None = None,
    ) -> None:
        super().__init__()
        self._send = emit
        self._of_call: EmitOfCall = of_call or (lambda about: lambda message: emit(message, about))
        self._metadata: Mapping[str, Any] = metadata or {}
        self.seen: set[str] = set() if seen is None else seen
        self._inside = inside
        self._again = again
        #: The calls in progress, by their run ids, and the metadata of each.
        self._calls: dict[uuid.UUID, Mapping[str, Any]] = {}

    # -- what the engine calls ---------------------------------------------------------------------

    def node_input(self, task: Any, state: Any) -> None:
        """Take note that the messages in ``state`` are known; ``task`` is for the caller's convenience."""
        self.seen.update(ids_in(state))

    def node_output(self, task: Any, output: Any) -> None:
        """Emit those messages a node returned that nobody has seen."""
        self._show_returned(self._metadata, output)

    # -- what LangChain calls ----------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: uuid.UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if NOSTREAM in (tags or ()):
            return
        _told_at_once()
        own = [tag for tag in tags or () if not tag.startswith("seq:step")]
        self._calls[run_id] = {**(metadata or {}), "tags": own} if own else dict(metadata or {})

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: uuid.UUID, **_: Any) -> None:
        take = self.takes(run_id)
        if take is not None:
            take(token, chunk)

    def takes(self, run_id: uuid.UUID) -> Callable[[Any, Any], None] | None:
        """Return what shows the chunks of a call, None if they are not to be shown."""
        call = self._calls.get(run_id)
        if call is None:
            return None
        send, seen = self._of_call(call), self.seen

        def take(_token: Any, chunk: Any) -> None:
            if isinstance(chunk, ChatGenerationChunk):
                message = chunk.message
                if message.id is None:
                    message.id = str(uuid.uuid4())  # as in ``_show``
                send(message)
                seen.add(message.id)

        return take

    def on_llm_end(self, response: LLMResult, *, run_id: uuid.UUID, **_: Any) -> None:
        call = self._calls.pop(run_id, None)
        if call is None or not response.generations or not response.generations[0]:
            return
        first = response.generations[0][0]
        if isinstance(first, ChatGeneration) and first.message.id not in self.seen:
            self._show(call, first.message)

    def on_llm_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:
        self._calls.pop(run_id, None)

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: uuid.UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **_: Any,
    ) -> None:
        # A chain that bears its node's name counts as the node.
        if metadata and name == metadata.get("langgraph_node") and HIDDEN not in (tags or ()):
            self._calls[run_id] = metadata
            self.node_input(None, inputs)

    def on_chain_end(self, outputs: Any, *, run_id: uuid.UUID, **_: Any) -> None:
        call = self._calls.pop(run_id, None)
        if call is not None:
            self._show_returned(call, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:
        self._calls.pop(run_id, None)

    def tap_output_aiter(self, run_id: uuid.UUID, output: T) -> T:
        """Leave the stream of a chain alone."""
        return output

    def tap_output_iter(self, run_id: uuid.UUID, output: T) -> T:
        """Leave the stream of a chain alone."""
        return output

    # ----------------------------------------------------------------------------------------------

    def _show(self, metadata: Mapping[str, Any], message: BaseMessage) -> None:
        if message.id is None:
            # On the message itself: the state is about to hold it, and must know it by the same id.
            message.id = str(uuid.uuid4())
        self._send(message, metadata)
        self.seen.add(message.id)

    def _show_returned(self, metadata: Mapping[str, Any], output: Any) -> None:
        parts = output if isinstance(output, list | tuple) else [output]
        if any(_is_command(part) and part.graph == _PARENT for part in parts):
            return  # on its way to the graph around this one, as an exception
        if any(map(_is_command, parts)):
            found = [m for part in parts for m in _returned(part.update if _is_command(part) else part)]
        else:
            found = _returned(output)
        for message in found:
            if message.id not in self.seen:
                self._show(metadata, message)
            elif message.id in self._inside:
                self._again(message)


class EventsHandler(MessagesHandler, _V2StreamingCallbackHandler):
    """Reports the messages of one task by the events of LangGraph's streaming protocol, version 3.

    A model's events are shown in place of its chunks; messages that nobody has streamed are shown whole, but
    for those of tools, which the protocol has another place for.
    """

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: uuid.UUID, **_: Any) -> None:
        """Leave chunks alone: who calls ``stream`` itself is heard when the message is whole."""

    def on_stream_event(self, event: Mapping[str, Any], *, run_id: uuid.UUID, **_: Any) -> None:
        """Show an event of a model's message, by the id of its call."""
        call = self._calls.get(run_id)
        if call is None:
            return
        self._send(event, {**call, "run_id": str(run_id)})
        if event.get("event") == "message-start":
            self._streamed.add(run_id)
            if event.get("message_id"):
                self.seen.add(event["message_id"])

    def on_llm_end(self, response: LLMResult, *, run_id: uuid.UUID, **about: Any) -> None:
        if run_id not in self._streamed:
            super().on_llm_end(response, run_id=run_id, **about)
            return
        self._streamed.discard(run_id)
        self._calls.pop(run_id, None)
        first = response.generations[0][0] if response.generations and response.generations[0] else None
        if isinstance(first, ChatGeneration):
            first.message.id = first.message.id or str(uuid.uuid4())
            self.seen.add(first.message.id)

    def on_llm_error(self, error: BaseException, *, run_id: uuid.UUID, **about: Any) -> None:
        self._streamed.discard(run_id)
        super().on_llm_error(error, run_id=run_id, **about)

    @cached_property
    def _streamed(self) -> set[uuid.UUID]:
        return set()

    def _show(self, metadata: Mapping[str, Any], message: BaseMessage) -> None:
        if message.type != "tool":
            super()._show(metadata, message)


def ids_in(state: Any) -> list[str]:
    """Return the ids of the messages in a state."""
    return [message.id for message in _messages_in(_values(state)) if message.id is not None]


class ToolsHandler(BaseCallbackHandler):
    """Tells ``tell`` of the tools that one task calls, as LangGraph's *tools* mode shows them."""

    run_inline = True
    of_a_task = True

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._tell = tell
        #: The calls in progress, by their run ids: the call's id, and what puts LangGraph's writer back.
        self._calls: dict[uuid.UUID, tuple[str, Callable[[], None]]] = {}

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: uuid.UUID,
        tags: list[str] | None = None,
        inputs: dict[str, Any] | None = None,
        **about: Any,
    ) -> None:
        if NOSTREAM in (tags or ()):
            return
        call = str(about.get("tool_call_id") or run_id)
        self._calls[run_id] = call, _lend_writer(lambda delta: self._say("output-delta", call, delta=delta))
        name = (serialized or {}).get("name") or about.get("name") or ""
        self._say("started", call, tool_name=name, **({} if inputs is None else {"input": inputs}))

    def on_tool_end(self, output: Any, *, run_id: uuid.UUID, **_: Any) -> None:
        call = self._over(run_id)
        if call is not None:
            self._say("finished", call, output=output)

    def on_tool_error(self, error: BaseException, *, run_id: uuid.UUID, **_: Any) -> None:
        call = self._over(run_id)
        # A tool that asks, or is drained, only pauses: it starts again when the run goes on.
        if call is not None and not any(kind.__name__ in _PAUSES for kind in type(error).__mro__):
            self._say("error", call, message=str(error))

    def _over(self, run_id: uuid.UUID) -> str | None:
        call, put_back = self._calls.pop(run_id, (None, None))
        if put_back is not None:
            put_back()
        return call

    def _say(self, what: str, call: str, **more: Any) -> None:
        self._tell({"event": f"tool-{what}", "tool_call_id": call, **more})


#: Known by their names: neither engine's classes can be imported here.
_PAUSES: Final = frozenset({"GraphInterrupt", "GraphDrained"})


class _Lent:
    """A writer of ours where LangGraph's is looked for; what that one is to be told, it is told, too."""

    def __init__(self, write: Callable[[Any], None], beside: Callable[[Any], None] | None) -> None:
        self._write = write
        self._beside = beside

    def __call__(self, delta: Any) -> None:
        self._write(delta)
        if self._beside is not None:
            self._beside(delta)


def _lend_writer(write: Callable[[Any], None]) -> Callable[[], None]:
    """Let LangGraph's ``ToolRuntime.emit_output_delta`` find ``write``; return what ends that."""
    variable = getattr(sys.modules.get("langgraph.pregel._tools"), "_tool_call_writer", None)
    if not isinstance(variable, ContextVar):
        return lambda: None
    before = variable.get(None)
    # One of ours is that of a tool around this one; any other is the caller's, for this very call.
    lent = _Lent(write, None if isinstance(before, _Lent) else before)
    token = variable.set(lent)

    def put_back() -> None:
        if variable.get(None) is lent:  # the caller's handler has put back what was there before it, too
            with suppress(ValueError):  # the tool ends in another context than it began in
                variable.reset(token)

    return put_back


def manager(own: Sequence[BaseCallbackHandler], config: Mapping[str, Any]) -> CallbackManager:
    """Return what every LangChain call that is given ``config`` reports to: its callbacks, and ``own``.

    The callbacks are a list or a manager; the handlers of an enclosing task among them give way. Tags and
    metadata are the manager's, too: a call's own replace the config's, and are added to these.
    """
    handlers, parent = _inherited(config.get("callbacks"))
    handlers += own
    tags, metadata = config.get("tags") or (), config.get("metadata") or {}
    return CallbackManager(
        handlers,
        [*handlers],
        parent,
        tags=[*tags],
        inheritable_tags=[*tags],
        metadata={**metadata},
        inheritable_metadata={**metadata},
    )


def coerce(messages: Sequence[Any]) -> list[Any]:
    """Turn strings, ``(role, content)`` pairs, mappings and chunks into LangChain's messages.

    Raises:
        ValueError: something that is no message, or of an unknown role.
    """
    kinds = set(map(type, messages))
    if all(issubclass(kind, BaseMessage) and not issubclass(kind, BaseMessageChunk) for kind in kinds):
        return [*messages]
    converted = convert_to_messages(cast("Any", messages))
    return [message_chunk_to_message(cast("Any", message)) for message in converted]


def in_openai_format(messages: Sequence[Any]) -> list[Any]:
    """Return LangChain messages whose content is in the blocks that OpenAI's API knows."""
    plain = convert_to_openai_messages(cast("Any", messages))
    return cast("list[Any]", convert_to_messages(cast("Any", plain)))


@cache
def _told_at_once() -> None:
    from otel_stream.adapters.langchain_tokens import tell_at_once

    tell_at_once(MessagesHandler)


_LISTS: Final = ("tool_calls", "invalid_tool_calls", "tool_call_chunks")


@cache
def chunk_of_text() -> Callable[[str | None, str], AIMessageChunk]:
    """Return what makes chunks of nothing but text, as pickle would make them again: in less time by far."""
    blank = AIMessageChunk(id="", content="", additional_kwargs={}, response_metadata={})
    blank = blank.model_copy(update=dict.fromkeys(_LISTS, ()))  # which lists they are is told, too
    state = blank.__getstate__()
    fields, told = state.pop("__dict__"), state.pop("__pydantic_fields_set__")
    has_more, private = state["__pydantic_extra__"] is not None, state["__pydantic_private__"]
    new, copied, told_again = AIMessageChunk.__new__, fields.copy, told.copy
    # Set where they are kept: to ask for each by its name takes as long as all the rest.
    kept = vars(BaseModel)
    put, put_told, put_more, put_private = (kept[name].__set__ for name in ("__dict__", *_KEPT))

    def make(id: str | None, text: str) -> AIMessageChunk:
        own = copied()
        own["id"] = id
        own["content"] = text
        own["additional_kwargs"] = {}
        own["response_metadata"] = {}
        own["tool_calls"] = []
        own["invalid_tool_calls"] = []
        own["tool_call_chunks"] = []
        made = new(AIMessageChunk)
        put(made, own)
        put_told(made, told_again())
        put_more(made, {} if has_more else None)
        put_private(made, private)
        return made

    return make


#: Where pydantic keeps what a model has beside its fields.
_KEPT: Final = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def as_langchain_chunk(chunk: MessageChunk) -> AIMessageChunk:
    """Return a chunk of another client's message as one of a LangChain model's; they add up alike."""
    if not (chunk.tool_calls or chunk.usage or chunk.reasoning or chunk.refusal or chunk.finish_reason):
        return chunk_of_text()(chunk.id, chunk.content)
    found: dict[str, Any] = {"reasoning_content": chunk.reasoning, "refusal": chunk.refusal}
    return AIMessageChunk(
        id=chunk.id,
        content=chunk.content,
        tool_call_chunks=[
            {
                "type": "tool_call_chunk",
                "index": call.index,
                "id": call.id,
                "name": call.name,
                "args": call.args,
            }
            for call in chunk.tool_calls
        ],
        usage_metadata=cast("Any", dict(chunk.usage)) if chunk.usage else None,
        additional_kwargs={name: text for name, text in found.items() if text},
        response_metadata={"finish_reason": chunk.finish_reason} if chunk.finish_reason else {},
    )


def _inherited(source: Any) -> tuple[list[Any], uuid.UUID | None]:
    """Return the handlers in the ``callbacks`` of a config, each once, and the run they are children of."""
    handlers: list[Any] = []
    for handler in getattr(source, "inheritable_handlers", source) or ():
        if not getattr(handler, "of_a_task", False) and not any(handler is known for known in handlers):
            handlers.append(handler)
    return handlers, getattr(source, "parent_run_id", None)


def _is_command(value: Any) -> bool:
    # Known by its fields: neither engine's class can be imported here.
    return hasattr(value, "goto") and hasattr(value, "update") and hasattr(value, "resume")


def _values(state: Any) -> Iterable[Any]:
    """Return the values of a state: of a mapping, a pydantic model or a dataclass; of anything else, none."""
    if isinstance(state, dict):
        return state.values()
    names = getattr(type(state), "model_fields", None)
    if names is None and is_dataclass(state) and not isinstance(state, type):
        names = [field.name for field in fields(state)]
    return [getattr(state, name) for name in names or ()]


def _messages_in(values: Iterable[Any]) -> list[BaseMessage]:
    """Return the messages among ``values``, and in the sequences among them."""
    found: list[BaseMessage] = []
    for value in values:
        if isinstance(value, BaseMessage):
            found.append(value)
        elif _may_hold_messages(value):
            found += [item for item in value if isinstance(item, BaseMessage)]
    return found


#: Types of what is no message, and does not pretend to be one.
_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None), dict})


def _may_hold_messages(value: Any) -> bool:
    try:
        if type(value) is list or type(value) is tuple:
            return not _PLAIN.issuperset(map(type, value))  # most of them hold nothing else
        return isinstance(value, Sequence) and not isinstance(value, str | bytes)
    except TypeError:  # of a class without a hash
        return isinstance(value, list | tuple)


def _returned(output: Any) -> list[BaseMessage]:
    if isinstance(output, BaseMessage | Sequence):
        return _messages_in([output])
    return _messages_in(_values(output))
