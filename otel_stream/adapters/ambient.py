"""What LangChain keeps in context variables and the environment, asked without loading LangChain.

While LangChain is not loaded, nobody can have set one of its variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextvars import Context, ContextVar
from functools import cache
from typing import Any, Final

_MODULE = "langchain_core.runnables.config"
#: Switches of LangSmith's tracer, which LangChain turns on by itself.
_TRACING: Final = ("LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGCHAIN_TRACING")


def ambient_variable() -> ContextVar[Any] | None:
    """Return the context variable of the config that LangChain calls inherit, None while it is not loaded."""
    return getattr(sys.modules.get(_MODULE), "var_child_runnable_config", None)


def ambient_config(context: Context | None = None) -> Mapping[str, Any] | None:
    """Return the config that is in force here, or in ``context``; None if there is none."""
    variable = ambient_variable()
    if variable is None:
        return None
    found = variable.get(None) if context is None else context.get(variable)
    return found if isinstance(found, Mapping) else None


@cache
def traced_by_environment() -> bool:
    """Whether the environment turns LangSmith's tracer on; read once, as LangSmith itself does."""
    return any(os.environ.get(name) == "true" for name in _TRACING)


def maybe_traced() -> bool:
    """Whether LangChain may have somebody to tell of a run whose config names no callbacks.

    A cheap guess on the safe side: who it really is, LangChain finds out.
    """
    if traced_by_environment() or getattr(sys.modules.get("langchain_core.globals"), "_debug", False):
        return True
    langsmith = sys.modules.get("langsmith._internal._context")
    if getattr(langsmith, "_GLOBAL_TRACING_ENABLED", None):
        return True
    langchain = sys.modules.get("langchain_core.tracers.context")
    hooks = getattr(langchain, "_configure_hooks", ())
    variables = [getattr(langsmith, name, None) for name in ("_TRACING_ENABLED", "_PARENT_RUN_TREE_REF")]
    variables += [getattr(langchain, "tracing_v2_callback_var", None), *(hook[0] for hook in hooks)]
    if any(variable is not None and variable.get() for variable in variables):
        return True
    return any(hook[3] in os.environ for hook in hooks if hook[3])
