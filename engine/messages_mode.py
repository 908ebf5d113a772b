"""Where *messages* come from when a node calls a LangChain chat model: the seam to the adapter.

Nothing of LangChain is loaded unless somebody wants messages, or the program has loaded it already.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from otel_stream.events import MessageWritten, Observer

from .runtime import task_metadata
from .superstep import NodeTask
from .types import Config


class MessagesHook:
    """Makes the chat models called in a node report to the run's observer."""

    def __init__(self, observer: Observer, config: Config, adapter: Any) -> None:
        self._observer = observer
        self._config = config
        self._adapter = adapter

    def attempt(self, task: NodeTask, context: Context) -> None:
        """Let LangChain calls inside ``context`` find the handler."""
        if not self._observer.interest & MessageWritten.bit:
            return
        metadata = task_metadata(task)
        handler = self._adapter.MessagesHandler(self._emitter(task), metadata)
        task.messages = handler
        handler.node_input(task, task.input)
        self._adapter.install(context, handler, {**self._config, "metadata": metadata})

    def answer(self, task: NodeTask, answer: Any) -> None:
        """Report messages that the node returns and that nobody has seen yet."""
        if task.messages is not None:
            task.messages.node_output(task, answer)

    def _emitter(self, task: NodeTask) -> Any:
        def emit(chunk: Any, metadata: Mapping[str, Any]) -> None:
            self._observer.emit(MessageWritten(task, chunk, metadata, time.time_ns()))

        return emit


def messages_hook(observer: Observer | None, config: Config) -> MessagesHook | None:
    """Return the hook, or None when nobody wants messages or LangChain is not there."""
    if observer is None or not observer.interest & MessageWritten.bit:
        return None
    from otel_stream.adapters import langchain

    return MessagesHook(observer, config, langchain) if langchain.available() else None
