"""What a checkpoint says: for the *checkpoints* stream, and for ``get_state``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from otel_stream.events import CheckpointSaved

from .persist import NULL_TASK
from .superstep import ERROR, PULL, RESUME, NodeTask, State, Written, apply, order, plan, read_values
from .superstep import result_payload
from .types import INTERRUPT, START, Config, PregelTask, StateSnapshot

if TYPE_CHECKING:
    from .compiled import CompiledStateGraph
    from .loop import RunLoop

_NO_OUTCOME = (ERROR, INTERRUPT, RESUME)


def checkpoint_event(loop: RunLoop, tasks: Sequence[NodeTask]) -> CheckpointSaved | None:
    """Return the event for the checkpoint the loop is at, None when nobody wants it.

    ``tasks`` are those that come next; before superstep 0 it is the one that takes the input.
    """
    observer, persist = loop.observer, loop.persist
    if observer is None or persist is None or not observer.interest & CheckpointSaved.bit:
        return None
    before_start = persist.metadata.get("source") == "input" and loop.has_input
    config = {
        "configurable": {**persist.config["configurable"], "checkpoint_id": loop.state.checkpoint_id}
    }
    shown = [_task_payload(loop, task) for task in tasks]
    if before_start:
        shown = [{"id": tasks[0].id, "name": START, "interrupts": (), "state": None}]
    return CheckpointSaved(
        loop.run,
        int(persist.metadata["step"]),
        config,
        persist.parent_config,
        read_values(loop.state.channels, loop.program.state_keys),
        dict(persist.metadata),
        (START,) if before_start else tuple(task.node for task in tasks),
        tuple(shown),
        time.time_ns(),
    )


def _task_payload(loop: RunLoop, task: NodeTask) -> dict[str, Any]:
    assert loop.persist is not None
    pending = loop.persist.of_task(task.id)
    state = _subgraph_config(loop, task) if task.spec.callback.subgraph is not None else None
    error = next((value for name, value in pending if name == ERROR), None)
    if error is not None:
        return {"id": task.id, "name": task.node, "error": error, "state": state}
    payload: dict[str, Any] = {"id": task.id, "name": task.node, "interrupts": _asked(pending), "state": state}
    return payload


def _asked(pending: Sequence[tuple[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"value": item.value, "id": item.id, "response_schema": item.response_schema}
        for name, value in pending
        if name == INTERRUPT
        for item in (value if isinstance(value, (list, tuple)) else (value,))
    )


def _subgraph_config(loop: RunLoop, task: NodeTask) -> Config:
    return {"configurable": {"thread_id": task.run.thread_id, "checkpoint_ns": task.ns}}


class Snapshots:
    """Rebuilds states from checkpoints, for ``get_state`` and ``update_state``."""

    def __init__(self, graph: CompiledStateGraph, run: Any) -> None:
        self.graph = graph
        self.program = graph.program
        self.run = run

    def state(self, saved: Any) -> State:
        """Return the channels as ``saved`` has them."""
        checkpoint = saved.checkpoint
        state = State(
            {name: channel.fresh() for name, channel in self.program.channels.items()},
            checkpoint_id=checkpoint["id"],
            track=True,
            next_version=getattr(self.graph.checkpointer, "get_next_version", None),
        )
        seen = {node: dict(versions) for node, versions in checkpoint["versions_seen"].items()}
        state.load(checkpoint["channel_values"], dict(checkpoint["channel_versions"]), seen)
        return state

    def tasks(self, saved: Any, state: State) -> list[NodeTask]:
        """Return the tasks that would run next."""
        step = saved.metadata.get("step", -1) + 1
        tasks = plan(self.program, state, self.run, step, step + 2, None)
        start = state.channels[START]
        if start.available:
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

    def snapshot(self, config: Config, saved: Any, *, pending: bool, states: dict[str, Any] | None = None) -> StateSnapshot:
        """Return what ``get_state`` shows of a checkpoint; ``pending`` applies writes that wait for a resume."""
        if saved is None:
            return StateSnapshot({}, (), config, None, None, None, (), ())
        state = self.state(saved)
        writes = list(saved.pending_writes or ())
        null = [(name, value) for owner, name, value in writes if owner == NULL_TASK and name != RESUME]
        if null and pending:
            apply(self.program, state, [Written(INTERRUPT, (), null)], bump=False)
        tasks = self.tasks(saved, state)
        shown = tuple(self._shown(task, writes, (states or {}).get(task.id)) for task in tasks)
        ended = []
        for task in tasks:
            task.writes = [(n, v) for owner, n, v in writes if owner == task.id and n not in _NO_OUTCOME]
            if task.writes:
                ended.append(task)
        waiting = tuple(task.node for task in tasks if task not in ended)
        if pending and ended:
            apply(self.program, state, order(ended))
        values = read_values(state.channels, self.program.state_keys)
        return StateSnapshot(
            {} if values is None else values,
            waiting,
            _with_id(saved.config, saved.checkpoint["id"]),
            saved.metadata,
            saved.checkpoint["ts"],
            saved.parent_config,
            shown,
            tuple(interrupt for task in shown for interrupt in task.interrupts),
        )

    def _shown(self, task: NodeTask, writes: Sequence[tuple[str, str, Any]], state: Any) -> PregelTask:
        own = [(name, value) for owner, name, value in writes if owner == task.id]
        error = next((value for name, value in own if name == ERROR), None)
        asked = tuple(i for name, value in own if name == INTERRUPT for i in _items(value))
        outcome = [(name, value) for name, value in own if name not in _NO_OUTCOME]
        if outcome:
            asked = ()
        result = result_payload(self.program, outcome) if outcome else None
        shown_error = repr(error) if isinstance(error, BaseException) else error
        return PregelTask(task.id, task.node, task.path, shown_error, asked, state, result)


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _with_id(config: Config, id: str) -> Config:
    return {**config, "configurable": {**config["configurable"], "checkpoint_id": id}}
