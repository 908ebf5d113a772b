"""Putting the hooks in, and taking them out again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from typing import Any, Final

# Upstream's file is marked as a whole not to be checked, so checkers see nothing in it.
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from wrapt import register_post_import_hook

from otel_stream.adapters.langgraph.names import LOOPS, missing

logger = logging.getLogger("otel_stream.adapters.langgraph")


class LangGraphInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Lets all runs of LangGraph graphs in this process be told of: as spans, log events, metrics, parts.

    At any time, before or after graphs are imported and compiled: runs that begin from then on are observed.
    Those in progress go on as they began.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return which LangGraph it observes, for ``opentelemetry-instrument``, which asks first."""
        return ("langgraph >= 1.0, < 2",)

    def instrument(self, **options: Any) -> None:
        """Observe the runs that begin from now on. A second time it does nothing.

        ``hide_nodes_from``: packages whose LangChain callbacks are told of no nodes, of which they would make
        spans a second time: ``("openinference",)``. What they make of models then lies below our nodes.
        """
        if not self.is_instrumented_by_opentelemetry:
            super().instrument(**options)

    def uninstrument(self, **options: Any) -> None:
        """Let LangGraph be as it was. A second time it does nothing."""
        if self.is_instrumented_by_opentelemetry:
            super().uninstrument(**options)

    def _instrument(self, *, hide_nodes_from: Iterable[str] = (), **_: Any) -> None:
        lacking = missing()
        if lacking:
            logger.warning(
                "This version of LangGraph has no %s: only its runs and nodes are told of, by callbacks",
                ", ".join(lacking),
            )
            from otel_stream.adapters.langgraph.callbacks import CALLBACKS

            CALLBACKS.active = True
            return
        from otel_stream.adapters.langgraph import others, pushed
        from otel_stream.adapters.langgraph.hooks import tapped
        from otel_stream.adapters.langgraph.routes import hearing

        others.hide_nodes_from(*hide_nodes_from)
        for name in LOOPS:
            _replace("langgraph.pregel.main", name, tapped)
        _replace("langgraph.graph._branch:BranchSpec", "_finish", hearing)
        _replace("langgraph.graph.message", "convert_to_messages", pushed.hearing)
        # Who uses no graph elsewhere need not wait for its client to be imported.
        register_post_import_hook(self._observe_remote, "langgraph.pregel.remote")

    def _observe_remote(self, module: Any) -> None:
        from otel_stream.adapters.langgraph.remote import streaming, streaming_later

        graph = module.RemoteGraph
        if _BEFORE and not any(where is graph for where, *_ in _BEFORE):
            _replace(f"{module.__name__}:RemoteGraph", "stream", streaming)
            _replace(f"{module.__name__}:RemoteGraph", "astream", streaming_later)

    def _uninstrument(self, **_: Any) -> None:
        fallback = sys.modules.get("otel_stream.adapters.langgraph.callbacks")
        if fallback is not None:
            fallback.CALLBACKS.active = False
        while _BEFORE:
            setattr(*_BEFORE.pop())


#: What was where before.
_BEFORE: Final[list[tuple[Any, str, Any]]] = []


def _replace(place: str, name: str, make: Callable[[Any], Any]) -> None:
    """Put what ``make`` returns of it where ``name`` is; what is not there any more is told of, once."""
    module, _, kind = place.partition(":")
    try:
        where: Any = import_module(module)
        where = getattr(where, kind) if kind else where
        original = getattr(where, name)
    except (ImportError, AttributeError):
        logger.warning("%s.%s of LangGraph is not there any more: what it does is not told", place, name)
        return
    _BEFORE.append((where, name, original))
    setattr(where, name, make(original))
