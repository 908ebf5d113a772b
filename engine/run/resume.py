"""What a resumed run hands back to its tasks: the writes, failures and answers an earlier run left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stream.events import End

from ..core.state import ERROR, ERROR_SOURCE, RESUME, NodeTask
from ..types import MISSING, Interrupt
from .checkpointing import NULL_TASK, saved_answers
from .failures import handler_of

if TYPE_CHECKING:
    from .loop import RunLoop


def take_back(loop: RunLoop, tasks: list[NodeTask]) -> list[NodeTask]:
    """Give tasks the writes and answers an earlier run left; return those that must still run."""
    persist = loop.persist
    if persist is None or not persist.pending:
        return tasks
    waiting = []
    for task in tasks:
        give_answers(loop, task)
        outcome = [] if loop.replaying else persist.outcome_of(task.id)
        if outcome:
            task.writes, task.end, task.cached = outcome, End.OK, True
        elif loop.replaying or not _take_back_failure(loop, task):
            waiting.append(task)
    if len(waiting) < len(tasks):
        handlers = [handler_of(loop, task) for task in tuple(tasks)]
        for handler in handlers:
            if handler is not None:
                give_answers(loop, handler)
                waiting.append(handler)
    return waiting


def give_answers(loop: RunLoop, task: NodeTask) -> None:
    """Give a task the answers to its interrupts: those of earlier runs, and those this one brings."""
    if loop.persist is None:
        return
    task.answers = saved_answers(task, loop.persist.pending)
    answers = _resume_map(loop)
    if not answers:
        return
    for asked in (len(task.answers), 0):
        id = Interrupt.from_ns(None, task.ns, asked).id
        if id in answers:
            task.answers = [*task.answers, answers[id]]
            return


def _take_back_failure(loop: RunLoop, task: NodeTask) -> bool:
    """Whether the task had failed before, and its error handler is what remains to be run."""
    assert loop.persist is not None
    kept = dict(loop.persist.of_task(task.id))
    if task.spec.error_handler is None or ERROR_SOURCE not in kept or ERROR not in kept:
        return False
    error = kept[ERROR]
    task.error = error if isinstance(error, BaseException) else RuntimeError(str(error))
    task.end, task.cached = End.ERROR, True
    return True


def _resume_map(loop: RunLoop) -> dict[str, Any] | None:
    """Return the answers by interrupt id that this run, or one around it, was resumed with."""
    if loop.resume_map is not None or loop.parent_loop is None:
        return loop.resume_map
    return _resume_map(loop.parent_loop)


def take_answer(loop: RunLoop) -> Any:
    """Take the one answer that was given without an interrupt id; MISSING if none is, or it is taken."""
    if loop.persist is not None:
        for write in loop.persist.pending:
            if write[0] == NULL_TASK and write[1] == RESUME:
                loop.persist.pending.remove(write)
                return write[2]
    return take_answer(loop.parent_loop) if loop.parent_loop is not None else MISSING
