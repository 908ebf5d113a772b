"""What we use of LangGraph that it does not promise, and whether it is there.

All of it has kept its name from 1.0.0 on. Where one is missing, nothing is hooked but the public callbacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from typing import Any, Final

_MAIN: Final = "langgraph.pregel.main"
LOOPS: Final = ("SyncPregelLoop", "AsyncPregelLoop")

_METHODS: Final = {
    "SyncPregelLoop": ("__enter__", "__exit__", "accept_push"),
    "AsyncPregelLoop": ("__aenter__", "__aexit__", "aaccept_push"),
}
_OF_BOTH: Final = (
    "_checkpointer_put_after_previous",
    "_emit",
    "_first",
    "_suppress_interrupt",
    "after_tick",
    "output_writes",
    "tick",
)
_ARGUMENTS: Final = ("config", "manager", "output_keys", "specs", "stream_keys")
_FUNCTIONS: Final = {
    "langgraph.pregel._algo": ("task_path_str",),
    "langgraph.pregel._messages": ("StreamMessagesHandler",),
    "langgraph.pregel._io": ("map_output_updates", "read_channels"),
    "langgraph.pregel.debug": ("map_debug_task_results", "map_debug_tasks"),
}
_TASK: Final = ("config", "id", "input", "name", "path", "proc", "retry_policy", "triggers", "writes")


def missing() -> list[str]:
    """Return what is missing of what the hooks can't do without."""
    return [*_missing_of_loops(), *_missing_functions(), *_missing_of_tasks()]


def _missing_of_loops() -> Iterator[str]:
    main = _module(_MAIN)
    for name in LOOPS:
        loop = getattr(main, name, None)
        if loop is None:
            yield f"{_MAIN}.{name}"
            continue
        yield from (
            f"{name}.{method}" for method in (*_METHODS[name], *_OF_BOTH) if not hasattr(loop, method)
        )
        taken = signature(loop.__init__).parameters
        yield from (f"{name}({argument}=)" for argument in _ARGUMENTS if argument not in taken)


def _missing_functions() -> Iterator[str]:
    for place, names in _FUNCTIONS.items():
        found = _module(place)
        yield from (f"{place}.{name}" for name in names if not hasattr(found, name))


def _missing_of_tasks() -> Iterator[str]:
    task = getattr(_module("langgraph.types"), "PregelExecutableTask", None)
    fields = getattr(task, "__dataclass_fields__", {})
    yield from (f"PregelExecutableTask.{name}" for name in _TASK if name not in fields)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None
