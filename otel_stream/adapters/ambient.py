"""What LangChain keeps in context variables and the environment, asked without loading LangChain.

While LangChain is not loaded, nobody can have set one of its variables.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, ContextVar
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

_MODULE = "langchain_core.runnables.config"
#: Switches of LangSmith's tracer, which LangChain turns on by itself.
_TRACING: Final = ("LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGCHAIN_TRACING")


def ambient_variable() -> ContextVar[Any] | None:
    """Return the context variable of the config that LangChain calls inherit, None while it is not loaded."""
    return getattr(sys.modules.get(_MODULE), "var_child_runnable_config", None)


class _Watch(MetaPathFinder):
    """Finds nothing; when LangChain is loaded, it says so, where that happens."""

    def __init__(self, loaded: Callable[[], None]) -> None:
        self._loaded = loaded

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader, self._loaded)
        return spec


class _Telling(Loader):
    def __init__(self, loader: Loader, loaded: Callable[[], None]) -> None:
        self._loader, self._loaded = loader, loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._loaded()


def when_loaded(tell: Callable[[], None]) -> None:
    """Call ``tell`` where and when LangChain is loaded, if it is not loaded yet."""
    if _MODULE not in sys.modules:
        sys.meta_path.insert(0, _Watch(tell))


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
