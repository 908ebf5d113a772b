"""*messages* and *tools*: what models and tools say in nodes, by a handler that only they are given.

A receiver that wants messages is what a caller is that asks LangGraph for them: models that are only invoked
stream, and a message without an id is given one. Telemetry alone listens without either: a program must not
run in another way because it is watched.

Rules of this file
------------------
1. Nobody's callback manager is touched. LangChain asks ``_Whose`` for a handler where it configures a call of
   a model, a tool or a chain of its own; LangGraph's nodes and edges do not, so they cost nothing.
2. What nodes are given and return is told by hand, as LangGraph's own handler would have heard it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import time_ns
from typing import Any, cast
from uuid import uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook
from langgraph.pregel._messages import StreamMessagesHandler

from otel_stream.adapters.chunks import Ask, register
from otel_stream.adapters.langchain import ToolsHandler
from otel_stream.adapters.langchain_calls import CallsHandler
from otel_stream.adapters.langgraph.tap import Tap
from otel_stream.adapters.langgraph.task import CURRENT, NodeTask
from otel_stream.adapters.langgraph.words import HIDDEN
from otel_stream.events import (
    CallStarted,
    Event,
    MessageReturned,
    MessageWritten,
    Observer,
    Task,
    ToolReported,
)

#: What goes to a handler's ``stream``: the namespace, the mode, and the message with its metadata.
_Chunk = tuple[tuple[str, ...], str, tuple[Any, Mapping[str, Any]]]


def listen(loop: Any, tap: Tap) -> None:
    """Hear models and tools of a root run and its subgraphs, now that it is known who wants what."""
    if tap.run.parent is not None:
        return
    if _wants(tap, CallStarted):
        tap.calls = CallsHandler(partial(_where, tap.observer))
    if loop.manager is None:
        return
    messages = [*_hearing_messages(tap)]
    tools = [ToolsHandler(partial(_tell_of_tool, tap.observer))] if _wants(tap, ToolReported) else []
    # Who is called by a node of another run, and goes by its callbacks, is heard there, too.
    around = None if tap.around is None or loop.manager.parent_run_id is None else tap.around.tap.ears
    if isinstance(around, Ears):
        messages += [one for one in around.messages if one.subgraphs]
        tools += around.tools
    if messages or tools:
        streaming = any(one.streaming for one in messages)
        tap.ears = (_StreamingEars if streaming else Ears)(messages, tools)


def _wants(tap: Tap, kind: type[Event]) -> bool:
    return bool(tap.observer.interest & kind.bit)


def _hearing_messages(tap: Tap) -> Iterable[_Heard]:
    if not _wants(tap, MessageWritten):
        return
    teller = _Teller(tap.observer)
    if not tap.audience.messages:
        yield _Overheard(teller, subgraphs=True)
        return
    yield _Heard(teller, subgraphs=True)
    if _wants(tap, MessageReturned):
        yield _Heard(_Reteller(tap.observer, teller), subgraphs=False)


def _where(observer: Observer) -> tuple[Callable[[Event], None], Task] | None:
    """Return whom to tell of a call that is made here, and whose it is; None outside of a node."""
    task = speaker(observer)
    return None if task is None else (observer.emit, task)


class _NodeSpeaker:
    """The task that is running, as clients' streams know it: their calls are told, not their chunks."""

    def __init__(self, task: NodeTask) -> None:
        self._task = task

    def where(self) -> tuple[Callable[[Event], None], Task] | None:
        observer = self._task.tap.observer
        wanted = observer.interest & CallStarted.bit
        return (observer.emit, self._task) if wanted else None

    def asking(self, metadata: Mapping[str, Any]) -> Ask:
        return _nobody


def _nobody() -> None:
    """Show nothing: LangGraph's messages mode has LangChain's messages alone."""


def _speaking() -> _NodeSpeaker | None:
    task = CURRENT.get()
    return None if task is None else _NodeSpeaker(task)


register(_speaking)


def _tell_of_tool(observer: Observer, data: Mapping[str, Any]) -> None:
    task = speaker(observer)
    if task is not None:
        observer.emit(ToolReported(task, data, time_ns()))


class _Teller:
    """Reports what a handler with ``subgraphs`` shows."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        #: Ids of what was shown of nodes of the root.
        self.at_the_root: set[str] = set()

    def __call__(self, chunk: _Chunk) -> None:
        message, metadata = chunk[2]
        task = speaker(self.observer)
        if task is not None:
            if task.run.parent is None:
                self.at_the_root.add(message.id)
            _report(self.observer, MessageWritten, task, message, metadata)


class _Reteller:
    """Reports what only a handler without ``subgraphs`` shows: who sees no subgraphs has not seen it yet."""

    def __init__(self, observer: Observer, teller: _Teller) -> None:
        self.observer = observer
        self.teller = teller

    def __call__(self, chunk: _Chunk) -> None:
        message, metadata = chunk[2]
        task = speaker(self.observer)
        if task is not None and task.run.parent is None and message.id not in self.teller.at_the_root:
            _report(self.observer, MessageReturned, task, message, metadata)


def _report(
    observer: Observer,
    kind: type[MessageWritten | MessageReturned],
    task: NodeTask,
    message: Any,
    metadata: Mapping[str, Any],
) -> None:
    if observer.interest & kind.bit:
        observer.emit(kind(task, message, metadata, time_ns()))


def speaker(observer: Observer) -> NodeTask | None:
    """Return the task of a run of ``observer``'s that the code here belongs to, however deep it is."""
    task = CURRENT.get()
    while task is not None and task.tap.observer is not observer:
        task = task.tap.around
    return task


class _Heard(StreamMessagesHandler):
    """LangGraph's handler, which leaves the metadata that others get as it is."""

    #: Whether models are to stream for it.
    streaming = True

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, metadata: dict[str, Any] | None = None, **about: Any
    ) -> Any:
        own = None if metadata is None else dict(metadata)
        return super().on_chat_model_start(serialized, messages, metadata=own, **about)


class _Overheard(_Heard):
    """The same for telemetry: no model streams for it, and nobody's message is given an id."""

    streaming = False

    def _emit(self, meta: Any, message: Any, *, dedupe: bool = False) -> None:
        if dedupe and message.id in self.seen:
            return
        if message.id is None:
            message = message.model_copy(update={"id": str(uuid4())})
        self.seen.add(message.id)
        self.stream((meta[0], "messages", (message, meta[1])))


class Ears(BaseCallbackHandler):
    """Passes what models and tools say in the nodes of one root run on to those who want to know."""

    run_inline = True

    def __init__(self, messages: Sequence[_Heard], tools: Sequence[ToolsHandler]) -> None:
        super().__init__()
        self.messages = messages
        self.tools = tools

    # LangChain declares these as properties, too.
    @property
    def ignore_chat_model(self) -> bool:
        return not self.messages

    @property
    def ignore_llm(self) -> bool:
        return not self.messages

    @property
    def ignore_agent(self) -> bool:
        """Whether tools are not heard: LangChain calls them so."""
        return not self.tools

    @property
    def ignore_chain(self) -> bool:
        return True

    # -- what LangChain calls ----------------------------------------------------------------------

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, parent_run_id: Any = None, **about: Any
    ) -> None:
        if parent_run_id is None:  # it was called without the node's callbacks: LangGraph does not hear it
            return
        for one in self.messages:
            one.on_chat_model_start(serialized, messages, parent_run_id=parent_run_id, **about)

    def on_llm_new_token(self, token: Any, **about: Any) -> None:
        for one in self.messages:
            one.on_llm_new_token(token, **about)

    def on_llm_end(self, response: Any, **about: Any) -> None:
        for one in self.messages:
            one.on_llm_end(response, **about)

    def on_llm_error(self, error: BaseException, **about: Any) -> None:
        for one in self.messages:
            one.on_llm_error(error, **about)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, parent_run_id: Any = None, **about: Any
    ) -> None:
        if parent_run_id is None:
            return
        for one in self.tools:
            one.on_tool_start(serialized, input_str, **about)

    def on_tool_end(self, output: Any, **about: Any) -> None:
        for one in self.tools:
            one.on_tool_end(output, **about)

    def on_tool_error(self, error: BaseException, **about: Any) -> None:
        for one in self.tools:
            one.on_tool_error(error, **about)

    # -- what the tap tells ------------------------------------------------------------------------

    def pushed(self, message: Any, metadata: Any) -> None:
        """Report a message that a node shows by ``push_message``."""
        for one in self.messages:
            if one.subgraphs:  # the others show only what these have not
                one._emit(((), metadata), message, dedupe=False)  # noqa: SLF001 - as LangGraph calls it

    def node_begins(self, task: NodeTask, config: Mapping[str, Any]) -> None:
        """Take note of the messages that a node is given: they are known."""
        if may_hold_messages(task.input):
            for one in self.messages:
                _begin(one, task, config)

    def node_answers(self, task: NodeTask, config: Mapping[str, Any], answer: Any) -> None:
        """Report the messages that a node returns and nobody has seen."""
        if not may_hold_messages(answer):
            self.node_fails(task)
            return
        here = CURRENT.set(task)
        try:
            for one in self.messages:
                if task.id not in one.metadata:
                    _begin(one, task, config)
                one.on_chain_end(answer, run_id=cast("Any", task.id))
        finally:
            CURRENT.reset(here)

    def node_fails(self, task: NodeTask) -> None:
        """Forget about an attempt that returns nothing."""
        key: Any = task.id
        for one in self.messages:
            one.metadata.pop(key, None)


def _begin(one: _Heard, task: NodeTask, config: Mapping[str, Any]) -> None:
    # LangGraph adds the one to the other when it begins to call the node, after this or before.
    metadata = {
        **(getattr(config.get("callbacks"), "metadata", None) or {}),
        **(config.get("metadata") or {}),
    }
    tags = [HIDDEN] if task.hidden else None
    # A task of a run has one attempt at a time, so its id will do for the call's.
    call = cast("Any", task.id)
    one.on_chain_start({}, task.input, run_id=call, metadata=metadata, tags=tags, name=task.node)


class _StreamingEars(Ears):
    """The same where models are to stream, and chains of LangChain's may bear the name of their node."""

    @property
    def ignore_chain(self) -> bool:
        return False

    def on_chain_start(self, serialized: Any, inputs: Any, **about: Any) -> None:
        for one in self.messages:
            one.on_chain_start(serialized, inputs, **about)

    def on_chain_end(self, outputs: Any, **about: Any) -> None:
        for one in self.messages:
            one.on_chain_end(outputs, **about)

    def on_chain_error(self, error: BaseException, **about: Any) -> None:
        for one in self.messages:
            one.on_chain_error(error, **about)

    # By these two methods LangChain knows for whom models stream.

    def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
        """Leave the stream of a chain alone."""
        return output

    def tap_output_iter(self, run_id: Any, output: Any) -> Any:
        """Leave the stream of a chain alone."""
        return output


#: Types of values that are no message and hold none.
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


def may_hold_messages(value: Any) -> bool:
    """Rule out, at next to no cost, what most small states are: a mapping of plain values."""
    try:
        return type(value) is not dict or not _PLAIN.issuperset(map(type, value.values()))
    except TypeError:  # of a class that has no hash
        return True


class _Whose:
    """Answers, as a context variable would, who listens to what is called here."""

    def get(self) -> Any:
        task = CURRENT.get()
        return None if task is None else task.tap.ears


class _WhoseCalls:
    """Answers the same of who is told of what is called here."""

    def get(self) -> Any:
        task = CURRENT.get()
        return None if task is None else task.tap.calls


# Calls first: what is heard of messages may give them ids.
register_configure_hook(cast("Any", _WhoseCalls()), inheritable=False)
register_configure_hook(cast("Any", _Whose()), inheritable=False)
