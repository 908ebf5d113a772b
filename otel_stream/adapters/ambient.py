"""The config that LangChain calls made here inherit: read and set without loading LangChain.

LangChain keeps it in a context variable. While LangChain is not loaded, nobody can have set it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import Context, ContextVar
from typing import Any

_MODULE = "langchain_core.runnables.config"


def ambient_variable() -> ContextVar[Any] | None:
    """Return the context variable, None while LangChain is not loaded."""
    return getattr(sys.modules.get(_MODULE), "var_child_runnable_config", None)


def ambient_config(context: Context | None = None) -> Mapping[str, Any] | None:
    """Return the config that is in force here, or in ``context``; None if there is none."""
    variable = ambient_variable()
    if variable is None:
        return None
    found = variable.get(None) if context is None else context.get(variable)
    return found if isinstance(found, Mapping) else None
