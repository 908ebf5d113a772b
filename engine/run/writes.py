"""What a node's answer writes: its updates, its static edges, and what its routers choose."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from otel_stream.events import RouteChosen

from ..core.superstep import read_fresh
from ..core.task import NodeTask
from ..errors import ParentCommand
from ..executors import call_in_place
from ..graph.node import Branch, Callback, Writes, commands_in, target_writes
from ..messages import named
from ..runtime import make_runtime, task_writer
from ..task_config import task_config
from ..types import Send, ours


async def writes_of(task: NodeTask, context: Context, answer: Any) -> Writes:
    """Translate a node's answer into writes: its updates, its static edges, and what its routers choose."""
    spec, env = task.spec, task.env
    if type(answer) is not dict:
        answer = ours(answer)
    try:
        writes = spec.writes_of(answer)
    except ParentCommand as bubble:
        # One level up, the commands are for "this graph".
        raise ParentCommand(*(command.here() for command in bubble.args)) from None
    if spec.conversations:  # so that streams, which come before the reducer, show the ids, too
        writes = [(key, named(value)) if key in spec.conversations else (key, value) for key, value in writes]
    if env.observer is not None and type(answer) is not dict:
        targets = [target for command in commands_in(answer) for target in command.destinations()]
        if targets:
            _report_route(task, task.node, targets)
    if task.scratch is not None and task.scratch.pushed:
        writes = [*task.scratch.pushed, *writes]
    if spec.edges:
        writes.extend(spec.edges)
    task.writes = writes  # they stand, should a router raise
    for branch in spec.branches:
        await route(task, context, branch, answer, writes)
    return writes


def inject(callback: Callback, task: NodeTask) -> dict[str, Any]:
    """Build the keyword arguments that user code declared."""
    return {name: _INJECT[name](task) for name in callback.inject}


_INJECT: dict[str, Any] = {
    "config": task_config,
    "writer": task_writer,
    "store": lambda task: task.env.store,
    "previous": lambda task: task.env.continuation.previous,
    "runtime": make_runtime,
    "error": lambda task: task.failure,
}


async def route(task: NodeTask, context: Context, branch: Branch, answer: Any, writes: Writes) -> None:
    """Ask a conditional edge where to go, and add its choice to ``writes``."""
    env = task.env
    value = read_fresh(env.state, writes, branch.keys)
    stop = env.continuation.stop or task.step + env.recursion_limit  # who updates a state runs nothing
    if isinstance(value, dict):
        if isinstance(answer, dict) and branch.own_schema is None:
            value = {**answer, **value}
        for key, managed in branch.managed.items():
            value[key] = managed.get(task.step, stop)
        if branch.make is not None:
            value = branch.make(value)
    path = branch.path
    kwargs = inject(path, task) if path.inject else None
    if path.in_place:
        answer = call_in_place(path.func, context, value, kwargs)
    else:
        answer = await env.executor.call(path, context, value, kwargs)
    targets = branch.targets(answer)
    writes.extend(target_writes(targets))
    if env.observer is not None:
        _report_route(task, branch.name, targets)


def _report_route(task: NodeTask, source: str, targets: Sequence[Any]) -> None:
    observer = task.env.observer
    if observer is not None and observer.interest & RouteChosen.bit:
        names = tuple(t.node if isinstance(t, Send) else t for t in targets)
        observer.emit(RouteChosen(task, source, names, time.time_ns()))
