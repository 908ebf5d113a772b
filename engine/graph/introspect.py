"""Which graph a node is, is made of, or calls: what drawing opens, and whose state is asked for.

A guess for display: what a function names is looked up where it would be found, and nothing is run for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FunctionType, MethodType
from typing import Any

#: Attributes of LangChain's runnables that hold other ones.
_PARTS = ("steps", "deps")
#: Attributes of attributes that are followed: ``service.agents.writer``.
_DEPTH = 3


def graph_in(target: Any) -> Any:
    """Return the first compiled graph that a node is, is made of, or calls; None if there is none to be seen.

    Graphs with ``checkpointer=False`` don't count: they keep nothing that anyone could ask for.
    """
    waiting, seen = [target], set()
    for candidate in waiting:
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if getattr(type(candidate), "is_compiled_graph", False) is True:
            if candidate.checkpointer is not False:
                return candidate
            continue
        if candidate is target:
            waiting.extend(_named_in(candidate))
        for part in _PARTS:
            held = getattr(candidate, part, None) if hasattr(type(candidate), "ainvoke") else None
            if isinstance(held, (list, tuple)):
                waiting.extend(held)
    return None


def _named_in(function: Any) -> Iterator[Any]:
    """Yield the values a function captures or names as globals, and what it names of their attributes."""
    function = _unwrapped(function)
    if not isinstance(function, FunctionType):
        return
    names = [name for code in _codes(function.__code__) for name in code.co_names]
    level = [*_captured(function), *(function.__globals__.get(name) for name in names)]
    for _ in range(_DEPTH):
        level = [value.__self__ if type(value) is MethodType else value for value in level]
        yield from level
        attributes = [_stored(value) for value in level]
        level = [stored[name] for stored in attributes for name in names if name in stored]


def _stored(value: Any) -> dict[str, Any]:
    """Return the attributes that are just there: a property, or a proxy's answer to any name, is code."""
    stored: Any = None
    with suppress(Exception):  # a proxy of nothing
        stored = value.__dict__
    return stored if type(stored) is dict else {}


def _unwrapped(function: Any) -> Any:
    function = getattr(function, "__func__", function)
    wrapped = getattr(function, "__wrapped__", None)
    return getattr(wrapped, "__func__", wrapped) if callable(wrapped) else function


def _captured(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet: the function itself, perhaps
            continue


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
