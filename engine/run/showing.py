"""What a checkpoint says: for the *checkpoints* stream, and for ``get_state``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from otel_stream.encoding import shown
from otel_stream.events import CheckpointSaved

from ..core.payloads import result_payload
from ..core.state import ERROR, RETURN
from ..core.task import NodeTask, RunEnv
from ..graph.node import Writes
from ..graph.program import Program
from ..types import INTERRUPT, MISSING, Config, PregelTask
from .checkpointing import NO_OUTCOME, Checkpoints, items


def checkpoint_saved(env: RunEnv, checkpoints: Checkpoints, tasks: Sequence[NodeTask]) -> CheckpointSaved:
    """Return the event for the checkpoint a run is at.

    ``tasks`` are those that come next; before superstep 0 it is the one that takes the input.
    """
    place = {**checkpoints.config["configurable"], "checkpoint_id": env.state.checkpoint_id}
    metadata = checkpoints.metadata
    return CheckpointSaved(
        env.run,
        int(metadata["step"]),
        with_map({"configurable": place}, metadata),
        with_map(checkpoints.parent_config, metadata),
        env.program.state_view.read(env.state.channels),
        dict(metadata),
        tuple(task.node for task in tasks),
        tuple(_task_payload(env.program, checkpoints, task) for task in tasks),
        time.time_ns(),
    )


def _task_payload(program: Program, checkpoints: Checkpoints, task: NodeTask) -> dict[str, Any]:
    state = None
    if task.node in program.subgraphs:
        state = {"configurable": {"thread_id": task.run.thread_id, "checkpoint_ns": task.ns}}
    shown = shown_task(program, task, checkpoints.of_task(task.id), state, live=False)
    payload: dict[str, Any] = {"id": shown.id, "name": shown.name}
    if shown.error:
        return {**payload, "error": shown.error, "state": shown.state}
    if shown.result:
        payload["result"] = shown.result
    payload["interrupts"] = tuple(
        {"value": item.value, "id": item.id, "response_schema": item.response_schema}
        for item in shown.interrupts
    )
    payload["state"] = shown.state
    return payload


def shown_task(program: Program, task: NodeTask, writes: Writes, state: Any, *, live: bool) -> PregelTask:
    """Describe a task by what it has written: as it is now with ``live``, else as a record of its superstep.

    A record has the last question a task asked even if it has been answered since.
    """
    outcome = [write for write in writes if write[0] not in NO_OUTCOME]
    error = next((value for name, value in writes if name == ERROR), None)
    asked = tuple(item for name, value in writes if name == INTERRUPT for item in items(value))
    return PregelTask(
        task.id,
        task.node,
        task.path,
        shown(error) if isinstance(error, BaseException) else error,
        () if live and outcome else asked,
        state,
        _result(program, outcome) if outcome else None,
    )


def _result(program: Program, outcome: Writes) -> Any:
    returned = next((value for name, value in outcome if name == RETURN), MISSING)
    if returned is not MISSING:
        return returned
    result = result_payload(program, outcome)
    single = program.state_view.single
    return result if single is None else result.get(single)


def with_map(config: Config | None, metadata: Mapping[str, Any] | None) -> Any:
    """Add to a checkpoint's config where the runs around it were, so that a run can be pointed there."""
    parents = metadata.get("parents") if metadata else None
    if config is None or not parents:
        return config
    place = config["configurable"]
    around = {**parents, place.get("checkpoint_ns", ""): place.get("checkpoint_id")}
    return {**config, "configurable": {**place, "checkpoint_map": around}}
