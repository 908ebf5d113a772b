"""LangGraph's callbacks of a graph's lifecycle: told when a run waits for an answer, and when it goes on.

Importing it loads LangChain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

#: Where a run is: ``pending`` where a node has asked, the others before or after a node with a breakpoint.
GraphLifecycleStatus: TypeAlias = Literal["pending", "interrupt_before", "interrupt_after"]


@dataclass(frozen=True)
class GraphInterruptEvent:
    """A run waits for an answer, or stops at a breakpoint."""

    #: The id under which LangChain's callbacks are told of the run.
    run_id: UUID | None
    status: GraphLifecycleStatus
    #: The checkpoint that the run will go on from.
    checkpoint_id: str
    #: Where that is: one ``"<node>:<task id>"`` per level, ``()`` at the root.
    checkpoint_ns: tuple[str, ...]
    #: What is asked; empty at a breakpoint.
    interrupts: tuple[Any, ...]


@dataclass(frozen=True)
class GraphResumeEvent:
    """A run goes on from a checkpoint."""

    #: The id under which LangChain's callbacks are told of the run.
    run_id: UUID | None
    status: GraphLifecycleStatus
    #: The checkpoint that the run goes on from.
    checkpoint_id: str
    #: Where that is: one ``"<node>:<task id>"`` per level, ``()`` at the root.
    checkpoint_ns: tuple[str, ...]


GraphLifecycleEvent: TypeAlias = GraphInterruptEvent | GraphResumeEvent


class GraphCallbackHandler(BaseCallbackHandler):
    """A handler for ``config["callbacks"]`` that is also told when a run is interrupted, and when it goes on.

    Either method may be async. What it raises is logged, and raised where ``raise_error`` is true.
    """

    def on_interrupt(self, event: GraphInterruptEvent) -> Any:
        """Take note that the run stops and waits: told once for the root, whichever subgraph asked."""

    def on_resume(self, event: GraphResumeEvent) -> Any:
        """Take note that a run, of the graph or of a subgraph, goes on from a checkpoint."""


def is_told(handler: Any) -> bool:
    """Whether a handler is one of ours or LangGraph's: it has both methods."""
    return hasattr(handler, "on_interrupt") and hasattr(handler, "on_resume")
