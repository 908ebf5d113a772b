"""LangChain's callbacks, told of the graph and its nodes: tracers build their tree of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import CallbackManager
from langchain_core.callbacks.manager import CallbackManagerForChainRun
from langchain_core.tracers._streaming import _StreamingCallbackHandler


class Chains:
    """One run of a graph, as a chain of chains."""

    def __init__(self, graph: str, input: Any, config: Mapping[str, Any]) -> None:
        manager = CallbackManager.configure(
            inheritable_callbacks=config.get("callbacks"),
            inheritable_tags=[*(config.get("tags") or ())],
            inheritable_metadata={**(config.get("metadata") or {})},
        )
        self._graph = manager.on_chain_start(
            None, input, name=config.get("run_name") or graph, run_id=_run_id(config)
        )
        self._nodes: dict[Any, CallbackManagerForChainRun] = {}

    def node_started(self, task: Any, metadata: Mapping[str, Any]) -> None:
        """Tell of an attempt of a node."""
        manager = self._graph.get_child(f"graph:step:{task.step}")
        manager.add_metadata({**metadata})
        self._nodes[task] = manager.on_chain_start(None, task.input, name=task.node)

    def callbacks_of(self, task: Any) -> Any:
        """Return the callbacks for what a node calls; None if it does not run."""
        node = self._nodes.get(task)
        return None if node is None else node.get_child()

    def node_ended(self, task: Any, answer: Any) -> None:
        """Tell of a node's answer."""
        node = self._nodes.pop(task, None)
        if node is None:
            return
        for handler in node.handlers:
            if isinstance(handler, _StreamingCallbackHandler):
                for _ in handler.tap_output_iter(node.run_id, iter([answer])):
                    pass
        node.on_chain_end(answer)

    def node_failed(self, task: Any, error: BaseException) -> None:
        """Tell of a node that raised, an interrupt included."""
        node = self._nodes.pop(task, None)
        if node is not None:
            node.on_chain_error(error)

    def ended(self, result: Any, error: BaseException | None) -> None:
        """Tell of the end of the run."""
        if error is None:
            self._graph.on_chain_end(result)
        else:
            self._graph.on_chain_error(error)


def _run_id(config: Mapping[str, Any]) -> Any:
    given = config.get("run_id")
    try:
        return given if given is None or isinstance(given, uuid.UUID) else uuid.UUID(str(given))
    except ValueError:
        return None
