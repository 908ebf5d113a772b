"""The ``config`` of a run: LangChain's RunnableConfig, merged from its sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..task_config import ORIGIN, origin_of, task_metadata
from ..types import Config

if TYPE_CHECKING:
    from ..core.task import NodeTask

#: Where in ``configurable`` a config says where checkpoints are.
_PLACE = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")
#: Supersteps a run may take unless ``config["recursion_limit"]`` says otherwise; LangGraph's default.
DEFAULT_RECURSION_LIMIT = int(os.environ.get("LANGGRAPH_DEFAULT_RECURSION_LIMIT", "10007"))

_KNOWN = frozenset(
    {
        "tags",
        "metadata",
        "callbacks",
        "run_name",
        "run_id",
        "max_concurrency",
        "recursion_limit",
        "configurable",
    }
)


def merge_configs(*configs: Mapping[str, Any] | None) -> Config:
    """Merge configs, later ones winning; tags add up, metadata and configurable merge key by key.

    Keys that RunnableConfig does not know become configurable values, as in LangChain.
    """
    merged: Config = {}
    for config in configs:
        for key, value in (config or {}).items():
            if value is None:
                continue
            if key == "tags":
                merged["tags"] = [
                    *merged.get("tags", ()),
                    *(t for t in value if t not in merged.get("tags", ())),
                ]
            elif key in ("metadata", "configurable"):
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "callbacks":
                merged["callbacks"] = _merge_callbacks(merged.get("callbacks"), value)
            elif key in _KNOWN or key.startswith("__"):
                merged[key] = value
            else:
                merged.setdefault("configurable", {})[key] = value
    return merged


def names_another_place(
    config: Mapping[str, Any] | None, task: NodeTask, *, any_thread: bool = False
) -> bool | None:
    """Whether a graph called by ``task`` is told to keep its checkpoints elsewhere than under the task.

    None: it is told nothing. A config that comes from the task names the task's own place, and one that names
    the task's thread and no more does so, too, unless ``any_thread`` is another place.
    """
    configurable = (config or {}).get("configurable") or {}
    own = _place_of(task)
    if origin_of(config) is not task:
        named = [key for key in _PLACE if configurable.get(key)]
        if named == ["thread_id"] and not any_thread and configurable["thread_id"] == own.get("thread_id"):
            return False
        return True if named else None
    return any(configurable[key] != own.get(key) for key in _PLACE if key in configurable)


def _place_of(task: NodeTask) -> dict[str, Any]:
    configurable = task.env.config.get("configurable") or {}
    return {**configurable, "checkpoint_ns": task.ns, "checkpoint_id": None}


def without_origin(config: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return what a config says beyond the task it comes from: what somebody has added or changed."""
    configurable = (config or {}).get("configurable") or {}
    if config is None or ORIGIN not in configurable:
        return config
    task = origin_of(config)
    own = {} if task is None else _place_of(task)
    about = {} if task is None else task_metadata(task)
    said = {key: value for key, value in config.items() if key != "run_id"}
    said["metadata"] = _changed(config.get("metadata") or {}, about)
    said["configurable"] = _changed(configurable, {key: own.get(key) for key in _PLACE})
    said["configurable"] = {
        key: value
        for key, value in said["configurable"].items()
        if key != ORIGIN and not (key in _GIVEN and task is not None)
    }
    return said


#: What a task's config holds for LangGraph's functions.
_GIVEN = frozenset(
    f"__pregel_{name}"
    for name in ("checkpointer", "read", "resuming", "runtime", "scratchpad", "send", "task_id")
)


def _changed(said: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in own or own[key] != value}


def _merge_callbacks(one: Any, other: Any) -> Any:
    """Merge the callbacks of two configs: lists of handlers, or LangChain's managers of them."""
    if one is None:
        return other
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(other, list):
        one, other = other, one
    if not isinstance(one, list):
        return other
    merged = other.copy()
    for handler in one:
        merged.add_handler(handler, inherit=True)
    return merged


def recursion_limit(config: Config) -> int:
    """Return the recursion limit.

    Raises:
        ValueError: it is below 1.
    """
    limit = config.get("recursion_limit", DEFAULT_RECURSION_LIMIT)
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(
            f"recursion_limit must be at least 1: {limit!r} is not; set config['recursion_limit'] "
            f"to the most supersteps a run may take"
        )
    return limit


def inherited_metadata(config: Config) -> dict[str, Any]:
    """Return the run's metadata: the user's own, and what in ``configurable`` says where the run belongs.

    The rest of ``configurable`` may be anything, keys to services included, so it stays out.
    """
    metadata = dict(config.get("metadata") or {})
    configurable = config.get("configurable")
    if not configurable:
        return metadata
    metadata.update((key, configurable[key]) for key in _BELONGING - metadata.keys() if configurable.get(key))
    return metadata


_BELONGING = frozenset({"assistant_id", "checkpoint_id", "checkpoint_ns", "graph_id", "run_id", "task_id"})
