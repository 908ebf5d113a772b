"""*messages* and *tools*: what models and tools say in nodes, by handlers put beside those of the caller.

A receiver that wants messages is what a caller is that asks LangGraph for them: models that are only invoked
stream, and a message without an id is given one. Telemetry alone listens without either (``Overheard``): a
program must not run in another way because it is watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import time_ns
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.pregel._messages import StreamMessagesHandler

from otel_stream.adapters.langchain import ToolsHandler
from otel_stream.adapters.langgraph.tap import Tap
from otel_stream.adapters.langgraph.task import CURRENT, NodeTask
from otel_stream.adapters.langgraph.words import HIDDEN
from otel_stream.events import MessageReturned, MessageWritten, Observer, ToolReported


def listen(loop: Any, tap: Tap) -> None:
    """Hear models and tools of a root run and its subgraphs, through the callback manager of its loop."""
    observer = tap.observer
    if tap.run.parent is not None or loop.manager is None:
        return
    handlers = loop.manager.inheritable_handlers
    if observer.interest & ToolReported.bit:
        handlers.append(ToolsHandler(partial(_tell_of_tool, observer)))
    if observer.interest & MessageWritten.bit:
        _listen_to_models(handlers, observer, tap)


def _tell_of_tool(observer: Observer, data: Mapping[str, Any]) -> None:
    task = speaker(observer)
    if task is not None:
        observer.emit(ToolReported(task, data, time_ns()))


def _listen_to_models(handlers: list[BaseCallbackHandler], observer: Observer, tap: Tap) -> None:
    if not tap.audience.messages:
        tap.overheard = Overheard(observer)
        handlers.append(tap.overheard)
        return
    teller = _Teller(observer)
    handlers.append(_Heard(teller, subgraphs=True))
    if observer.interest & MessageReturned.bit:
        handlers.append(_Heard(_Reteller(observer, teller), subgraphs=False))


class _Teller:
    """Reports what a handler with ``subgraphs`` shows."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        #: Ids of what was shown of nodes of the root.
        self.at_the_root: set[str] = set()

    def __call__(self, chunk: tuple[tuple[str, ...], str, tuple[Any, Mapping[str, Any]]]) -> None:
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

    def __call__(self, chunk: tuple[tuple[str, ...], str, tuple[Any, Mapping[str, Any]]]) -> None:
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

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, metadata: dict[str, Any] | None = None, **about: Any
    ) -> Any:
        own = None if metadata is None else dict(metadata)
        return super().on_chat_model_start(serialized, messages, metadata=own, **about)


class Overheard(BaseCallbackHandler):
    """Hears what models say without being one for whom they stream, and gives ids to nobody's messages."""

    run_inline = True
    # LangChain declares these as properties, and reads them as attributes.
    ignore_chain = ignore_retriever = ignore_agent = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    ignore_retry = ignore_custom_event = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._inner = _Heard(_Teller(observer), subgraphs=True)
        self._inner._emit = self._show  # type: ignore[method-assign]  # noqa: SLF001 - its one way out

    def _show(self, meta: Any, message: Any, *, dedupe: bool = False) -> None:
        if dedupe and message.id in self._inner.seen:
            return
        if message.id is None:
            message = message.model_copy(update={"id": str(uuid4())})
        self._inner.seen.add(message.id)
        self._inner.stream((meta[0], "messages", (message, meta[1])))

    def on_chat_model_start(self, serialized: Any, messages: Any, **about: Any) -> None:
        self._inner.on_chat_model_start(serialized, messages, **about)

    def on_llm_new_token(self, token: Any, **about: Any) -> None:
        self._inner.on_llm_new_token(token, **about)

    def on_llm_end(self, response: Any, **about: Any) -> None:
        self._inner.on_llm_end(response, **about)

    def on_llm_error(self, error: BaseException, **about: Any) -> None:
        self._inner.on_llm_error(error, **about)

    def node_answers(self, task: NodeTask, config: Mapping[str, Any], answer: Any) -> None:
        """Report the messages that a node returns and nobody has seen.

        Told by hand, for chains are not heard: each would cost as much as all the rest of a superstep.
        """
        if HIDDEN not in (config.get("tags") or ()) and may_hold_messages(answer):
            call, metadata = uuid4(), config.get("metadata")
            here = CURRENT.set(task)
            try:
                self._inner.on_chain_start({}, task.input, run_id=call, metadata=metadata, name=task.node)
                self._inner.on_chain_end(answer, run_id=call)
            finally:
                CURRENT.reset(here)


#: Types of values that are no message and hold none.
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})


def may_hold_messages(value: Any) -> bool:
    """Rule out, at next to no cost, what most small states are: a mapping of plain values."""
    return type(value) is not dict or not _PLAIN.issuperset(map(type, value.values()))
