"""Running one task: its attempts, retries and timeouts.

``run_task`` is one coroutine for all worlds. Where things differ, calling user code, sleeping, limiting
time, it asks ``env.executor``; the synchronous executor answers without ever suspending, so the same code
runs without an event loop (see ``executors/``).
"""

from __future__ import annotations

import time
from contextvars import Context
from typing import Any

from otel_stream.encoding import shown
from otel_stream.events import AttemptEnded, AttemptStarted, End

from ..core.state import RETURN
from ..core.task import NodeTask, RunEnv, without_ids
from ..errors import (
    EXITS,
    GraphBubbleUp,
    GraphInterrupt,
    InvalidUpdateError,
    NodeCancelledError,
    NodeTimeoutError,
    ParentCommand,
    WorkerLostError,
    add_note,
)
from ..executors import finished
from ..graph.node import Callback
from ..langgraph import bubble_of
from ..task_config import CURRENT_TASK
from ..types import Command
from .outcomes import settle
from .writes import inject, writes_of

_NOTE = "During task with name '{}' and id '{}'"


async def run_task(task: NodeTask) -> None:
    """Run ``task`` to its end and leave on it what came of it: writes, end, error, interrupts.

    What a node raises is the outcome of its task; cancellation passes through, and an exit, with ``end`` set.
    """
    again = await _run_attempt(task, task.env)
    while again is not None:
        pause, error = again
        try:
            await task.env.executor.sleep(pause)
        except BaseException:
            if not task.env.failing.given_up:
                raise
        if task.env.failing.given_up:
            _fail(task, error)
            return
        task.attempt += 1
        again = await _run_attempt(task, task.env)


async def _run_attempt(task: NodeTask, env: RunEnv) -> tuple[float, Exception] | None:
    """Run one attempt; return how long to wait before the next one, and why; None if the task has ended."""
    context = _attempt_context(task, env)
    failed: BaseException | None = None
    pause: float | None = None
    again: tuple[float, Exception] | None = None
    try:
        answer = await answer_of(task, env, context)
        later = None if env.langchain is None else env.langchain.answer(task, answer)
        if later is not None:
            await later
        called = task.caller is not None
        task.writes = [(RETURN, answer)] if called else await writes_of(task, context, answer)
        task.end = End.OK
    except GraphInterrupt as interrupt:
        task.interrupts = tuple(interrupt.args[0] if interrupt.args else ())
        task.end = End.INTERRUPTED
    except ParentCommand as handoff:
        _hand_off(task, handoff)
    except GraphBubbleUp as bubble:
        task.error, task.end = bubble, End.DRAINED
    except Exception as error:  # noqa: BLE001 - whatever a node raises is the outcome of its task
        failed, pause = error, _pause(task, error)
        if pause is None:
            _fail(task, error)
        else:
            task.writes, again = None, (pause, error)
    except BaseException as stop:
        failed = _error_of_its_own(task, stop)
        if failed is None:
            failed = task.error = stop
            task.writes, task.end = None, End.CANCELLED
            raise
        _fail(task, failed)
    finally:
        observer = env.observer
        if observer is not None and observer.interest & AttemptEnded.bit:
            retryable = task.spec.retryable
            observer.emit(AttemptEnded(task, task.attempt, failed, pause, time.time_ns(), retryable))
    return again


def _hand_off(task: NodeTask, handoff: ParentCommand) -> None:
    if task.env.parent_task is None:  # there is nobody to hand anything to
        _fail(task, handoff)
    else:
        task.error, task.end = handoff, End.OK


def _error_of_its_own(task: NodeTask, stop: BaseException) -> BaseException | None:
    """Return what a task that raised no ``Exception`` is to blame for, None if it was cancelled or exits."""
    if isinstance(stop, EXITS):
        return None
    if _is_failure(task, stop):
        return stop  # a panic of an extension, a group of them, what a test's ``fail()`` raises
    cause = stop.__cause__
    if cause is not None and task.env.failing.given_up and _is_failure(task, cause):
        return cause  # its thread failed, too, before it could be stopped or because of that
    if not task.env.executor.cancelled_itself(stop):
        return None
    error = NodeCancelledError(task.node)
    error.__cause__ = stop
    return error


def _is_failure(task: NodeTask, error: BaseException) -> bool:
    return not isinstance(error, (GraphBubbleUp, *EXITS)) and not task.env.executor.is_cancellation(error)


def _fail(task: NodeTask, error: BaseException) -> None:
    add_note(error, _NOTE.format(task.node, task.id))
    task.error = error
    task.end = End.TIMEOUT if isinstance(error, NodeTimeoutError) else End.ERROR
    if task.failed and task.caller is None:  # who has called a functional task may still handle its error
        task.env.failing.give_up()


def _attempt_context(task: NodeTask, env: RunEnv) -> Context:
    """Make the context user code runs in: variables it sets vanish with the attempt."""
    pad = task.scratch
    context = (env.run.context if pad is None or pad.context is None else pad.context).copy()
    context.run(CURRENT_TASK.set, task)
    if pad is not None:
        pad.begin_attempt()
    observer = env.observer
    if observer is not None and observer.interest & AttemptStarted.bit:
        observer.emit(AttemptStarted(task, task.attempt, context, task.spec.retryable, time.time_ns()))
    return context


def _pause(task: NodeTask, error: Exception) -> float | None:
    """Return how long to wait before the next attempt, None if there is none."""
    if not task.spec.retry or task.env.failing.given_up:
        return None
    if isinstance(error, WorkerLostError) and error.begun and not task.spec.repeatable:
        return None
    try:
        for policy in task.spec.retry:
            if policy.matches(error):
                return policy.pause(task.attempt) if task.attempt < policy.max_attempts else None
    except Exception as broken:  # noqa: BLE001 - the user's ``retry_on``; what the node raised says more
        add_note(error, f"Not tried again: the retry policy of '{task.node}' raised {shown(broken)}")
    return None


async def answer_of(task: NodeTask, env: RunEnv, context: Context) -> Any:
    """Call the node's code, wait for the tasks that it has called, and return its answer."""
    callback = task.spec.callback
    if callback.bare is not None:
        callback = _callback_of(task, env, callback, callback.bare)
    if task.first_attempt_at is None and callback.inject:
        task.first_attempt_at = time.time()
    try:
        later = None if env.langchain is None else env.langchain.attempt(task, context)
        if later is not None:
            await later
        kwargs = inject(callback, task) if callback.inject else None
        if task.timeout is not None:
            answer = await env.executor.limited(task, context, kwargs)
        else:
            answer = await env.executor.call(callback, context, task.input, kwargs)
    except BaseException as error:
        foreign = bubble_of(error, task)
        bubble = foreign or error
        if not isinstance(bubble, ParentCommand):
            if env.langchain is not None:
                await finished(env.langchain.failed(task, error))
            if task.scratch is not None and task.scratch.called:
                cancel = not isinstance(bubble, GraphBubbleUp)
                await settle(task, cancel=cancel)
            if foreign is not None:
                raise foreign from error
            raise
        answer = _commands_for(task, bubble)
    pad = task.scratch
    if pad is not None and pad.called:
        await settle(task, cancel=False)
    return answer


def _callback_of(task: NodeTask, env: RunEnv, callback: Callback, bare: Callback) -> Callback:
    """Return what to call: of a runnable its functions alone, unless somebody hears of its calls."""
    told = env.langchain is not None and env.langchain.tells
    return callback if told or task.timeout is not None else bare


def _commands_for(task: NodeTask, handoff: ParentCommand) -> Any:
    """Take commands that came up from a subgraph as this node's answer, or pass them on upwards.

    Raises:
        InvalidUpdateError: they are for different graphs, of which only one can go on.
        ParentCommand: they are for one further up.
    """
    names = (None, task.node, task.ns, without_ids(task.ns))
    commands = [one.here() if one.graph in names else one for one in handoff.args]
    targets = {one.graph for one in commands}
    if len(targets) > 1:
        raise InvalidUpdateError(
            f"node '{task.node}' was handed commands for different graphs: {', '.join(map(repr, commands))}; "
            f"those of one superstep must be for the same"
        )
    if targets.isdisjoint((None, Command.PARENT)):
        raise ParentCommand(*commands)
    return commands[0] if len(commands) == 1 else commands
