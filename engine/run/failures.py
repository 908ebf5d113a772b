"""What becomes of a superstep in which not everything went well: handlers, failures, interrupts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_stream.encoding import shown
from otel_stream.events import End

from ..core.state import ERROR, PUSH
from ..core.superstep import order
from ..core.task import NodeTask
from ..errors import GraphInterrupt, ParentCommand, add_note, found_on, put_on


def handler_of(task: NodeTask) -> NodeTask | None:
    """Return the task of the error handler that takes over from a failed one, if it has one."""
    if task.spec.error_handler is None or task.end is None or not task.end.failed:
        return None
    handler = NodeTask(
        task.run,
        task.env.program.nodes[task.spec.error_handler],
        task.step,
        seed=task.seed,
        input=task.input,
        path=(PUSH, task.path, 0),
        triggers=(ERROR,),
    )
    handler.handles, handler.env = task, task.env
    return handler


def raise_failures(tasks: list[NodeTask]) -> None:
    """Raise the first failure by task order, else what bubbles up, else all interrupts together.

    Raises:
        GraphInterrupt: tasks wait for answers.
        BaseException: the failure; others of the same superstep are in its notes, and ``siblings_of`` it.
    """
    ordered = order(tasks)
    failed = [task for task in ordered if task.error is not None and not _is_handled(task)]
    real = [task for task in failed if task.end is not None and task.end.failed]
    for task in real or failed:
        assert task.error is not None
        if isinstance(task.error, ParentCommand) and not real and len(failed) > 1:
            raise ParentCommand(*_commands(failed))
        _carry(task.error, [other for other in real if other is not task])
        raise task.error
    interrupts = tuple(interrupt for task in ordered for interrupt in task.interrupts)
    if interrupts or any(task.end is End.INTERRUPTED for task in ordered):
        raise GraphInterrupt(interrupts)


def _commands(tasks: list[NodeTask]) -> Iterator[Any]:
    for task in tasks:
        if isinstance(task.error, ParentCommand):
            yield from task.error.args


_SIBLINGS = "_engine_siblings"


def _carry(error: BaseException, others: list[NodeTask]) -> None:
    """Let ``error`` tell of the others: it keeps its type, which ``except`` clauses are written for."""
    if not others:
        return
    told = "; ".join(f"{one.node}: {shown(one.error)}" for one in others)
    add_note(error, f"Failed in the same superstep: {told}")
    put_on(error, _SIBLINGS, tuple(one.error for one in others))


def siblings_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return what the other nodes raised that failed in the same superstep as the one that raised ``error``.

    In the order of their tasks, each with its own notes; empty if there was none.
    """
    found = found_on(error, _SIBLINGS)
    return found if isinstance(found, tuple) else ()


def _is_handled(task: NodeTask) -> bool:
    return task.end is not None and task.end.failed and task.spec.error_handler is not None
