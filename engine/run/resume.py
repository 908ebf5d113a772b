"""What a resumed run hands back to its tasks: the writes, failures and answers an earlier run left."""

from __future__ import annotations

from typing import Any

from otel_stream.events import End

from ..core.state import ERROR, ERROR_SOURCE
from ..core.task import Memory, NodeTask, RunEnv
from ..types import MISSING
from .failures import handler_of


def take_back(env: RunEnv, tasks: list[NodeTask]) -> list[NodeTask]:
    """Give tasks the writes and answers an earlier run left; return those that must still run.

    The handler of a failure that was left unhandled is one of them, and joins ``tasks``.
    """
    memory, anew = env.memory, env.continuation.anew
    if memory is None or not memory.pending:
        return tasks
    waiting, handlers = [], []
    for task in tasks:
        give_answers(task)
        outcome = [] if anew else memory.outcome_of(task.id)
        if not anew and _take_back_failure(task, memory):
            task.writes = outcome
        elif outcome:
            task.writes, task.end, task.cached = outcome, End.OK, True
        else:
            waiting.append(task)
            continue
        handler = handler_of(task)
        if handler is not None:
            give_answers(handler)
            handlers.append(handler)
    tasks += handlers
    return waiting + handlers


def give_answers(task: NodeTask) -> None:
    """Give a task the answers to its interrupts: those of earlier runs, and those this one brings."""
    if task.env.memory is None:
        return
    known = task.env.memory.answers_of(task.id)
    brought = task.env.continuation.answers
    if brought:
        ids = [task.naming.question(task.ns, asked) for asked in (len(known), 0)]
        known = [*known, *[brought[id] for id in ids if id in brought][:1]]
    if known:
        task.pad.answers = known


def _take_back_failure(task: NodeTask, memory: Memory) -> bool:
    """Whether the task had failed before, and its error handler is what remains to be run."""
    kept = dict(memory.of_task(task.id))
    if task.spec.error_handler is None or ERROR_SOURCE not in kept or ERROR not in kept:
        return False
    error = kept[ERROR]
    task.error = error if isinstance(error, BaseException) else RuntimeError(str(error))
    task.end, task.cached = End.ERROR, True
    return True


def take_answer(env: RunEnv | None, *, keep: bool = False) -> Any:
    """Take the one answer that was given without an interrupt id; MISSING if none is, or it is taken.

    ``keep``: only look at it.
    """
    while env is not None:
        answer = MISSING if env.memory is None else env.memory.take_answer(keep=keep)
        if answer is not MISSING:
            return answer
        env = env.around
    return MISSING
