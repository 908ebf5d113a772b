"""What a checkpoint says: for the *checkpoints* stream, and for ``get_state``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from otel_stream.events import CheckpointSaved

from ..core.state import ERROR, INPUT, PULL, RETURN, GraphRun, NodeTask, State, Written
from ..core.superstep import apply, order, plan, read_values, result_payload
from ..graph.node import Writes
from ..run.checkpointing import NO_OUTCOME, NULL_TASK, items, unsigned
from ..types import INTERRUPT, MISSING, START, Config, PregelTask, StateSnapshot

if TYPE_CHECKING:
    from ..graph.program import Program
    from ..run.loop import RunLoop
    from .compiled import CompiledStateGraph


def checkpoint_event(loop: RunLoop, tasks: Sequence[NodeTask]) -> CheckpointSaved | None:
    """Return the event for the checkpoint the loop is at, None when nobody wants it.

    ``tasks`` are those that come next; before superstep 0 it is the one that takes the input.
    """
    observer, persist = loop.observer, loop.persist
    if observer is None or persist is None or not observer.interest & CheckpointSaved.bit:
        return None
    config = {"configurable": {**persist.config["configurable"], "checkpoint_id": loop.state.checkpoint_id}}
    return CheckpointSaved(
        loop.run,
        int(persist.metadata["step"]),
        with_map(config, persist.metadata),
        with_map(persist.parent_config, persist.metadata),
        read_values(loop.state.channels, loop.program.state_keys),
        dict(persist.metadata),
        tuple(task.node for task in tasks),
        tuple(_task_payload(loop, task) for task in tasks),
        time.time_ns(),
    )


def _task_payload(loop: RunLoop, task: NodeTask) -> dict[str, Any]:
    assert loop.persist is not None
    state = None
    if task.node in loop.program.subgraphs:
        state = {"configurable": {"thread_id": task.run.thread_id, "checkpoint_ns": task.ns}}
    shown = shown_task(loop.program, task, loop.persist.of_task(task.id), state, live=False)
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
        repr(error) if isinstance(error, BaseException) else error,
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


class Snapshots:
    """Rebuilds states from checkpoints, for ``get_state`` and ``update_state``."""

    def __init__(self, graph: CompiledStateGraph, place: Config, saver: Any) -> None:
        self.graph = graph
        self.program = graph.program
        self.saver = saver
        where = place["configurable"]
        namespace = where.get("checkpoint_ns") or ""
        #: Stands for the run that would go on from here: the ids of its tasks derive from it.
        self.run = GraphRun(
            "stored",
            graph.name,
            context=copy_context(),
            path=tuple(namespace.split("|")) if namespace else (),
            thread_id=where["thread_id"],
        )

    def state(self, saved: Any) -> State:
        """Return the channels as ``saved`` has them."""
        checkpoint = saved.checkpoint
        state = State(
            self.program.fresh_channels(),
            checkpoint_id=checkpoint["id"],
            track=True,
            next_version=getattr(self.saver, "get_next_version", None),
        )
        seen = {node: dict(versions) for node, versions in checkpoint["versions_seen"].items()}
        state.load(checkpoint["channel_values"], dict(checkpoint["channel_versions"]), seen)
        return state

    def tasks(self, step: int, state: State) -> list[NodeTask]:
        """Return the tasks of superstep ``step``, which comes next."""
        tasks = plan(self.program, state, self.run, step, step + 2, None)
        start = state.channels[START]
        if self.program.start is not None and start.available:
            task = NodeTask(
                self.run,
                self.program.start,
                step,
                seed=state.checkpoint_id,
                input=start.value,
                path=(PULL, START),
                triggers=(START,),
            )
            tasks.insert(0, task)
        return tasks

    def next_tasks(self, saved: Any, state: State) -> list[NodeTask]:
        """Return the tasks that come after the checkpoint ``saved``."""
        return self.tasks(saved.metadata.get("step", -1) + 1, state)

    def take_back(self, saved: Any, state: State, tasks: list[NodeTask], *, outcomes: bool) -> None:
        """Apply what commands have written, and give tasks that have finished what they wrote."""
        writes = saved.pending_writes or ()
        null = [(name, value) for owner, name, value in writes if str(owner) == NULL_TASK]
        if null:
            apply(self.program, state, [Written(INPUT, (), null)], bump=False)
        if outcomes:
            for task in tasks:
                task.writes = [(n, v) for owner, n, v in writes if owner == task.id and n not in NO_OUTCOME]

    def snapshot(
        self, config: Config, saved: Any, *, live: bool, states: Mapping[str, Any] | None = None
    ) -> StateSnapshot:
        """Return what ``get_state`` shows of a checkpoint.

        With ``live`` it is how things are: tasks that have finished count. Without, it is a record: the state
        and the tasks at the start of the superstep.
        """
        if saved is None:
            return StateSnapshot({}, (), config, None, None, None, (), ())
        state = self.state(saved)
        tasks = self.next_tasks(saved, state)
        self.take_back(saved, state, tasks, outcomes=live)
        ended = [task for task in tasks if task.writes]
        if ended:
            apply(self.program, state, order(ended))
        shown = tuple(
            shown_task(self.program, task, _of(task, saved), (states or {}).get(task.id), live=live)
            for task in tasks
        )
        return StateSnapshot(
            read_values(state.channels, self.program.state_keys),
            tuple(task.node for task in tasks if not task.writes),
            with_map(saved.config, saved.metadata),
            unsigned(saved.metadata),
            saved.checkpoint["ts"],
            with_map(saved.parent_config, saved.metadata),
            shown,
            tuple(interrupt for task in shown for interrupt in task.interrupts),
        )


def _of(task: NodeTask, saved: Any) -> Writes:
    return [(name, value) for owner, name, value in saved.pending_writes or () if owner == task.id]
