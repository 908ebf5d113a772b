"""How a run begins: with input, with a command, or where a checkpoint left off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import EmptyInputError, InvalidUpdateError, UnknownInterruptError
from .node import TASKS, Writes, branch_to
from .persist import NULL_TASK
from .superstep import RESUME, Written, apply, plan
from .types import END, INTERRUPT, START, Command, Send

if TYPE_CHECKING:
    from .loop import RunLoop

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


async def begin(loop: RunLoop) -> None:
    """Bring the loop to where its first superstep can be planned.

    Raises:
        EmptyInputError: neither input nor a checkpoint to go on from.
        InvalidUpdateError: input that the graph's schema can't take, or a command for a parent.
        RuntimeError: an answer without a checkpointer, or one answer for several questions.
    """
    saved = await loop.load()
    resuming = _is_resuming(loop, saved is not None)
    loop.resumed = resuming
    loop.started()
    replaying = _is_replaying(loop)
    if loop.persist is not None and replaying:
        loop.persist.pending = [write for write in loop.persist.pending if write[1] != RESUME]
    if isinstance(loop.input, Command):
        await _take_command(loop, loop.input, resuming)
    if resuming:
        _apply_null_writes(loop)
        await _go_on(loop, replaying)
    elif loop.input is not None:
        await _take_input(loop)
    else:
        raise EmptyInputError(
            f"Received no input for {START}: pass the graph's input, or the thread_id of a run to go on with"
        )


def _is_resuming(loop: RunLoop, has_checkpoint: bool) -> bool:
    if not has_checkpoint or not loop.state.versions:
        return False
    if loop.parent_loop is not None and loop.inherits_checkpoints:
        return bool(loop.parent_loop.resumed and loop.parent_loop.first_step)
    return loop.input is None or isinstance(loop.input, Command)


def _is_replaying(loop: RunLoop) -> bool:
    """Whether the run starts from a checkpoint that the config names, to do again what came after it."""
    if loop.persist is None or not loop.addressed:
        return False
    return not (isinstance(loop.input, Command) and loop.input.resume is not None)


async def _take_command(loop: RunLoop, command: Command[Any], resuming: bool) -> None:
    if command.graph == Command.PARENT:
        raise InvalidUpdateError("There is no parent graph")
    if command.resume is not None:
        if loop.persist is None:
            raise RuntimeError(
                "Cannot use Command(resume=...) without checkpointer: compile the graph with one and pass the thread_id"
            )
        if _is_resume_map(command.resume):
            loop.resume_map = dict(command.resume)
            _check_strict(loop, command.resume)
        elif len(loop.persist.unanswered()) > 1:
            _refuse_ambiguous(loop)
    writes = _command_writes(command, skip_resume=loop.resume_map is not None)
    if not writes and loop.resume_map is None:
        raise EmptyInputError("Received empty Command input: give it an update, a goto or a resume")
    if loop.persist is not None and resuming:
        await loop.persist.keep(NULL_TASK, writes)


def _is_resume_map(resume: Any) -> bool:
    return isinstance(resume, dict) and all(isinstance(k, str) and _INTERRUPT_ID.fullmatch(k) for k in resume)


def _check_strict(loop: RunLoop, resume: Mapping[str, Any]) -> None:
    if not loop.config.get("configurable", {}).get("__pregel_strict_resume"):
        return
    assert loop.persist is not None
    pending = loop.persist.unanswered()
    unknown = sorted(resume.keys() - pending)
    if unknown:
        raise UnknownInterruptError(
            f"Unknown or already-consumed interrupt: {unknown[0]}",
            reason="not_pending",
            interrupt_ids=unknown,
            pending_ids=sorted(pending),
        )


def _refuse_ambiguous(loop: RunLoop) -> None:
    assert loop.persist is not None
    raise RuntimeError(
        "When there are multiple pending interrupts, you must specify the interrupt id when resuming: "
        f"Command(resume={{id: answer}}); pending: {', '.join(sorted(loop.persist.unanswered()))}"
    )


def _command_writes(command: Command[Any], *, skip_resume: bool) -> Writes:
    writes: Writes = []
    for target in command.destinations():
        if isinstance(target, Send):
            writes.append((TASKS, target))
        elif not isinstance(target, str):
            raise TypeError(f"In Command.goto, expected Send/str, got {type(target).__name__}")
        elif target != END:
            writes.append((branch_to(target), START))
    if command.resume is not None and not skip_resume:
        writes.append((RESUME, command.resume))
    if command.update:
        writes.extend(command.update_as_tuples())
    return writes


def _apply_null_writes(loop: RunLoop) -> None:
    """Apply what no task has written: commands, and values that ``update_state`` left pending."""
    assert loop.persist is not None
    pending = loop.persist.of_task(NULL_TASK)
    if pending:
        apply(loop.program, loop.state, [Written(INTERRUPT, (), pending)], bump=False)


async def _go_on(loop: RunLoop, replaying: bool) -> None:
    """Proceed past the checkpoint: breakpoints that have been shown are behind us."""
    state, persist = loop.state, loop.persist
    assert persist is not None
    state.seen.setdefault(INTERRUPT, {}).update(
        (name, state.versions[name]) for name in state.channels if name in state.versions
    )
    loop.replaying = replaying
    if replaying and persist.metadata.get("source") not in ("update", "fork"):
        persist.pending = [write for write in persist.pending if write[1] != INTERRUPT]
        await persist.save("fork", loop.step, None)
        loop.step += 1
    loop.emit_values()


async def _take_input(loop: RunLoop) -> None:
    """Write the input to the START channel; what an earlier run left undone is given up."""
    if loop.state.track and loop.state.versions:
        discarded = plan(loop.program, loop.state, loop.run, loop.step, loop.stop, None)
        for task in discarded:
            task.writes = []
    else:
        discarded = []
    loop.updated = apply(
        loop.program, loop.state, [*discarded, Written(INTERRUPT, (), [(START, loop.input)])], bump=True
    )
    if loop.persist is not None:
        loop.persist.pending = []
        await loop.persist.save("input", loop.step, loop.updated)
    loop.step += 1
    loop.has_input = True
