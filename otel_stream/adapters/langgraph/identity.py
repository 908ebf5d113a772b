"""Which run it is: what LangGraph calls a run, and how it begins, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from langgraph.types import Command

from otel_stream.adapters.langgraph import words
from otel_stream.adapters.langgraph.declared import declared
from otel_stream.adapters.langgraph.task import NodeTask
from otel_stream.events import Run
from otel_stream.telemetry.agents import NAMED_BY


def run_of(loop: Any, graph: Any, called_by: NodeTask | None) -> Run:
    """Return the run of a loop, which is a subgraph's if a task has called it."""
    config = loop.config
    configurable = config.get(words.CONF, {})
    thread = configurable.get(words.THREAD_ID)
    return Run(
        str(getattr(loop.manager, "run_id", "")),
        _name(config, graph),
        context=copy_context(),
        ns=tuple(loop.checkpoint_ns) if called_by is not None else (),
        parent=called_by,
        thread_id=None if thread is None else str(thread),
        tags=tuple(config.get("tags") or ()),
        metadata=_metadata(config, graph, called_by),
        names=tuple(getattr(loop, "specs", ())),
        declared=None if graph is None else declared(graph),
    )


def _metadata(config: Mapping[str, Any], graph: Any, called_by: NodeTask | None) -> Mapping[str, Any] | None:
    """Return the run's metadata; which agent a subgraph is, it says itself.

    LangGraph hands down the metadata of the run around it, which wins over what the subgraph was bound to.
    """
    handed: Mapping[str, Any] | None = config.get("metadata")
    own = (getattr(graph, "config", None) or {}).get("metadata") or {}
    named = {key: own[key] for key in NAMED_BY if own.get(key)}
    return handed if called_by is None or not named else {**(handed or {}), **named}


def _name(config: Mapping[str, Any], graph: Any) -> str:
    """Return the graph's name; where it was given none, that of the run."""
    name = graph.get_name() if graph is not None else "LangGraph"
    return str(config.get("run_name") or name) if name == "LangGraph" else str(name)


def goes_on(loop: Any) -> bool:
    """Whether the run goes on from its checkpoint, by LangGraph's own rule."""
    if not loop.checkpoint["channel_versions"]:
        return False
    configurable = loop.config.get(words.CONF, {})
    if words.RESUMING in configurable:
        return bool(configurable[words.RESUMING])
    if loop.input is None or isinstance(loop.input, Command):
        return True
    run_id = (loop.config.get("metadata") or {}).get("run_id")
    return not loop.is_nested and run_id is not None and run_id == loop.checkpoint_metadata.get("run_id")
