"""How a run begins: with input, with a command, or where a checkpoint left off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..checkpoint.base import checkpoint_id
from ..core.continuation import Former, Replay
from ..core.state import INPUT, RESUME, State, Written
from ..core.superstep import apply, plan, put_input
from ..core.task import RunEnv
from ..errors import EmptyInputError, InvalidUpdateError, UnknownInterruptError
from ..graph.node import Writes, target_writes
from ..graph.schema import ROOT
from ..types import INTERRUPT, MISSING, START, Command, Send
from . import reporting as reports
from .checkpointing import NULL_TASK, Checkpoints
from .time_travel import is_travelling, needs_branch, origin_of_branch, replay_from

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


class Start(NamedTuple):
    """Where the first superstep can be planned, and what it is planned with."""

    step: int
    #: The step that the recursion limit does not allow.
    stop: int
    #: Channels that changed just now; None when any may have.
    updated: set[str] | None
    #: Whether the run goes on from a checkpoint, and whether those inside it do.
    resumed: bool
    goes_on: bool | None
    #: Whether what tasks wrote before is to be done again.
    anew: bool
    #: Answers by interrupt id.
    answers: Mapping[str, Any] | None
    replay: Replay | None
    #: Where it comes from, if it starts a branch.
    former: Former | None
    #: What an ``entrypoint`` remembered from the run before.
    previous: Any


async def start(env: RunEnv, state: State, checkpoints: Checkpoints | None, input: Any) -> Start:
    """Bring the state to where a run begins, and tell that it does.

    Raises:
        EmptyInputError: neither input nor a checkpoint to go on from.
        InvalidUpdateError: input that the graph's schema can't take, or a command for a parent.
        RuntimeError: an answer without a checkpointer, or one answer for several questions.
        UnknownInterruptError: a strict resume that answers what nobody asks.
    """
    if checkpoints is None:
        reports.run_started(env, input, False)
        return await _without_past(env, state, input)
    goes_on = _inherited(env, checkpoints)
    saved, resumed = await _loaded(env, state, checkpoints, input, goes_on)
    step = checkpoints.metadata["step"] + 1 if saved is not None else -1
    travelling = is_travelling(env, checkpoints, input, goes_on)
    if travelling:
        # Questions are asked anew: what they were answered with belongs to the branch we leave.
        checkpoints.drop(RESUME)
    forks = resumed and travelling and needs_branch(checkpoints)
    command: Command[Any] | None = input if isinstance(input, Command) else None
    if command is not None and resumed:
        _check_awaited(env, state, command, step)
    elif command is not None and env.program.start is not None:
        input, command = _as_input(env, command), None
    carried, answers = await _take_command(env, checkpoints, command, forks)
    _apply_null_writes(env, state, [*checkpoints.of_task(NULL_TASK), *carried])
    stop = env.recursion_limit if saved is None else step + env.recursion_limit + 1
    updated = None
    former = Former(state.checkpoint_id, step, checkpoints.loaded_path) if forks else None
    if resumed:
        step = await _go_on(state, checkpoints, step, forks)
    elif command is None:
        updated = _take_input(env, state, input, goes_on, step, stop)
        if updated is not None:
            checkpoints.drop()
            await checkpoints.save(state, "input", step, updated)
            step += 1
    replay = env.continuation.replay
    if env.parent_task is None or checkpoints.addressed:
        replay = replay_from(state, checkpoints) if travelling else None
        goes_on = resumed
    return Start(
        step,
        stop,
        updated,
        resumed,
        goes_on,
        travelling or checkpoints.superseded,
        env.continuation.answers if answers is None else answers,
        replay,
        former,
        saved.checkpoint["channel_values"].get("__previous__") if saved is not None else None,
    )


async def _loaded(
    env: RunEnv, state: State, checkpoints: Checkpoints, input: Any, goes_on: bool | None
) -> tuple[Any, bool]:
    """Load what there is, tell that the run starts, and return it and whether the run goes on from it."""
    resumed = False
    try:
        saved = await _load(env, state, checkpoints)
        resumed = saved is not None and _is_resuming(env, state, checkpoints, input, goes_on)
        if resumed:
            answer = input.resume if isinstance(input, Command) else None
            env.run.goes_on_from(checkpoints.resumption(answer))
    finally:
        reports.run_started(env, input, resumed)
    return saved, resumed


async def _without_past(env: RunEnv, state: State, input: Any) -> Start:
    """Begin a run that keeps nothing: with its input, or with what a command writes."""
    step, updated, around = -1, None, env.continuation
    if isinstance(input, Command) and input.resume is None and env.program.start is not None:
        input = _as_input(env, input)
    elif isinstance(input, Command):
        carried, _ = await _take_command(env, None, input, forks=False)
        _apply_null_writes(env, state, carried)
        input = MISSING
    if input is not MISSING:
        updated = _take_input(env, state, input, around.goes_on, step, env.recursion_limit)
        step += updated is not None
    goes_on = around.goes_on if env.parent_task is not None else False
    return Start(
        step, env.recursion_limit, updated, False, goes_on, False, around.answers, around.replay, None, None
    )


def _inherited(env: RunEnv, checkpoints: Checkpoints) -> bool | None:
    """Return whether the run around this one goes on; None if there is none, or that does not matter here."""
    if not checkpoints.addressed and env.continuation.replay is not None:
        return None  # it takes its input anew, on top of what it had stored, instead of going on
    return env.continuation.goes_on


async def _load(env: RunEnv, state: State, checkpoints: Checkpoints) -> Any:
    """Take over the checkpoint the run goes on from, if there is one."""
    place = env.config.get("configurable", {})
    if env.parent_task is None and place.get("checkpoint_id") and place.get("checkpoint_ns"):
        env.lies_in(env.checkpoint_map or await checkpoints.lead_to({"configurable": place}))
    saved = await checkpoints.load(env.continuation.replay)
    if saved is None:
        state.at(checkpoint_id())
    else:
        state.load(saved.checkpoint)
    return saved


def _is_resuming(
    env: RunEnv, state: State, checkpoints: Checkpoints, input: Any, goes_on: bool | None
) -> bool:
    """Whether the run goes on where its checkpoint is, instead of starting over with new input."""
    if not state.versions:
        return False
    if goes_on is not None:
        return goes_on
    if input is None or isinstance(input, Command):
        return True
    run_id = (env.config.get("metadata") or {}).get("run_id", MISSING)
    return env.parent_task is None and run_id == checkpoints.metadata.get("run_id")


def _as_input(env: RunEnv, command: Command[Any]) -> Any:
    """Return what a run that starts takes for its input where that is a command: what it updates and goes to.

    Raises:
        EmptyInputError: it is empty, or an answer although nothing has been asked.
        InvalidUpdateError: it is for a parent.
    """
    if command.graph == Command.PARENT:
        raise InvalidUpdateError("There is no parent graph")
    if command.resume is not None:
        raise EmptyInputError(_NOTHING_ASKED.format(env.run.thread_id))
    if any(command.destinations()):
        return command
    if command.update is None:
        raise EmptyInputError(_EMPTY)
    writes = command.update_as_tuples()
    return writes[0][1] if [name for name, _ in writes] == [ROOT] else dict(writes)


_EMPTY = "Received empty Command input: give it an update, a goto or a resume"
_NOTHING_ASKED = (
    "Command(resume=...): thread {!r} waits for no answer; start it with its input, or name the thread that "
    "was interrupted"
)


def _check_awaited(env: RunEnv, state: State, command: Command[Any], step: int) -> None:
    """Refuse an answer for a thread that waits for nothing: it would be lost, or answer a later question."""
    if command.resume is None or env.parent_task is not None or any(command.destinations()):
        return
    if not plan(env.program, state, env.run, step, step, None) and not _holds_input(state):
        raise EmptyInputError(_NOTHING_ASKED.format(env.run.thread_id))


def _holds_input(state: State) -> bool:
    start = state.channels.get(START)
    return start is not None and start.available


async def _take_command(
    env: RunEnv, checkpoints: Checkpoints | None, command: Any, forks: bool
) -> tuple[Writes, Mapping[str, Any] | None]:
    """Take note of a command, if that is the input.

    Returns its writes, if they must not be stored where the run starts from, and its answers by interrupt id.
    """
    if not isinstance(command, Command):
        return [], None
    if command.graph == Command.PARENT:
        raise InvalidUpdateError("There is no parent graph")
    answers = None if command.resume is None else _answers_by_id(env, checkpoints, command.resume)
    writes = _command_writes(command, skip_resume=answers is not None)
    if not writes and answers is None:
        raise EmptyInputError(_EMPTY)
    if forks or checkpoints is None:
        return writes, answers
    if writes:
        await checkpoints.keep(NULL_TASK, writes)
    return [], answers


def _answers_by_id(env: RunEnv, checkpoints: Checkpoints | None, resume: Any) -> Mapping[str, Any] | None:
    if checkpoints is None:
        raise RuntimeError(
            "Cannot use Command(resume=...) without checkpointer: compile the graph with one "
            "and pass the thread_id"
        )
    asked = env.config.get("configurable", {}).get("__pregel_strict_resume", False)
    strict = asked and env.parent_task is None and not checkpoints.superseded
    if isinstance(resume, dict) and all(isinstance(k, str) and _INTERRUPT_ID.fullmatch(k) for k in resume):
        if strict:
            _check_strict(checkpoints, resume)
        return dict(resume)
    if len(checkpoints.unanswered()) > 1:
        _refuse_ambiguous(checkpoints, strict)
    return None


def _check_strict(checkpoints: Checkpoints, resume: Mapping[str, Any]) -> None:
    pending = checkpoints.unanswered()
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


def _refuse_ambiguous(checkpoints: Checkpoints, strict: bool) -> None:
    pending = sorted(checkpoints.unanswered())
    message = (
        "When there are multiple pending interrupts, you must specify the interrupt id when resuming: "
        f"Command(resume={{id: answer}}); pending: {', '.join(pending)}"
    )
    if strict:
        raise UnknownInterruptError(message, reason="ambiguous", pending_ids=pending)
    raise RuntimeError(message)


def _command_writes(command: Command[Any], *, skip_resume: bool) -> Writes:
    targets = list(command.destinations()) if command.goto else []
    for target in targets:
        if not isinstance(target, str | Send):
            raise TypeError(f"In Command.goto, expected Send/str, got {type(target).__name__}")
    writes = target_writes(targets, START)
    if command.resume is not None and not skip_resume:
        writes.append((RESUME, command.resume))
    if command.update:
        writes.extend(command.update_as_tuples())
    return writes


def _apply_null_writes(env: RunEnv, state: State, writes: Writes) -> None:
    """Apply what no task has written: commands, of this run and of those that ended at this checkpoint."""
    if writes:
        apply(env.program, state, [Written(INPUT, (), writes)], bump=False)


async def _go_on(state: State, checkpoints: Checkpoints, step: int, forks: bool) -> int:
    """Proceed past the checkpoint: breakpoints that have been shown are behind us. Returns the next step."""
    state.seen.setdefault(INTERRUPT, {}).update(
        (name, state.versions[name]) for name in state.channels if name in state.versions
    )
    if not forks:
        return step
    checkpoints.branch_off(origin_of_branch(checkpoints))
    await checkpoints.save(state, "fork", step, None)
    return step + 1


def _take_input(
    env: RunEnv, state: State, input: Any, goes_on: bool | None, step: int, stop: int
) -> set[str] | None:
    """Write the input to the channels that take it; what an earlier run left undone is given up.

    Returns the channels that changed, None where the run around this one goes on and there is no input.
    """
    writes = env.program.input_writes(input)
    if not writes:
        if goes_on is None:
            raise EmptyInputError(
                f"Received no input for {env.program.input_keys}: pass the graph's input, or the thread_id "
                "of a run to go on with"
            )
        return None
    if not state.track:
        return put_input(state, writes)
    discarded = []
    if state.versions:
        discarded = plan(env.program, state, env.run, step, stop, None)
        for task in discarded:
            task.writes = []
    return apply(env.program, state, [*discarded, Written(INPUT, (), writes)], bump=bool(discarded))
