"""The ``config`` of a run: LangChain's RunnableConfig, merged from its sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..types import Config

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


def is_own_thread(config: Mapping[str, Any] | None) -> bool:
    """Whether a graph called in a node is told where its checkpoints are, so that they are not the node's."""
    configurable = (config or {}).get("configurable") or {}
    return any(
        configurable.get(key) for key in ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")
    )


def _merge_callbacks(one: Any, other: Any) -> Any:
    if one is None:
        return other
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    return other


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
    configurable = config.get("configurable") or {}
    metadata.update((key, configurable[key]) for key in _BELONGING - metadata.keys() if configurable.get(key))
    return metadata


_BELONGING = frozenset({"assistant_id", "checkpoint_id", "checkpoint_ns", "graph_id", "run_id", "task_id"})
