"""Where *messages* come from when a node calls a LangChain chat model: the seam to the adapter.

Nothing of LangChain is loaded unless somebody wants messages, or the program has loaded it already.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from otel_stream.events import MessageWritten, Observer

from .runtime import task_metadata
from .state import NodeTask
from .types import Config

#: What of a run's config LangChain calls inherit.
_INHERITED = ("callbacks", "tags", "metadata")


class LangChainHook:
    """Lets LangChain calls in nodes inherit the run's config, and report their messages to its observer."""

    def __init__(
        self, observer: Observer | None, config: Config, adapter: Any, outer: LangChainHook | None
    ) -> None:
        self._observer = observer
        self._config = config
        self._adapter = adapter
        #: Ids of messages that were shown; one set for the root run and its subgraphs.
        self._seen: set[str] = outer._seen if outer is not None else set()

    def attempt(self, task: NodeTask, context: Context) -> None:
        """Prepare ``context`` for the LangChain calls of an attempt."""
        observer = self._observer
        handler = None
        if observer is not None and observer.interest & MessageWritten.bit:
            handler = self._adapter.MessagesHandler(
                _emitter(observer, task), returned_metadata(task), self._seen
            )
            handler.node_input(task, task.input)
        task.messages = handler
        configurable = {**self._config.get("configurable", {}), "checkpoint_ns": task.ns}
        config = {**self._config, "metadata": task_metadata(task), "configurable": configurable}
        task.langchain = self._adapter.install(context, handler, config)

    def answer(self, task: NodeTask, answer: Any) -> None:
        """Report messages that the node returns and that nobody has seen yet."""
        if task.messages is not None:
            task.messages.node_output(task, answer)

    def ended(self, task: NodeTask) -> None:
        """Let go of the handler, which knows the task: a cycle would keep every task until the collector runs."""
        task.messages = task.langchain = None


def _emitter(observer: Observer, task: NodeTask) -> Any:
    def emit(chunk: Any, metadata: Mapping[str, Any]) -> None:
        observer.emit(MessageWritten(task, chunk, metadata, time.time_ns()))

    return emit


def returned_metadata(task: NodeTask) -> dict[str, Any]:
    """Return what goes with messages a node returns: no model's metadata, so less than a model's."""
    metadata = {**task_metadata(task), "ls_integration": "langgraph"}
    metadata.pop("tags", None)
    metadata.pop("checkpoint_ns", None)
    return metadata


def langchain_hook(
    observer: Observer | None, config: Config, parent: NodeTask | None
) -> LangChainHook | None:
    """Return the hook, or None when LangChain is not there or has nothing to inherit or report."""
    wanted = observer is not None and observer.interest & MessageWritten.bit
    if not wanted and not ("langchain_core" in sys.modules and any(config.get(key) for key in _INHERITED)):
        return None
    from otel_stream.adapters import langchain

    if not langchain.available():
        return None
    return LangChainHook(observer, config, langchain, parent.loop.langchain if parent is not None else None)
