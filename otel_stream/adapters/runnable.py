"""What makes a compiled graph one of LangChain's Runnables, without its class being one.

A graph must not load LangChain to exist. So it is registered as a Runnable in programs that have loaded
LangChain, and borrows the methods it has no form of its own for when somebody asks for them.
"""

from __future__ import annotations

import sys
from typing import Any

#: Methods and properties of a Runnable that only need the graph's own ``invoke``, ``stream`` and the like.
BORROWED = frozenset(
    {
        *("abatch_as_completed", "as_tool", "assign", "astream_log", "atransform"),
        *("batch_as_completed", "bind", "config_schema", "config_specs", "get_config_jsonschema"),
        *("get_prompts", "map", "pick", "pipe", "transform", "with_alisteners", "with_fallbacks"),
        *("with_listeners", "with_retry", "with_types"),
    }
)


def is_borrowed(name: str) -> bool:
    """Whether ``name`` is one of those, or one of LangChain's own that they call in turn."""
    if name in BORROWED:
        return True
    runnable = getattr(sys.modules.get("langchain_core.runnables.base"), "Runnable", None)
    return name.startswith("_") and not name.startswith("__") and hasattr(runnable, name)


def register(kind: type) -> None:
    """Let ``isinstance(graph, Runnable)`` hold in a program that has loaded LangChain."""
    runnable = getattr(sys.modules.get("langchain_core.runnables.base"), "Runnable", None)
    if runnable is not None:
        runnable.register(kind)


def borrowed(graph: Any, name: str) -> Any:
    """Return a method or property of LangChain's Runnable, of ``graph``.

    Raises:
        ModuleNotFoundError: LangChain is not installed.
    """
    from langchain_core.runnables import Runnable

    Runnable.register(type(graph))
    found: Any = vars(Runnable)[name]
    return found.__get__(graph, type(graph))


def side_by_side(steps: dict[str, Any]) -> Any:
    """Return what calls every one of ``steps`` with its input, and answers with a mapping of their answers.

    Raises:
        ModuleNotFoundError: LangChain is not installed.
    """
    from langchain_core.runnables import RunnableParallel

    return RunnableParallel(steps)
