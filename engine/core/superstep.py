"""The decisions of a run, as pure functions: which tasks come next, and what their writes make of the state.

Rules of this file
------------------
1. Nothing here awaits, reads a clock, or does I/O: given the same state and writes, the same comes out.
2. Between ``plan`` and ``apply`` the channels do not change: all tasks of a superstep see the same state.
3. Writes apply in the order of their tasks (pulled by name, then pushed by index), whichever ended first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from otel_stream.events import Run

from ..graph.node import TASKS, Node, Writes
from ..graph.program import Program
from ..graph.schema import ROOT
from ..types import INTERRUPT, MISSING, START, Send, ours
from .state import CONTROL, PULL, PUSH, State, Writer
from .task import NodeTask

logger = logging.getLogger("engine")

_PUSH_TRIGGER = (PUSH,)
#: Keys of a state that is one value instead of a mapping.
_SINGLE = (ROOT,)


def plan(
    program: Program, state: State, run: Run, step: int, stop: int, updated: set[str] | None
) -> list[NodeTask]:
    """Return the tasks of the next superstep, pushed ones first, then pulled ones by name.

    ``updated`` names the channels that the superstep before changed; None looks at all of them, as after
    a checkpoint was loaded.
    """
    tasks: list[NodeTask] = []
    packets = state.channels.get(TASKS)
    if packets is not None and packets.value is not MISSING:
        for index, packet in enumerate(packets.value):
            task = _pushed(program, state, run, step, index, packet)
            if task is not None:
                tasks.append(task)
    for name in _triggered(program, state, updated):
        spec = program.nodes[name]
        value = read_input(state, spec, step, stop)
        if value is not MISSING:
            path = (PULL, name)
            seed = state.checkpoint_id
            tasks.append(NodeTask(run, spec, step, seed=seed, input=value, path=path, triggers=spec.triggers))
    return tasks


def _pushed(program: Program, state: State, run: Run, step: int, index: int, packet: Any) -> NodeTask | None:
    packet = ours(packet)
    if not isinstance(packet, Send):
        logger.warning("Ignoring a packet of type %s in pending sends: expected Send", type(packet).__name__)
        return None
    spec = program.nodes.get(packet.node)
    if spec is None:
        known = ", ".join(program.nodes)
        logger.warning("Ignoring unknown node name %s in pending sends; known: %s", packet.node, known)
        return None
    return NodeTask(
        run,
        spec,
        step,
        seed=state.checkpoint_id,
        input=packet.arg,
        path=(PUSH, index, False),
        triggers=_PUSH_TRIGGER,
        timeout=packet.timeout,
    )


def _triggered(program: Program, state: State, updated: set[str] | None) -> Sequence[str]:
    if updated is None:
        return [name for name in sorted(program.nodes) if _is_triggered(program.nodes[name], state)]
    listeners = program.listeners
    heard = listeners.keys() & updated
    if len(heard) == 1:
        names: Sequence[str] = listeners[heard.pop()]
    else:
        names = [name for channel in heard for name in listeners[channel]]
    if len(names) > 1:
        names = sorted(set(names))
    if not state.track:
        return names  # an update that nobody can have acted on before
    return [name for name in names if _is_triggered(program.nodes[name], state)]


def _is_triggered(spec: Node, state: State) -> bool:
    channels = state.channels
    seen = state.seen.get(spec.name)
    for trigger in spec.triggers:
        if channels[trigger].value is MISSING:
            continue
        version = state.versions.get(trigger)
        if version is None and state.track:
            continue  # nobody has written what it starts with
        if seen is None or trigger not in seen or version > seen[trigger]:
            return True
    return False


def read_input(state: State, spec: Node, step: int, stop: int) -> Any:
    """Return what a pulled node is called with; MISSING if its single-value state is still empty."""
    channels = state.channels
    if spec.single:
        return channels[spec.keys[0]].value
    value: Any = {}
    for key in spec.keys:
        held = channels[key].value
        if held is not MISSING:
            value[key] = held
    for key, managed in spec.managed.items():
        value[key] = managed.get(step, stop)
    return value if spec.make is None else spec.make(value)


def read_fresh(state: State, writes: Writes, keys: Sequence[str]) -> Any:
    """Return the state as a router sees it: with the writes of its own task, and no other's."""
    written: dict[str, list[Any]] = {}
    for key, value in writes:
        if key in keys:
            written.setdefault(key, []).append(value)
    channels = state.channels
    if keys == _SINGLE:
        single = channels[keys[0]]
        if keys[0] in written:
            return single.preview(written[keys[0]])
        return single.read() if single.available else None
    fresh: dict[str, Any] = {}
    for key in keys:
        channel = channels[key]
        if key in written:
            shown = channel.preview(written[key])
            if shown is not MISSING:
                fresh[key] = shown
        elif channel.value is not MISSING:
            fresh[key] = channel.read()
    return fresh


def apply(program: Program, state: State, tasks: Iterable[Writer], *, bump: bool = True) -> set[str]:
    """Merge the writes of ``tasks``, which come in their order, and return the channels that changed.

    ``bump`` tells that a superstep is over, so that what lasts for one is cleared; not so for input that is
    slipped in between.

    Raises:
        InvalidUpdateError: writes that a channel can't merge.
    """
    writes = _collect(program, state, tasks)
    channels, version = state.channels, None
    if state.track:
        version = state.version = state.next_version(state.version, None)
    updated: set[str] = set()
    live: set[str] = set()
    for name, values in writes.items():
        channel = channels[name]
        if channel.update(values):
            if state.track:
                state.versions[name] = version
            if channel.value is not MISSING:
                updated.add(name)
                if channel.transient:
                    live.add(name)
    if bump:
        _clear_transient(state, updated, live, version)
        if program.deferred and updated.isdisjoint(program.listeners):
            _finish(program, state, updated, version)
        state.live = live
    else:
        state.live |= live
    return updated


def put_input(state: State, writes: Writes) -> set[str]:
    """Write the input of a run that keeps nothing; return the channels that changed, as ``apply`` does."""
    for name, value in writes:
        state.channels[name].update((value,))
    state.live = {name for name, _ in writes if state.channels[name].transient}
    return {name for name, _ in writes}


def _collect(program: Program, state: State, tasks: Iterable[Writer]) -> dict[str, list[Any]]:
    """Group writes by channel, and note for each task what it has acted on."""
    channels, consumable = state.channels, program.consumable
    writes: dict[str, list[Any]] = {}
    consumed: set[str] = set()
    track = state.track
    for task in tasks:
        if track:
            acted = state.seen.setdefault(task.node, {})
            acted.update((t, state.versions[t]) for t in task.triggers if t in state.versions)
        if consumable:
            consumed.update(trigger for trigger in task.triggers if trigger in consumable)
        for name, value in task.writes or ():
            if name in writes:
                writes[name].append(value)
            elif name in channels:
                writes[name] = [value]
            elif name not in CONTROL:
                logger.warning("Task %s wrote to unknown channel %s, ignoring it.", task.node, name)
    for name in consumed:
        if channels[name].consume() and state.track:
            state.versions[name] = state.next_version(state.version, None)
    return writes


def _clear_transient(state: State, updated: set[str], live: set[str], version: Any) -> None:
    for name in state.live:
        channel = state.channels[name]
        if name not in updated and channel.value is not MISSING and channel.update(()):
            if state.track:
                state.versions[name] = version
            if channel.value is not MISSING:
                updated.add(name)
                live.add(name)


def _finish(program: Program, state: State, updated: set[str], version: Any) -> None:
    for name in program.deferred:
        channel = state.channels[name]
        if channel.finish():
            if state.track:
                state.versions[name] = version
            if channel.value is not MISSING:
                updated.add(name)


def should_pause(state: State, breakpoints: Any, tasks: Iterable[Writer]) -> bool:
    """Whether a breakpoint applies: one of ``tasks`` is named, and something changed since the last pause."""
    seen = state.seen.get(INTERRUPT, {})
    if not any(name not in seen or version > seen[name] for name, version in state.versions.items()):
        return False
    if breakpoints == "*":
        return any(task.node != START for task in tasks)
    return any(task.node in breakpoints for task in tasks)


def order(tasks: Iterable[NodeTask]) -> list[NodeTask]:
    """Sort the tasks of a superstep into the order in which their writes apply."""
    return sorted(tasks, key=_place)


def _place(task: NodeTask) -> tuple[Any, ...]:
    # A handler writes in place of the task that failed.
    acting = task if task.handles is None else task.handles
    kind, *rest = acting.path[:3]
    return (kind, [item if isinstance(item, int) else 0 for item in rest], [str(item) for item in rest])
