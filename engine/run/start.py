"""How a run begins: with input, with a command, or where a checkpoint left off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..checkpoint.base import checkpoint_id
from ..core.state import INPUT, RESUME, Written
from ..core.superstep import apply, plan
from ..errors import EmptyInputError, InvalidUpdateError, UnknownInterruptError
from ..graph.node import TASKS, Writes, branch_to
from ..types import END, INTERRUPT, MISSING, START, Command, Send
from .checkpointing import NULL_TASK, Persistence
from .time_travel import Replay

if TYPE_CHECKING:
    from .loop import RunLoop

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")
_FROM_OUTSIDE = ("update", "fork")


async def begin(loop: RunLoop) -> None:
    """Bring the loop to where its first superstep can be planned.

    Raises:
        EmptyInputError: neither input nor a checkpoint to go on from.
        InvalidUpdateError: input that the graph's schema can't take, or a command for a parent.
        RuntimeError: an answer without a checkpointer, or one answer for several questions.
        UnknownInterruptError: a strict resume that answers what nobody asks.
    """
    saved = await _load(loop)
    loop.resumed = saved is not None and _is_resuming(loop)
    if loop.resumed and loop.persist is not None:
        answer = loop.input.resume if isinstance(loop.input, Command) else None
        loop.run.resumes = loop.persist.resumption(answer)
    loop.started()
    persist = loop.persist
    travelling = _is_travelling(loop)
    if persist is not None:
        loop.replaying = travelling or persist.superseded
        if travelling:
            # Questions are asked anew: what they were answered with belongs to the branch we leave.
            persist.pending = [write for write in persist.pending if write[1] != RESUME]
    forks = loop.resumed and travelling and _needs_branch(loop)
    carried: Writes = []
    if isinstance(loop.input, Command):
        carried = await _take_command(loop, loop.input, forks)
    _apply_null_writes(loop, carried)
    if loop.resumed:
        await _go_on(loop, forks)
    elif loop.input is not None and not isinstance(loop.input, Command):
        await _take_input(loop)
    elif loop.input is None and loop.resuming is None:
        raise EmptyInputError(
            f"Received no input for {START}: pass the graph's input, or the thread_id of a run to go on with"
        )
    if loop.parent_task is None:
        loop.replay = _replay(loop) if travelling else None
        loop.resuming = loop.resumed


async def _load(loop: RunLoop) -> Mapping[str, Any] | None:
    """Take over the checkpoint the run goes on from, if there is one."""
    if loop.persist is None:
        return None
    saved = await loop.persist.load()
    if saved is None:
        loop.state.checkpoint_id = checkpoint_id()
        return None
    seen = {node: dict(versions) for node, versions in saved["versions_seen"].items()}
    loop.state.load(saved["channel_values"], dict(saved["channel_versions"]), seen)
    loop.state.checkpoint_id = saved["id"]
    loop.step = loop.persist.metadata["step"] + 1
    loop.stop = loop.step + loop.recursion_limit + 1
    loop.previous = saved["channel_values"].get("__previous__")
    return saved


def _is_resuming(loop: RunLoop) -> bool:
    """Whether the run goes on where its checkpoint is, instead of starting over with new input."""
    if not loop.state.versions:
        return False
    if loop.resuming is not None:
        return loop.resuming
    if loop.input is None or isinstance(loop.input, Command):
        return True
    assert loop.persist is not None
    run_id = (loop.config.get("metadata") or {}).get("run_id", MISSING)
    return loop.parent_task is None and run_id == loop.persist.metadata.get("run_id")


def _is_travelling(loop: RunLoop) -> bool:
    """Whether the run does again what came after the checkpoint it is pointed at."""
    persist = loop.persist
    if persist is None or not (persist.addressed or loop.replay is not None):
        return False
    if loop.parent_task is not None and loop.checkpoint_ns in loop.checkpoint_map:
        return True
    answers = isinstance(loop.input, Command) and loop.input.resume is not None
    return not (answers or loop.resuming)


def _needs_branch(loop: RunLoop) -> bool:
    """Whether to store a checkpoint that starts the new branch; ``update_state`` has already made one."""
    assert loop.persist is not None
    return loop.persist.metadata.get("source") not in _FROM_OUTSIDE or loop.persist.superseded


def _replay(loop: RunLoop) -> Replay:
    """Say up to which checkpoint subgraphs look for theirs: for a fork, the one it was made from."""
    persist = loop.persist
    assert persist is not None
    bound = loop.state.checkpoint_id
    if persist.branched_from is not None:
        bound = persist.branched_from
    elif persist.metadata.get("source") in _FROM_OUTSIDE and persist.parent_config is not None:
        bound = persist.parent_config["configurable"].get("checkpoint_id") or bound
    return Replay(bound)


async def _take_command(loop: RunLoop, command: Command[Any], forks: bool) -> Writes:
    """Take note of a command; return its writes if they must not be stored where the run starts from."""
    if command.graph == Command.PARENT:
        raise InvalidUpdateError("There is no parent graph")
    if command.resume is not None:
        _take_answer(loop, command.resume)
    writes = _command_writes(command, skip_resume=loop.resume_map is not None)
    if not writes and loop.resume_map is None:
        raise EmptyInputError("Received empty Command input: give it an update, a goto or a resume")
    if forks or loop.persist is None:
        return writes
    if writes:
        await loop.persist.keep(NULL_TASK, writes)
    return []


def _take_answer(loop: RunLoop, resume: Any) -> None:
    persist = loop.persist
    if persist is None:
        raise RuntimeError(
            "Cannot use Command(resume=...) without checkpointer: compile the graph with one "
            "and pass the thread_id"
        )
    asked = loop.config.get("configurable", {}).get("__pregel_strict_resume", False)
    strict = asked and loop.parent_task is None and not persist.superseded
    if isinstance(resume, dict) and all(isinstance(k, str) and _INTERRUPT_ID.fullmatch(k) for k in resume):
        if strict:
            _check_strict(persist, resume)
        loop.resume_map = dict(resume)
    elif len(persist.unanswered()) > 1:
        _refuse_ambiguous(persist, strict)


def _check_strict(persist: Persistence, resume: Mapping[str, Any]) -> None:
    pending = persist.unanswered()
    if not resume:
        raise UnknownInterruptError(
            "The resume map names no interrupt: give it {interrupt id: answer}",
            reason="empty_map",
            pending_ids=sorted(pending),
        )
    unknown = sorted(resume.keys() - pending)
    if unknown:
        raise UnknownInterruptError(
            f"Unknown or already-consumed interrupt: {unknown[0]}",
            reason="not_pending",
            interrupt_ids=unknown,
            pending_ids=sorted(pending),
        )


def _refuse_ambiguous(persist: Persistence, strict: bool) -> None:
    pending = sorted(persist.unanswered())
    message = (
        "When there are multiple pending interrupts, you must specify the interrupt id when resuming: "
        f"Command(resume={{id: answer}}); pending: {', '.join(pending)}"
    )
    if strict:
        raise UnknownInterruptError(message, reason="ambiguous", pending_ids=pending)
    raise RuntimeError(message)


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


def _apply_null_writes(loop: RunLoop, carried: Writes) -> None:
    """Apply what no task has written: commands, of this run and of those that ended at this checkpoint."""
    stored = loop.persist.of_task(NULL_TASK) if loop.persist is not None else []
    if stored or carried:
        apply(loop.program, loop.state, [Written(INPUT, (), [*stored, *carried])], bump=False)


async def _go_on(loop: RunLoop, forks: bool) -> None:
    """Proceed past the checkpoint: breakpoints that have been shown are behind us."""
    state, persist = loop.state, loop.persist
    assert persist is not None
    state.seen.setdefault(INTERRUPT, {}).update(
        (name, state.versions[name]) for name in state.channels if name in state.versions
    )
    if forks:
        if persist.metadata.get("source") in _FROM_OUTSIDE and persist.parent_config is not None:
            persist.branched_from = persist.parent_config["configurable"].get("checkpoint_id")
        persist.pending = [write for write in persist.pending if write[1] != INTERRUPT]
        await persist.save("fork", loop.step, None)
        loop.step += 1
    loop.emit_values()


async def _take_input(loop: RunLoop) -> None:
    """Write the input to the START channel; what an earlier run left undone is given up."""
    discarded = []
    if loop.state.track and loop.state.versions:
        discarded = plan(loop.program, loop.state, loop.run, loop.step, loop.stop, None)
        for task in discarded:
            task.writes = []
    loop.updated = apply(
        loop.program, loop.state, [*discarded, Written(INPUT, (), [(START, loop.input)])], bump=True
    )
    if loop.persist is not None:
        loop.persist.pending = []
        await loop.persist.save("input", loop.step, loop.updated)
    loop.step += 1
