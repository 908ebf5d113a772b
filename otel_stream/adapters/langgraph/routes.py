"""What conditional edges choose: heard where LangGraph has the answer of the user's function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from langgraph.types import Send

from otel_stream.adapters.langgraph.task import CURRENT
from otel_stream.events import RouteChosen


def hearing(finish: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``finish``, in which LangGraph turns a choice into writes, with the choice noted on its task."""

    def finish_and_note(branch: Any, writer: Any, input: Any, result: Any, *config: Any) -> Any:
        answer = finish(branch, writer, input, result, *config)
        task = CURRENT.get()
        if task is not None and task.tap.observer.interest & RouteChosen.bit:
            name = getattr(branch.path, "name", None) or "condition"
            task.routes = (*task.routes, (name, tuple(_targets(result, branch.ends))))
        return answer

    return finish_and_note


def _targets(result: Any, ends: Any) -> Iterator[str]:
    for chosen in result if isinstance(result, list | tuple) else (result,):
        if isinstance(chosen, Send):
            yield chosen.node
        else:
            yield str(ends[chosen] if ends else chosen)
