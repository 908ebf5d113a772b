"""Where a task can go on to: what else an edge or a command names is a text of the user's, or a model's."""

from __future__ import annotations

from typing import Final

from otel_stream.runs import Run

#: What a channel whose update schedules a node is called, before the node's name.
#: Source: LangGraph's ``CompiledStateGraph``.
_BRANCH: Final = "branch:to:"
_END: Final = "__end__"


def is_place(run: Run, target: str) -> bool:
    """Whether ``target`` is a node of the run's graph or of one around it, or the end.

    An engine that does not say what its channels are called is believed.
    """
    if target == _END or not run.names:
        return True
    around: Run | None = run
    while around is not None:
        if _BRANCH + target in around.names:
            return True
        around = around.parent.run if around.parent is not None else None
    return False
