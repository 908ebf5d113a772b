"""LangGraph's own control flow in our graphs: what its functions raise, known by name and shape.

Code that is half migrated, and helpers of others, bring it along. Nothing of LangGraph is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from otel_stream.encoding import shown

from .errors import GraphBubbleUp, GraphDrained, GraphInterrupt, ParentCommand
from .types import Interrupt, ours

if TYPE_CHECKING:
    from .core.task import NodeTask, RunEnv


def bubble_of(error: BaseException, task: NodeTask) -> GraphBubbleUp | None:
    """Return control flow of LangGraph's that came up in ``task`` as ours, None for any other exception."""
    if isinstance(error, GraphBubbleUp):
        return None
    names = {base.__name__ for base in type(error).__mro__ if base.__module__ == "langgraph.errors"}
    if "GraphInterrupt" in names:
        asked = error.args[0] if error.args else ()
        # What a functional task asks, LangGraph has its caller ask, too.
        return GraphInterrupt(list({each.id: _interrupt(each, task) for each in asked}.values()))
    if "ParentCommand" in names:
        return ParentCommand(*map(ours, error.args))
    return GraphDrained(str(error)) if "GraphDrained" in names else None


def refuse_to_ask_langgraph(env: RunEnv, asked: Sequence[Interrupt]) -> None:
    """Refuse to stop in a graph that one of LangGraph's has called: that goes on as if it had been answered.

    Raises:
        RuntimeError: it is called by a task of LangGraph's, and keeps nothing of its own.
    """
    configurable = env.config.get("configurable") or {}
    if env.spec.checkpointer is None and "__pregel_scratchpad" in configurable:
        what = f"asks {shown(asked[0].value)}" if asked else "stops at a breakpoint"
        raise RuntimeError(
            f"graph '{env.spec.name}' {what} inside a graph of LangGraph's, which would go on without an "
            "answer: build the graph around it with engine.StateGraph, too, or give it a checkpointer"
        )


def _interrupt(asked: Any, task: NodeTask) -> Interrupt:
    answered = len(task.pad.answers)
    schema = getattr(asked, "response_schema", None)
    id_of = getattr(sys.modules.get(type(asked).__module__), "_interrupt_id", None)
    # One that the task itself asks gets the id that we would give it; one of a graph inside keeps its own.
    if id_of is not None and asked.id in (id_of(task.ns, answered), id_of(task.ns, 0)):
        return task.question(asked.value, answered, schema)
    return Interrupt(asked.value, asked.id, schema)
