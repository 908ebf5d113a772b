"""Finding nodes that can never run, without ever accusing one that can.

Any node may route by returning a ``Command`` or ``Send``, so a node without an incoming edge is an error
only where that is ruled out: every node that runs is a plain function whose ``return`` statements visibly
give a mapping, a constant or one of its own parameters, and which calls nothing that might run a graph, whose
own nodes could command this one.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .introspect import may_leave

_HARMLESS = frozenset(
    {"BUILD_MAP", "BUILD_CONST_KEY_MAP", "DICT_UPDATE", "DICT_MERGE", "LOAD_CONST", "MAP_ADD"}
)


def may_route(function: Any) -> bool:
    """Whether a node's function could return a ``Command`` or ``Send``, or run a graph that sends one up."""
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_GENERATOR:
        return True
    if may_leave(function):
        return True
    code = function.__code__
    parameters = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    previous: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_VALUE" and (
            instruction.is_jump_target or not _is_harmless(previous, parameters)
        ):
            return True
        if instruction.opname not in ("CACHE", "RESUME", "NOP"):
            previous = instruction
    return False


def _is_harmless(instruction: dis.Instruction | None, parameters: set[str]) -> bool:
    if instruction is None:
        return False
    if instruction.opname.startswith("LOAD_FAST"):
        return instruction.argval in parameters
    return instruction.opname in _HARMLESS


def unreachable(
    nodes: Mapping[str, Any],
    start: str,
    edges: Mapping[str, Iterable[str]],
    open_ended: Callable[[str], bool],
) -> list[str]:
    """Return the nodes that no route from ``start`` leads to, as they were added; [] where one can't be sure.

    ``edges`` maps a node to the targets that are known; ``open_ended`` tells whether it may have others.
    """
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node in reached:
            continue
        if open_ended(node):
            return []
        reached.add(node)
        waiting.extend(target for target in edges.get(node, ()) if target in nodes)
    return [name for name in nodes if name not in reached]
