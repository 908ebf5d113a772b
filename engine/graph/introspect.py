"""What a function reaches beyond its own scope: the graphs it calls, and the code that it may go through.

Read off its bytecode, so it says what *may* be reached: too much rather than too little.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

#: Attributes of LangChain's runnables that hold other ones.
_PARTS = ("steps", "deps")
#: Names that only code which runs or routes graphs has a use for.
_ROUTING = frozenset(
    {"Command", "ParentCommand", "Send", "abatch", "ainvoke", "astream", "batch", "invoke", "stream"}
)
_OWN = __name__.partition(".")[0]


def reached(function: Any) -> list[Any]:
    """Return the values a function captures, the globals it names, and what it gets of them by attribute."""
    function = _unwrapped(function)
    if not isinstance(function, FunctionType):
        return []
    captured = dict(_captured(function))
    values = list(captured.values())
    for code in _codes(function.__code__):
        value: Any = None
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL":
                value = function.__globals__.get(instruction.argval)
            elif instruction.opname == "LOAD_DEREF":
                value = captured.get(instruction.argval)
            elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and value is not None:
                value = getattr(value, instruction.argval, None)
            else:
                value = None
            if value is not None:
                values.append(value)
    return values


def _unwrapped(function: Any) -> Any:
    function = getattr(function, "__func__", function)
    wrapped = getattr(function, "__wrapped__", None)
    return getattr(wrapped, "__func__", wrapped) if callable(wrapped) else function


def _captured(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not bound yet: the function itself, perhaps
            continue


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def graph_in(target: Any) -> Any:
    """Return the first compiled graph that a node is, is made of, or calls; None if there is none to be seen.

    Graphs with ``checkpointer=False`` don't count: they keep nothing that anyone could ask for.
    """
    waiting, seen = [target], set()
    for candidate in waiting:
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if getattr(candidate, "is_compiled_graph", False) is True:
            if candidate.checkpointer is not False:
                return candidate
            continue
        if isinstance(candidate, (FunctionType, MethodType)) and candidate is target:
            waiting.extend(getattr(value, "__self__", value) for value in reached(candidate))
        for part in _PARTS:
            held = getattr(candidate, part, None) if hasattr(candidate, "ainvoke") else None
            if isinstance(held, (list, tuple)):
                waiting.extend(held)
    return None


def may_leave(function: Any) -> bool:
    """Whether ``function`` could bring up a ``Command`` for the graph around, by way of a graph it runs."""
    waiting, seen = [function], set()
    for value in waiting:
        candidate = _unwrapped(value)
        if id(candidate) in seen or _is_harmless(candidate):
            continue
        seen.add(id(candidate))
        if not isinstance(candidate, FunctionType):
            return True
        if any(not _ROUTING.isdisjoint(code.co_names) for code in _codes(candidate.__code__)):
            return True
        waiting.extend(found for found in reached(candidate) if callable(found))
    return False


def _is_harmless(value: Any) -> bool:
    if isinstance(value, (ModuleType, type, BuiltinFunctionType)):
        return True
    package = (getattr(value, "__module__", None) or "").partition(".")[0]
    return package == _OWN or package in sys.stdlib_module_names
