"""Where the answer of a node says to go."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from langgraph.types import Command, Send


def commands_in(answer: Any) -> Iterable[Command[Any]]:
    """Yield the commands of an answer that are for the node's own graph."""
    for one in answer if isinstance(answer, list | tuple) else (answer,):
        if isinstance(one, Command) and one.graph is None:
            yield one


def destinations(command: Command[Any]) -> Iterable[str]:
    """Yield the names of the nodes that a command goes to."""
    goto: object = command.goto
    if isinstance(goto, str | Send):
        goto = (goto,)
    if not isinstance(goto, Collection):  # an iterator is LangGraph's to read
        return
    for target in goto:
        if target:
            yield target.node if isinstance(target, Send) else str(target)
