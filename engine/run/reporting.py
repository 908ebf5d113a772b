"""Telling whoever watches: what happens in a run, as events, built only when somebody wants them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from otel_stream.events import (
    CheckpointWritten,
    End,
    Observer,
    Run,
    RunEnded,
    RunInterrupted,
    RunStarted,
    SuperstepEnded,
    SuperstepStarted,
    TaskEnded,
    TaskStarted,
    ValuesChanged,
)

from ..core.payloads import result_payload, updates_payload
from ..core.task import NodeTask, RunEnv


def run_started(env: RunEnv, input: Any, resumed: bool) -> None:
    """Report the start of a run."""
    observer = env.observer
    if observer is not None and observer.interest & RunStarted.bit:
        observer.emit(RunStarted(env.run, input, resumed, time.time_ns()))


def run_ended(
    env: RunEnv, step: int, end: End, result: Any, error: BaseException | None, interrupts: tuple[Any, ...]
) -> None:
    """Report the end of a run."""
    observer = env.observer
    if observer is not None and observer.interest & RunEnded.bit:
        observer.emit(RunEnded(env.run, end, result, error, interrupts, step, time.time_ns()))


def run_interrupted(env: RunEnv, step: int, interrupts: tuple[Any, ...]) -> None:
    """Report that a run stops and waits."""
    observer = env.observer
    if observer is not None and observer.interest & RunInterrupted.bit:
        observer.emit(RunInterrupted(env.run, step, interrupts, time.time_ns()))


def values_changed(env: RunEnv, step: int) -> None:
    """Report the state."""
    observer = env.observer
    if observer is not None and observer.interest & ValuesChanged.bit:
        values = env.view.read(env.state.channels)
        observer.emit(ValuesChanged(env.run, step, values, time.time_ns()))


def checkpoint_stored(observer: Observer, run: Run, step: int, seconds: float, size: int | None) -> None:
    """Report how long it took to store a checkpoint, and how many bytes it has."""
    if observer.interest & CheckpointWritten.bit:
        observer.emit(CheckpointWritten(run, step, seconds, time.time_ns(), size))


def superstep_started(env: RunEnv, step: int, tasks: Sequence[NodeTask]) -> None:
    """Report a superstep, the start of its tasks, and the end of those an earlier run has finished."""
    observer = env.observer
    if observer is None:
        return
    interest, now = observer.interest, time.time_ns()
    if interest & SuperstepStarted.bit:
        observer.emit(SuperstepStarted(env.run, step, tuple(tasks), now))
    if interest & TaskStarted.bit:
        for task in tasks:
            observer.emit(TaskStarted(task, now))
    for task in tasks:
        if task.cached:
            task_ended(task)


def task_started(task: NodeTask) -> None:
    """Report the start of a task that joins the superstep late."""
    observer = task.env.observer
    if observer is not None and observer.interest & TaskStarted.bit:
        observer.emit(TaskStarted(task, time.time_ns()))


def task_ended(task: NodeTask) -> None:
    """Report the end of a task, and what it wrote."""
    env = task.env
    observer = env.observer
    if observer is None:
        return
    task.late = task.late or 0  # what is written on its behalf from now on comes too late
    if not observer.interest & TaskEnded.bit:
        return
    program = env.program
    # Who asks on an edge runs again: what it has written so far is nothing to go by.
    writes = [] if task.writes is None or task.end is End.INTERRUPTED else task.writes
    # What a functional task asks, its caller asks: it is shown once.
    interrupts = () if task.caller is not None else task.interrupts
    observer.emit(
        TaskEnded(
            task,
            task.end or End.CANCELLED,
            updates_payload(program, writes, env.view),
            result_payload(program, writes),
            None if task.end is End.OK else task.error,
            interrupts,
            task.cached,
            time.time_ns(),
            env.view.read(env.state.channels) if interrupts else None,
            task.error is not None and task.end is End.OK,
        )
    )


def superstep_ended(env: RunEnv, step: int, updated: set[str]) -> None:
    """Report that the writes of a superstep have been applied."""
    observer = env.observer
    if observer is not None and observer.interest & SuperstepEnded.bit:
        wrote = frozenset(updated & env.program.state_view.names)
        observer.emit(SuperstepEnded(env.run, step, End.OK, wrote, time.time_ns()))


def superstep_broken(env: RunEnv, step: int, tasks: Iterable[NodeTask], end: End) -> None:
    """Report the end of a superstep that was not completed, and of the tasks it took down with it."""
    observer = env.observer
    if observer is None:
        return
    for task in tasks:
        if task.end is None or task.end is End.CANCELLED:
            task.end = End.CANCELLED
            task_ended(task)
    if observer.interest & SuperstepEnded.bit:
        observer.emit(SuperstepEnded(env.run, step, end, frozenset(), time.time_ns()))
