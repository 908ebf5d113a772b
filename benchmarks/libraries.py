"""Ours and LangGraph's names side by side: a graph is described once and built with either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import langgraph.checkpoint.memory
import langgraph.config
import langgraph.graph
import langgraph.types

import engine


@dataclass(frozen=True, slots=True)
class Library:
    """The names a case needs."""

    StateGraph: Any
    Send: Any
    InMemorySaver: Any
    get_stream_writer: Any
    START: str
    END: str
    #: For ``add_conditional_edges``: a router of one line is called in place, where that can be asked for.
    quick: Mapping[str, bool] = field(default_factory=dict)


OURS = Library(
    engine.StateGraph,
    engine.Send,
    engine.InMemorySaver,
    engine.get_stream_writer,
    engine.START,
    engine.END,
    {"quick": True},
)
LANGGRAPH = Library(
    langgraph.graph.StateGraph,
    langgraph.types.Send,
    langgraph.checkpoint.memory.InMemorySaver,
    langgraph.config.get_stream_writer,
    langgraph.graph.START,
    langgraph.graph.END,
)

#: No run here ends by the limit.
UNLIMITED: dict[str, Any] = {"recursion_limit": 1_000_000}


class _Loop:
    """The event loop of this process: making one costs more than many a run."""

    loop: asyncio.AbstractEventLoop | None = None


def on_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Turn an async function into a plain one that runs it on the loop that all cases share."""

    def run() -> None:
        if _Loop.loop is None:
            _Loop.loop = asyncio.new_event_loop()
        _Loop.loop.run_until_complete(work())

    return run


def close_loop() -> None:
    """Close the shared loop, so that leaving the process warns of nothing."""
    if _Loop.loop is not None:
        _Loop.loop.close()
        _Loop.loop = None


def expect(what: str, got: object, wanted: object) -> None:
    """Raise unless the work came out right: what does nothing is fast.

    Raises:
        RuntimeError: ``got`` is not ``wanted``.
    """
    if got != wanted:
        raise RuntimeError(f"{what}: {got!r}, but it should be {wanted!r}; the row measures nothing")
