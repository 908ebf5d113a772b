"""Who triggered whom: the tasks whose writes scheduled a task. Worked out only when somebody asks.

Most channels that trigger a node last for one superstep, so the writers to look at are the tasks of the
superstep before. A join, and what a deferred node waits for, may collect writers over many: those are
remembered until a task has acted on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..graph.node import TASKS

if TYPE_CHECKING:
    from ..run.loop import RunLoop
    from .state import NodeTask

#: The channel, and the task that wrote to it.
Source: TypeAlias = "tuple[str, NodeTask]"


def sources_of(task: NodeTask) -> tuple[Source, ...]:
    """Return what triggered ``task``, in the order of its triggers and of the writers' own."""
    loop: RunLoop = task.loop
    if task.failure is not None:  # an error handler: the task that failed is what its place was made of
        return tuple((task.triggers[0], one) for one in loop.tasks if one.path == task.path[1])
    if loop.lineage is None:
        finished = loop.finished
        if len(finished) == 1 and not task.is_pushed:
            return _written_by(finished[0], task.triggers)
        loop.lineage = Lineage(loop.program.lasting)
    return loop.lineage.sources(task, loop.finished)


def _written_by(writer: NodeTask, triggers: tuple[str, ...]) -> tuple[Source, ...]:
    """Return the same where nobody else can have written: a chain, and most loops."""
    found: list[Source] = []
    for name, _ in writer.writes or ():
        if name in triggers and (name, writer) not in found:
            found.append((name, writer))
    return tuple(found)


class Lineage:
    """What a loop remembers of who wrote what."""

    __slots__ = ("_finished", "_lasting", "_writers")

    def __init__(self, lasting: frozenset[str]) -> None:
        #: Triggers that may hold the writes of several supersteps → who wrote them.
        self._lasting: dict[str, list[NodeTask]] = {name: [] for name in lasting}
        #: All channels that were written in the last superstep → the tasks that wrote to them.
        self._writers: dict[str, list[NodeTask]] = {}
        self._finished: Sequence[NodeTask] = ()

    def remember(self, loop: RunLoop, tasks: Sequence[NodeTask]) -> None:
        """Take note of what ``tasks``, which come in the order of their writes, are about to write."""
        if not self._lasting:
            return
        channels = loop.state.channels
        for name in {trigger for task in tasks for trigger in task.triggers}:
            if name in self._lasting and channels[name].available:
                self._lasting[name] = []
        for name, task in _writes(tasks):
            if name in self._lasting:
                self._lasting[name].append(task)

    def sources(self, task: NodeTask, finished: Sequence[NodeTask]) -> tuple[Source, ...]:
        """Return what triggered ``task``, if ``finished`` are the tasks of the superstep before."""
        if finished is not self._finished:
            self._finished, self._writers = finished, {}
            for name, writer in _writes(finished):
                self._writers.setdefault(name, []).append(writer)
        if task.is_pushed:
            return self._sender(task)
        channels = task.loop.state.channels
        found: dict[Source, None] = {}
        for name in task.triggers:
            if name not in self._lasting:
                found.update(((name, writer), None) for writer in self._writers.get(name, ()))
            elif channels[name].available:
                found.update(((name, writer), None) for writer in self._lasting[name])
        return tuple(found)

    def _sender(self, task: NodeTask) -> tuple[Source, ...]:
        senders = self._writers.get(TASKS, [])
        packets = task.loop.state.channels[TASKS].value
        index = task.path[1]
        # Packets that came from outside, by update_state or a command, have no task behind them.
        return ((TASKS, senders[index]),) if len(senders) == len(packets) else ()


def _writes(tasks: Iterable[NodeTask]) -> Iterable[Source]:
    for task in tasks:
        for name, _ in task.writes or ():
            yield name, task
