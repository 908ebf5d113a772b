"""Running one task: its attempts, retries and timeouts, and turning what its node returned into writes.

``run_task`` is one coroutine for all worlds. Where things differ, calling user code, sleeping, limiting
time, it asks ``loop.executor``; the synchronous executor answers without ever suspending, so the same code
runs without an event loop (see ``executors/``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_stream.events import AttemptEnded, AttemptStarted, End, RouteChosen

from ..core.state import RETURN, NodeTask
from ..core.superstep import read_fresh
from ..errors import GraphBubbleUp, GraphInterrupt, NodeCancelledError, NodeTimeoutError, ParentCommand
from ..graph.node import TASKS, Branch, Callback, Writes, branch_to, commands_in
from ..runtime import make_runtime, task_writer
from ..task_config import CURRENT_TASK, task_config
from ..types import END, Command, Send

if TYPE_CHECKING:
    from .loop import RunLoop

_NOTE = "During task with name '{}' and id '{}'"


async def run_task(task: NodeTask) -> None:
    """Run ``task`` to its end and leave on it what came of it: writes, end, error, interrupts.

    Never raises an ``Exception``; cancellation passes through, with ``end`` set.
    """
    again = await _run_attempt(task, task.loop)
    while again is not None:
        pause, error = again
        try:
            await task.loop.executor.sleep(pause)
        except BaseException:
            if not _given_up(task.loop):
                raise
        if _given_up(task.loop):
            _fail(task, error)
            return
        task.attempt += 1
        again = await _run_attempt(task, task.loop)


def _given_up(loop: RunLoop | None) -> bool:
    """Whether another task of the superstep has failed, or of one around it: nothing new is begun."""
    while loop is not None:
        if loop.given_up:
            return True
        loop = loop.parent_loop
    return False


async def _run_attempt(task: NodeTask, loop: RunLoop) -> tuple[float, Exception] | None:
    """Run one attempt; return how long to wait before the next one, and why; None if the task has ended."""
    context = _attempt_context(task, loop)
    failed: BaseException | None = None
    pause: float | None = None
    again: tuple[float, Exception] | None = None
    try:
        task.writes = await _attempt(task, loop, context)
        task.end = End.OK
    except GraphInterrupt as interrupt:
        task.interrupts = tuple(interrupt.args[0] if interrupt.args else ())
        task.end = End.INTERRUPTED
    except GraphBubbleUp as bubble:
        task.error = bubble
        task.end = End.OK if isinstance(bubble, ParentCommand) else End.DRAINED
    except Exception as error:  # noqa: BLE001 - whatever a node raises is the outcome of its task
        failed, pause = error, _pause(task, error)
        if pause is None:
            _fail(task, error)
        else:
            again = pause, error
    except BaseException as cancellation:
        failed = task.error = cancellation
        task.end = End.CANCELLED
        own = _error_of_its_own(task, cancellation)
        if own is None:
            raise
        failed = own
        _fail(task, own)
    finally:
        observer = loop.observer
        if observer is not None and observer.interest & AttemptEnded.bit:
            retryable = task.spec.retryable
            observer.emit(AttemptEnded(task, task.attempt, failed, pause, time.time_ns(), retryable))
    return again


def _error_of_its_own(task: NodeTask, cancellation: BaseException) -> Exception | None:
    """Return what a cancelled task is to blame for itself, None if it was just cancelled."""
    cause = cancellation.__cause__
    if isinstance(cause, Exception) and not isinstance(cause, GraphBubbleUp) and _given_up(task.loop):
        return cause  # its thread failed, too, before it could be stopped or because of that
    if not task.loop.executor.cancelled_itself(cancellation):
        return None
    error = NodeCancelledError(task.node)
    error.__cause__ = cancellation
    return error


def _fail(task: NodeTask, error: Exception) -> None:
    note = _NOTE.format(task.node, task.id)
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    task.error = error
    task.end = End.TIMEOUT if isinstance(error, NodeTimeoutError) else End.ERROR
    if task.failed and task.caller is None:  # who has called a functional task may still handle its error
        task.loop.given_up = True


def _attempt_context(task: NodeTask, loop: RunLoop) -> Context:
    """Make the context user code runs in: variables it sets vanish with the attempt."""
    context = loop.run.context.copy()
    context.run(CURRENT_TASK.set, task)
    task.asked = task.calls = 0
    task.pushed = None
    task.answered = ()
    observer = loop.observer
    if observer is not None and observer.interest & AttemptStarted.bit:
        observer.emit(AttemptStarted(task, task.attempt, context, task.spec.retryable, time.time_ns()))
    if loop.langchain is not None:
        loop.langchain.attempt(task, context)
    return context


def _pause(task: NodeTask, error: Exception) -> float | None:
    """Return how long to wait before the next attempt, None if there is none."""
    if not task.spec.retry or _given_up(task.loop):
        return None
    try:
        for policy in task.spec.retry:
            if policy.matches(error):
                return policy.pause(task.attempt) if task.attempt < policy.max_attempts else None
    except Exception as broken:  # noqa: BLE001 - the user's ``retry_on``; what the node raised says more
        error.add_note(f"Not tried again: the retry policy of '{task.node}' raised {broken!r}")
    return None


async def _attempt(task: NodeTask, loop: RunLoop, context: Context) -> Writes:
    callback = task.spec.callback
    if task.first_attempt_at is None and callback.inject:
        task.first_attempt_at = time.time()
    kwargs = inject(callback, task) if callback.inject else None
    try:
        if task.timeout is not None:
            answer = await loop.executor.limited(task, context, kwargs)
        else:
            answer = await loop.executor.call(callback, context, task.input, kwargs)
    except ParentCommand as bubble:
        return await writes_of(task, loop, context, _obey(task, bubble.args[0]))
    except BaseException as error:
        if task.calls:
            await _settle(task, loop, cancel=not isinstance(error, GraphBubbleUp))
        raise
    if task.calls:
        await _settle(task, loop, cancel=False)
    if loop.langchain is not None:
        loop.langchain.answer(task, answer)
    if task.caller is not None:
        return [(RETURN, answer)]
    writes = await writes_of(task, loop, context, answer)
    return [*task.pushed, *writes] if task.pushed else writes


async def _settle(task: NodeTask, loop: RunLoop, *, cancel: bool) -> None:
    """Wait for the functional tasks that ``task`` has called, now that it has ended itself."""
    called = loop.called.pop(task, None)
    if called:
        await loop.executor.settle(called, cancel=cancel)


def _obey(task: NodeTask, command: Command[Any]) -> Command[Any]:
    """Take a command that came up from a subgraph as this node's answer, or pass it on upwards."""
    if command.graph in (None, task.node):
        return replace(command, graph=None)
    raise ParentCommand(command)


async def writes_of(task: NodeTask, loop: RunLoop, context: Context, answer: Any) -> Writes:
    """Translate a node's answer into writes: its updates, its static edges, and what its routers choose."""
    spec = task.spec
    try:
        writes = spec.writes_of(answer)
    except ParentCommand as bubble:
        # One level up, the command is for "this graph".
        raise ParentCommand(replace(bubble.args[0], graph=None)) from None
    if loop.observer is not None and type(answer) is not dict:
        targets = [target for command in commands_in(answer) for target in command.destinations()]
        if targets:
            _report_route(task, loop, task.node, targets)
    if spec.edges:
        writes.extend(spec.edges)
    for branch in spec.branches:
        await route(task, loop, context, branch, answer, writes)
    return writes


def inject(callback: Callback, task: NodeTask) -> dict[str, Any]:
    """Build the keyword arguments that user code declared."""
    return {name: _INJECT[name](task) for name in callback.inject}


_INJECT: dict[str, Any] = {
    "config": task_config,
    "writer": task_writer,
    "store": lambda task: task.loop.store,
    "previous": lambda task: task.loop.previous,
    "runtime": make_runtime,
    "error": lambda task: task.failure,
}


async def route(
    task: NodeTask, loop: RunLoop, context: Context, branch: Branch, answer: Any, writes: Writes
) -> None:
    """Ask a conditional edge where to go, and add its choice to ``writes``."""
    value = read_fresh(loop.state, writes, branch.keys)
    if isinstance(value, dict):
        if isinstance(answer, dict) and branch.own_schema is None:
            value = {**answer, **value}
        if branch.make is not None:
            value = branch.make(value)
    path = branch.path
    kwargs = inject(path, task) if path.inject else None
    targets = branch.targets(await loop.executor.call(path, context, value, kwargs))
    for target in targets:
        if isinstance(target, Send):
            writes.append((TASKS, target))
        elif target != END:
            writes.append((branch_to(target), None))
    _report_route(task, loop, branch.name, targets)


def _report_route(task: NodeTask, loop: RunLoop, source: str, targets: Sequence[Any]) -> None:
    observer = loop.observer
    if observer is not None and observer.interest & RouteChosen.bit:
        names = tuple(t.node if isinstance(t, Send) else t for t in targets)
        observer.emit(RouteChosen(task, source, names, time.time_ns()))
