"""The graphs that are served, ours and LangGraph's, by what both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from otel_stream.config import Custom, StreamConfig, StreamMode
from otel_stream.events import RunEnded, RunStarted
from otel_stream.web.problems import Problem

#: The mode of parts that say that a run, of the root or a subgraph, begins or ends.
LIFE: Final = "run"


def _life(event: Any) -> dict[str, Any]:
    if isinstance(event, RunStarted):
        run = event.run
        return {"event": "started", "graph": run.graph, "thread_id": run.thread_id}
    return {"event": "ended", "graph": event.run.graph, "end": event.end.value}


#: The first part of a run is of this mode, at once, and has the ids of its trace.
LIFE_MODE: Final = Custom(_life, LIFE, events=(RunStarted, RunEnded))


class Served:
    """A compiled graph under a name."""

    def __init__(self, name: str, graph: Any, engine: Any = None) -> None:
        self.name = name
        self.graph = graph
        #: The ``ExecutionEngine`` whose runs its are, if any.
        self._engine = engine
        #: What LangGraph's clients call it by, besides its name.
        self.assistant_id = str(uuid5(NAMESPACE_URL, f"otel-stream:{name}"))
        self._langgraphs = not hasattr(graph, "open_stream")

    @property
    def keeps_threads(self) -> bool:
        """Whether it has a checkpointer, so that a thread has a state."""
        return getattr(self.graph, "checkpointer", None) not in (None, False)

    def open(
        self,
        input: Any,
        config: Mapping[str, Any],
        modes: Sequence[StreamMode | Custom],
        options: Mapping[str, Any],
    ) -> Any:
        """Return a run and its parts, an async context manager and iterator; nothing has begun yet."""
        # The reader of these parts never waits for anybody else, so nothing is lost and nothing is held up.
        asked = StreamConfig(modes=(LIFE_MODE, *modes), overflow="block", subgraphs=True, include_end=True)
        if self._langgraphs:
            from otel_stream.adapters.langgraph import LangGraphInstrumentor, open_stream

            LangGraphInstrumentor().instrument()
            return open_stream(self.graph, input, asked, config=config, **options)
        if self._engine is not None:
            return self._engine.open_stream(self.graph, input, asked, config=config, **options)
        return self.graph.open_stream(input, asked, config=config, **options)

    def command(self, said: Mapping[str, Any]) -> Any:
        """Return a ``Command`` of the graph's own kind, from what a client has said.

        Raises:
            Problem: it says what a Command does not.
        """
        root = type(self.graph).__module__.partition(".api")[0]
        kind: Any = import_module("langgraph.types" if self._langgraphs else root)
        unknown = said.keys() - {"resume", "update", "goto"}
        if unknown:
            raise Problem(422, f"command has no {min(unknown)!r}: say resume, update or goto.")
        told = {name: value for name, value in said.items() if value is not None or name == "resume"}
        if "goto" in told:
            told["goto"] = [_target(one, kind) for one in _listed(told["goto"])]
        return kind.Command(**told)

    def assistant(self) -> dict[str, Any]:
        """Return what LangGraph's clients call an assistant."""
        return {
            "assistant_id": self.assistant_id,
            "graph_id": self.name,
            "name": self.name,
            "config": {},
            "context": {},
            "metadata": {"created_by": "system"},
            "version": 1,
            "created_at": _EPOCH,
            "updated_at": _EPOCH,
            "description": None,
        }


_EPOCH: Final = "1970-01-01T00:00:00+00:00"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _target(one: Any, kind: Any) -> Any:
    return kind.Send(one["node"], one.get("input")) if isinstance(one, dict) and "node" in one else one


def is_engine(given: Any) -> bool:
    """Whether it is an ``ExecutionEngine``, and no graph."""
    return hasattr(given, "execute_with_stream") and hasattr(given, "attach")


def served(graphs: Any, engine: Any = None) -> dict[str, Served]:
    """Return graphs by the names that they are served under: those of a mapping, or their own.

    Raises:
        ValueError: there is none and no engine, two have one name, or one can't run in the engine.
    """
    named = _named(graphs)
    for name, graph in named.items():
        if engine is not None and not hasattr(graph, "open_stream"):
            raise ValueError(
                f"engine runs no graph of LangGraph's, such as {name!r}: serve it without engine."
            )
    if not named and engine is None:
        raise ValueError("graphs is empty: give a compiled graph, several, or a mapping of names to graphs.")
    return {name: Served(name, graph, engine) for name, graph in named.items()}


def _named(graphs: Any) -> dict[str, Any]:
    if isinstance(graphs, Mapping):
        return {str(name): graph for name, graph in graphs.items()}
    many = list(graphs) if isinstance(graphs, list | tuple) else [graphs]
    found: dict[str, Any] = {}
    for graph in many:
        name = str(getattr(graph, "name", None) or graph.get_name())
        if name in found:
            raise ValueError(f"graphs has two that are called {name!r}: give a mapping of names to graphs.")
        found[name] = graph
    return found
