"""Attempts, and what is chosen in them: told as far as it is known, when it is known."""

from __future__ import annotations

from contextvars import copy_context
from time import time_ns
from typing import Any

from langgraph import errors
from langgraph.errors import GraphBubbleUp
from opentelemetry.context import get_current

from otel_stream import events
from otel_stream.adapters.langgraph.answers import commands_in, destinations
from otel_stream.adapters.langgraph.task import NodeTask, Teller


def attempt_started(tap: Teller, task: NodeTask, number: int) -> None:
    """Report an attempt, and before it the end of one that failed; ``task`` is left what is current in it."""
    observer, now = tap.observer, time_ns()
    if task.going is not None:  # it took too long, and has not noticed yet
        task.failed = (task.going, _timed_out(task, task.going), now)
    report_failed(tap, task, now)
    task.attempt = task.going = number
    task.left_by = None
    task.routes = ()
    if tap.ears is not None and task.executable is not None:
        tap.ears.node_begins(task, task.executable.config or {})
    if task.hidden or not observer.interest & events.AttemptStarted.bit:
        task.values = tap.values
        return
    context = copy_context()
    observer.emit(events.AttemptStarted(task, number, context, task.retryable, now))
    task.values = context.run(get_current)


def attempt_ended(
    tap: Teller, task: NodeTask, number: int, error: BaseException | None, answer: Any = None
) -> None:
    """Take note of how an attempt has ended, and what it has chosen.

    Whether one that failed is the last is known when there is another one, or the task ends.
    """
    if number != task.going:
        return  # it was given up before
    task.going, task.left_by = None, error
    if answer is not None and type(answer) is not dict:
        targets = [name for command in commands_in(answer) for name in destinations(command)]
        if targets:
            task.routes = ((task.node, tuple(targets)), *task.routes)
    if tap.ears is not None and error is None and task.executable is not None:
        tap.ears.node_answers(task, task.executable.config or {}, answer)
    elif tap.ears is not None:
        tap.ears.node_fails(task)
    if error is None or isinstance(error, GraphBubbleUp):
        _report_attempt(tap, task, number, None, None, time_ns())
    else:
        task.failed = (number, error, time_ns())
        if not task.retryable:
            report_failed(tap, task, None)
    if task.routes:
        report_routes(tap, task)


def report_failed(tap: Teller, task: NodeTask, next_at: int | None) -> None:
    """Report the end of an attempt that has failed; ``next_at`` is when the next one begins, if any."""
    if task.failed is None:
        return
    (number, error, at), task.failed = task.failed, None
    if next_at is None:
        _report_attempt(tap, task, number, error, None, at)
    else:
        # What stopped an attempt after which there is another one was its timeout.
        failed = error if isinstance(error, Exception) else _timed_out(task, number)
        _report_attempt(tap, task, number, failed, (next_at - at) / 1e9, at)


def _report_attempt(
    tap: Teller, task: NodeTask, number: int, error: BaseException | None, pause: float | None, at: int
) -> None:
    if not task.hidden and tap.observer.interest & events.AttemptEnded.bit:
        tap.observer.emit(events.AttemptEnded(task, number, error, pause, at, task.retryable))


def report_routes(tap: Teller, task: NodeTask) -> None:
    """Report what edges and commands have chosen since the last time."""
    routes, task.routes = task.routes, ()
    if tap.observer.interest & events.RouteChosen.bit:
        for source, targets in routes:
            tap.observer.emit(events.RouteChosen(task, source, targets, time_ns()))


def _timed_out(task: NodeTask, number: int) -> BaseException:
    kind: type[Exception] = getattr(errors, "NodeTimeoutError", TimeoutError)
    return kind.__new__(kind, f"Attempt {number} of node '{task.node}' took too long.")
