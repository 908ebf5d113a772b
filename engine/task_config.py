"""Whose config it is: the config of a task, and which task a config comes from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from otel_stream.adapters.ambient import ambient_config

from .types import Config

if TYPE_CHECKING:
    from .core.task import NodeTask

#: The task whose node is running here. Every attempt runs in a context of its own, so it is never reset.
CURRENT_TASK: ContextVar[NodeTask | None] = ContextVar("engine_task", default=None)
#: Under ``configurable``: the task that a config comes from.
ORIGIN: Final = "__engine_task__"


class Origin:
    """Names a task in the configs that come from it. A copy of a config in another process names none."""

    __slots__ = ("task",)

    def __init__(self, task: NodeTask | None = None) -> None:
        self.task = task

    def __copy__(self) -> Origin:
        return self

    def __deepcopy__(self, memo: Any) -> Origin:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (Origin, ())

    def __repr__(self) -> str:
        return f"<task of {self.task.node!r}>" if self.task is not None else "<task elsewhere>"


def origin_of(config: Mapping[str, Any] | None) -> NodeTask | None:
    """Return the task that a config comes from, if it comes from one."""
    if type(config) is TaskConfig:
        return config.task
    if not config:
        return None
    origin = (config.get("configurable") or {}).get(ORIGIN)
    return origin.task if isinstance(origin, Origin) else None


def speaking_task(*configs: Mapping[str, Any] | None) -> NodeTask | None:
    """Return the task on whose behalf a call is made, None outside of a run.

    It is who the call's config names; failing that, the config that LangChain has put in force here; and only
    then the task in whose context the code runs, since a worker may have been started in another task's.
    """
    for config in configs:
        task = origin_of(config)
        if task is not None:
            return task
    return origin_of(ambient_config()) or CURRENT_TASK.get()


def task_metadata(task: NodeTask) -> dict[str, Any]:
    """Return what message parts, and LangChain calls, say about where they come from."""
    ns = task.ns
    found: dict[str, Any] = {
        **task.run.metadata,
        "langgraph_step": task.step,
        "langgraph_node": task.node,
        "langgraph_triggers": task.triggers,
        "langgraph_path": task.path,
        "langgraph_checkpoint_ns": ns,
        "checkpoint_ns": ns,
        **(task.spec.metadata or {}),
    }
    if task.run.thread_id is not None:
        found["thread_id"] = task.run.thread_id
    if task.run.tags:
        found["tags"] = list(task.run.tags)
    return found


def task_config(task: NodeTask) -> Config:
    """Build the RunnableConfig of a task. It names the task, so that whoever is given it is heard as it."""
    env = task.env
    configurable = env.config.get("configurable", {})
    place = {"checkpoint_ns": task.ns, "checkpoint_id": None, ORIGIN: Origin(task)}
    config: Config = {
        "tags": list(env.run.tags),
        "metadata": task_metadata(task),
        "recursion_limit": env.recursion_limit,
        "configurable": {**configurable, **place},
    }
    for key in ("callbacks", "max_concurrency"):
        if key in env.config:
            config[key] = env.config[key]
    if env.langchain is not None:
        env.langchain.complete(task, config)
    return config


class TaskConfig(dict[str, Any]):
    """The config of a task, made when it is first looked into: most nodes never do."""

    __slots__ = ("_filled", "_for_langgraph", "task")

    def __init__(self, task: NodeTask) -> None:
        self.task = task
        self._filled = self._for_langgraph = False

    def _fill(self) -> None:
        if not self._filled or not (self._for_langgraph or "langgraph" not in sys.modules):
            self._filled, self._for_langgraph = True, "langgraph" in sys.modules
            dict.update(self, task_config(self.task))

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))


def _on_demand(name: str) -> Callable[..., Any]:
    plain = getattr(dict, name)

    @wraps(plain)
    def filled(self: TaskConfig, *args: Any, **kwargs: Any) -> Any:
        self._fill()
        return plain(self, *args, **kwargs)

    return filled


for _name in (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__", "__ne__"),
    *("__or__", "__repr__", "__reversed__", "__ror__", "__setitem__"),
    *("clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"),
):
    setattr(TaskConfig, _name, _on_demand(_name))
