"""Who triggered whom: the tasks whose writes scheduled a task. Worked out only when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from otel_stream.adapters.langgraph.task import NodeTask
from otel_stream.adapters.langgraph.words import PUSH, TASKS

#: A task, and what it wrote to which channels.
Wrote: TypeAlias = tuple[NodeTask, Iterable[tuple[str, Any]]]


class Lineage:
    """What one run remembers of who wrote to the channels that trigger nodes.

    Most of them last for one superstep, so the writers to look at are the tasks of the superstep before. A
    join, and what a deferred node waits for, collects writers over many: those are remembered until a task
    has acted on them.
    """

    __slots__ = ("_before", "_lasting")

    def __init__(self, specs: Mapping[str, Any]) -> None:
        self._lasting: dict[str, list[NodeTask]] = {
            name: [] for name, spec in specs.items() if _outlasts_a_superstep(spec)
        }
        #: The tasks of the superstep before, in the order of their writes.
        self._before: Sequence[Wrote] = ()

    def remember(self, tasks: Sequence[Wrote], channels: Mapping[str, Any]) -> None:
        """Take note of what tasks, which come in the order of their writes, are about to write."""
        for task, _ in self._before:
            task.forget_sources()
        self._before = tasks
        if not self._lasting:
            return
        for name in {trigger for task, _ in tasks for trigger in task.triggers} & self._lasting.keys():
            if channels[name].is_available():
                self._lasting[name] = []
        for name, task in _writes(tasks):
            if name in self._lasting:
                self._lasting[name].append(task)

    def sources(self, task: NodeTask, channels: Mapping[str, Any]) -> tuple[tuple[str, NodeTask], ...]:
        """Return what triggered a task of the superstep that begins."""
        if task.path[:1] == (PUSH,):
            senders = [writer for name, writer in _writes(self._before) if name == TASKS]
            index = task.path[1]
            # Packets that came from outside have no task behind them.
            known = isinstance(index, int) and index < len(senders)
            return ((TASKS, senders[index]),) if known else ()
        lasting = self._lasting
        found: dict[tuple[str, NodeTask], None] = {}
        for name in task.triggers:
            if name not in lasting:
                writers = [
                    one for one, writes in self._before if name in map(_NAME, writes) and not one.hidden
                ]
            else:
                writers = lasting[name] if channels[name].is_available() else []
            for writer in writers:
                found[name, writer] = None
        return tuple(found)

    def forget(self) -> None:
        """Let go of everything: the run has ended."""
        for task, _ in self._before:
            task.forget_sources()
        self._before = ()
        self._lasting = {name: [] for name in self._lasting}


#: The channel of a write.
_NAME: Final = itemgetter(0)


def _writes(tasks: Iterable[Wrote]) -> Iterable[tuple[str, NodeTask]]:
    for task, writes in tasks:
        if not task.hidden:
            for name, _ in writes:
                yield name, task


def _outlasts_a_superstep(spec: Any) -> bool:
    name = type(spec).__name__
    return "Barrier" in name or name.endswith("AfterFinish")
