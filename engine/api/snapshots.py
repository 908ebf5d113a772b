"""Stored threads as they are, or were: states rebuilt from checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

from ..checkpoint.saver import Saver
from ..core.naming import naming
from ..core.state import INPUT, PULL, State, Written
from ..core.superstep import apply, order, plan
from ..core.task import GraphRun, NodeTask
from ..graph.node import Writes
from ..graph.spec import GraphSpec
from ..run.checkpointing import NO_OUTCOME, NULL_TASK, unsigned
from ..run.showing import shown_task, with_map
from ..types import START, Config, StateSnapshot


class Snapshots:
    """Rebuilds states from checkpoints, for ``get_state`` and ``update_state``."""

    def __init__(self, graph: GraphSpec, place: Config, saver: Saver) -> None:
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
            naming=naming(langgraphs=saver.is_langgraphs),
        )

    def state(self, saved: Any) -> State:
        """Return the channels as ``saved`` has them."""
        state = self.empty(saved.checkpoint["id"])
        state.load(saved.checkpoint)
        return state

    def empty(self, checkpoint_id: str) -> State:
        """Return the channels as they are before anything was stored."""
        return State(
            self.program.fresh_channels(),
            checkpoint_id=checkpoint_id,
            track=True,
            next_version=self.saver.next_version,
        )

    def tasks(self, step: int, state: State) -> list[NodeTask]:
        """Return the tasks of superstep ``step``, which comes next."""
        tasks = plan(self.program, state, self.run, step, step + 2, None)
        if self.program.start is not None and state.channels[START].available:
            task = NodeTask(
                self.run,
                self.program.start,
                step,
                seed=state.checkpoint_id,
                input=state.channels[START].value,
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
            self.program.state_view.read(state.channels),
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
