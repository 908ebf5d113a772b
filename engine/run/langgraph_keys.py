"""What LangGraph's functions look for in a task's config: how its ``interrupt``, writer and tools find ours.

The keys are LangGraph's, the values ours, of the shape it expects.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from ..core.state import RESUME
from ..core.superstep import read_fresh, read_input
from ..core.task import NodeTask, RunEnv
from ..graph.functions import task_node
from ..policies import TimeoutPolicy, as_policies
from ..runtime import make_runtime
from ..types import MISSING
from .calls import call
from .resume import take_answer


class _Scratchpad:
    """Where an attempt is, to LangGraph: its questions, their answers, and its subgraphs, counted."""

    def __init__(self, task: NodeTask) -> None:
        self._env, self._pad = task.env, task.pad
        self.step = task.step
        self.stop = task.env.continuation.stop

    @property
    def resume(self) -> list[Any]:
        """The answers that are known, which LangGraph adds to."""
        if not isinstance(self._pad.answers, list):
            self._pad.answers = list(self._pad.answers)
        return self._pad.answers

    def interrupt_counter(self) -> int:
        """Count a question."""
        self._pad.asked += 1
        return self._pad.asked - 1

    def call_counter(self) -> int:
        """Count a functional call."""
        self._pad.calls += 1
        return self._pad.calls - 1

    def subgraph_counter(self) -> int:
        """Count a subgraph."""
        self._pad.subgraphs += 1
        return self._pad.subgraphs - 1

    def get_null_resume(self, consume: bool = False) -> Any:
        """Return the answer that was given without an interrupt id, if there is one."""
        answer = take_answer(self._env, keep=not consume)
        return None if answer is MISSING else answer


class Live(dict[str, Any]):
    """``configurable`` with what only means something here and now, so that it is not pickled along."""

    def _rest(self) -> dict[str, Any]:
        return {key: value for key, value in self.items() if not key.startswith("__pregel_")}

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(self._rest(), memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (self._rest(),))


def is_loaded() -> bool:
    """Whether the program has loaded LangGraph, and any code could look for its keys."""
    return "langgraph" in sys.modules


def _call(
    caller: NodeTask,
    function: Any,
    given: tuple[Any, Any],
    *,
    retry_policy: Any = None,
    cache_policy: Any = None,
    timeout: Any = None,
    **_: Any,
) -> Any:
    """Run a functional task of LangGraph's as one of ours; ``given`` are its arguments."""
    limit = TimeoutPolicy.coerce(timeout)
    return call(task_node(function, None, as_policies(retry_policy), cache_policy, limit), caller, *given)


def langgraph_keys(task: NodeTask) -> dict[str, Any]:
    """Return them for ``configurable``."""
    env, pad = task.env, task.pad

    def send(writes: Sequence[tuple[str, Any]]) -> None:
        for name, value in writes:
            if name == RESUME:
                pad.answered = list(value)
            else:
                pad.pushed.append((name, value))

    def read(
        _pad: Any, _channels: Any, _managed: Any, select: str | Sequence[str], fresh: bool = False
    ) -> Any:
        keys = (select,) if isinstance(select, str) else tuple(select)
        found = read_fresh(env.state, pad.pushed if fresh else [], keys)
        return found.get(select) if isinstance(select, str) and isinstance(found, dict) else found

    def read_state() -> Any:
        return read_input(env.state, task.spec, task.step, env.continuation.stop)

    scratchpad = _Scratchpad(task)
    keys = {
        "__pregel_call": partial(_call, task),
        "__pregel_runtime": make_runtime(task),
        "__pregel_scratchpad": scratchpad,
        "__pregel_send": send,
        # Its ToolNode looks for the names of the channels among the arguments.
        "__pregel_read": partial(read, scratchpad, env.program.state_view.keys, task.spec.managed),
        "__pregel_read_state": read_state,
        "__pregel_task_id": task.id,
    }
    saver = _saver(task)
    if saver is not None:
        keys["__pregel_checkpointer"] = saver
        keys["__pregel_resuming"] = bool(env.continuation.goes_on)
    return keys


def _saver(task: NodeTask) -> Any:
    env: RunEnv | None = task.env
    while env is not None:
        if env.memory is not None:
            return env.memory.checkpointer
        env = env.around
    return None
