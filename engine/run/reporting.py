"""Telling whoever watches: what the loop does, as events, built only when somebody wants them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_stream.events import (
    End,
    RunEnded,
    RunInterrupted,
    RunStarted,
    SuperstepEnded,
    SuperstepStarted,
    TaskEnded,
    TaskStarted,
    ValuesChanged,
)

from ..core.state import NodeTask
from ..core.superstep import result_payload, updates_payload
from ..errors import GraphInterrupt

if TYPE_CHECKING:
    from .loop import RunLoop


def run_started(loop: RunLoop) -> None:
    """Report the start of the run."""
    observer = loop.observer
    if observer is not None and observer.interest & RunStarted.bit:
        observer.emit(RunStarted(loop.run, loop.input, loop.resumed, time.time_ns()))


def run_ended(loop: RunLoop, end: End, error: BaseException | None) -> None:
    """Report the end of the run."""
    observer = loop.observer
    if observer is not None and observer.interest & RunEnded.bit:
        now = time.time_ns()
        observer.emit(RunEnded(loop.run, end, loop.result, error, loop.interrupts, loop.step, now))


def run_interrupted(loop: RunLoop) -> None:
    """Report that the run stops and waits."""
    observer = loop.observer
    if observer is not None and observer.interest & RunInterrupted.bit:
        observer.emit(RunInterrupted(loop.run, loop.step, loop.interrupts, time.time_ns()))


def values_changed(loop: RunLoop) -> None:
    """Report the state."""
    observer = loop.observer
    if observer is not None and observer.interest & ValuesChanged.bit:
        values = loop.view.read(loop.state.channels)
        observer.emit(ValuesChanged(loop.run, loop.step, values, time.time_ns()))


def superstep_started(loop: RunLoop, tasks: list[NodeTask]) -> None:
    """Report a superstep, the start of its tasks, and the end of those an earlier run has finished."""
    observer = loop.observer
    if observer is None:
        return
    interest, now = observer.interest, time.time_ns()
    if interest & SuperstepStarted.bit:
        observer.emit(SuperstepStarted(loop.run, loop.step, tuple(tasks), now))
    if interest & TaskStarted.bit:
        for task in tasks:
            observer.emit(TaskStarted(task, now))
    for task in tasks:
        if task.cached:
            task_ended(loop, task)


def task_started(loop: RunLoop, task: NodeTask) -> None:
    """Report the start of a task that joins the superstep late."""
    observer = loop.observer
    if observer is not None and observer.interest & TaskStarted.bit:
        observer.emit(TaskStarted(task, time.time_ns()))


def task_ended(loop: RunLoop, task: NodeTask) -> None:
    """Report the end of a task, and what it wrote."""
    observer = loop.observer
    if observer is None or not observer.interest & TaskEnded.bit:
        return
    program, writes = loop.program, task.writes or []
    # What a functional task asks, its caller asks: it is shown once.
    interrupts = () if task.caller is not None else task.interrupts
    values = loop.view.read(loop.state.channels) if interrupts else None
    observer.emit(
        TaskEnded(
            task,
            task.end or End.CANCELLED,
            updates_payload(program, writes, loop.view),
            result_payload(program, writes),
            task.error,
            interrupts,
            task.cached,
            time.time_ns(),
            values,
        )
    )


def superstep_ended(loop: RunLoop, updated: set[str]) -> None:
    """Report that the writes of a superstep have been applied."""
    observer = loop.observer
    if observer is not None and observer.interest & SuperstepEnded.bit:
        wrote = frozenset(updated & loop.program.state_set)
        observer.emit(SuperstepEnded(loop.run, loop.step, End.OK, wrote, time.time_ns()))


def superstep_broken(loop: RunLoop, tasks: list[NodeTask], failure: BaseException) -> None:
    """Report the end of a superstep that was not completed, and of the tasks it took down with it."""
    observer = loop.observer
    if observer is None:
        return
    for task in tasks:
        if task.end is None or task.end is End.CANCELLED:
            task.end = End.CANCELLED
            task_ended(loop, task)
    if observer.interest & SuperstepEnded.bit:
        end = End.INTERRUPTED if isinstance(failure, GraphInterrupt) else loop.end_of(failure)
        observer.emit(SuperstepEnded(loop.run, loop.step, end, frozenset(), time.time_ns()))
