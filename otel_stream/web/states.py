"""The state of a thread and its history, as LangGraph's clients are told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_stream.web.problems import Problem
from otel_stream.web.runs import Hub, Thread


def config_of(thread: Thread, at: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that finds a checkpoint of a thread; its newest if ``at`` names none."""
    place = {name: at[name] for name in ("checkpoint_id", "checkpoint_ns") if at.get(name)}
    return {"configurable": {"thread_id": thread.id, **place}}


async def state_of(hub: Hub, thread: Thread, at: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a thread; without a checkpointer what its last run left."""
    served = hub.graph(thread.graph) if thread.graph else None
    if served is None or not served.keeps_threads:
        return _shown(thread, thread.values or {}, interrupts=list(thread.interrupts))
    return _snapshot(thread, await served.graph.aget_state(config_of(thread, at)))


async def history_of(hub: Hub, thread: Thread, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the states of a thread, the newest first.

    Raises:
        Problem: the limit is none.
    """
    served = hub.graph(thread.graph) if thread.graph else None
    try:
        limit = min(int(asked.get("limit") or 10), 1000)
    except ValueError:
        raise Problem(422, "limit is no number.") from None
    if served is None or not served.keeps_threads:
        return [await state_of(hub, thread, {})] if thread.values is not None else []
    before = asked.get("before")
    if isinstance(before, str):
        before = {"configurable": {"thread_id": thread.id, "checkpoint_id": before}}
    elif isinstance(before, dict) and "configurable" not in before:
        before = config_of(thread, before)
    config = config_of(thread, asked.get("checkpoint") or {})
    found = served.graph.aget_state_history(config, filter=asked.get("metadata"), before=before, limit=limit)
    return [_snapshot(thread, state) async for state in found]


def _snapshot(thread: Thread, state: Any) -> dict[str, Any]:
    tasks = [
        {
            "id": task.id,
            "name": task.name,
            "path": list(task.path),
            "error": None if task.error is None else type(task.error).__name__,
            "interrupts": list(task.interrupts),
            "checkpoint": None,
            "state": None,
            "result": None,
        }
        for task in state.tasks
    ]
    return _shown(
        thread,
        state.values,
        next=list(state.next),
        tasks=tasks,
        interrupts=list(state.interrupts),
        metadata=dict(state.metadata or {}),
        created_at=state.created_at,
        checkpoint=_place(state.config, thread),
        parent_checkpoint=None if state.parent_config is None else _place(state.parent_config, thread),
    )


def _place(config: Mapping[str, Any], thread: Thread) -> dict[str, Any]:
    known = config.get("configurable", {})
    return {
        "thread_id": thread.id,
        "checkpoint_ns": known.get("checkpoint_ns", ""),
        "checkpoint_id": known.get("checkpoint_id"),
        "checkpoint_map": known.get("checkpoint_map"),
    }


def _shown(thread: Thread, values: Any, **known: Any) -> dict[str, Any]:
    return {
        "values": values,
        "next": [],
        "tasks": [],
        "interrupts": [],
        "metadata": {},
        "created_at": thread.updated_at,
        "checkpoint": _place({}, thread),
        "parent_checkpoint": None,
    } | known
