"""Who triggered whom: the tasks whose writes scheduled a task. Worked out only when somebody asks.

Most channels that trigger a node last for one superstep, so the writers to look at are the tasks of the
superstep before. A join, and what a deferred node waits for, may collect writers over many: those are
remembered until a task has acted on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ..channels import Channel
from ..graph.node import TASKS, Writes

#: The channel, and the task that wrote to it.
Source: TypeAlias = "tuple[str, Any]"


class Linked(Protocol):
    """A task, as far as its lineage goes."""

    @property
    def path(self) -> tuple[Any, ...]: ...
    @property
    def triggers(self) -> tuple[str, ...]: ...
    @property
    def writes(self) -> Writes | None: ...
    @property
    def is_pushed(self) -> bool: ...


class Lineage:
    """Who wrote what in one run: the tasks of the superstep before, and what lasts longer."""

    __slots__ = ("_channels", "_finished", "_lasting", "_looked", "_writers")

    def __init__(self, lasting: frozenset[str], channels: Mapping[str, Channel]) -> None:
        self._channels = channels
        #: Triggers that may hold the writes of several supersteps → who wrote them.
        self._lasting: dict[str, list[Linked]] = {name: [] for name in lasting}
        #: The tasks of the superstep before, in the order of their writes.
        self._finished: Sequence[Linked] = ()
        #: All channels that those have written → who wrote them; made for the tasks in ``_looked``.
        self._writers: dict[str, list[Linked]] = {}
        self._looked: Sequence[Linked] = ()

    def finish(self, tasks: Sequence[Linked]) -> None:
        """Take note of ``tasks``, in the order of their writes, which are about to be applied."""
        self._finished = tasks
        if not self._lasting:
            return
        for name in {trigger for task in tasks for trigger in task.triggers}:
            if name in self._lasting and self._channels[name].available:
                self._lasting[name] = []
        for name, task in _writes(tasks):
            if name in self._lasting:
                self._lasting[name].append(task)

    def sources(self, task: Linked) -> tuple[Source, ...]:
        """Return what triggered ``task``, in the order of its triggers and of the writers' own."""
        finished = self._finished
        if len(finished) == 1 and not self._lasting and not task.is_pushed:
            return _written_by(finished[0], task.triggers)
        if finished is not self._looked:
            self._looked, self._writers = finished, {}
            for name, writer in _writes(finished):
                self._writers.setdefault(name, []).append(writer)
        if task.is_pushed:
            return self._sender(task)
        found: dict[Source, None] = {}
        for name in task.triggers:
            if name not in self._lasting:
                found.update(((name, writer), None) for writer in self._writers.get(name, ()))
            elif self._channels[name].available:
                found.update(((name, writer), None) for writer in self._lasting[name])
        return tuple(found)

    def _sender(self, task: Linked) -> tuple[Source, ...]:
        senders = self._writers.get(TASKS, [])
        packets = self._channels[TASKS].value
        index = task.path[1]
        # Packets that came from outside, by update_state or a command, have no task behind them.
        return ((TASKS, senders[index]),) if len(senders) == len(packets) else ()


def _written_by(writer: Linked, triggers: tuple[str, ...]) -> tuple[Source, ...]:
    """Return the same where nobody else can have written: a chain, and most loops."""
    found: dict[Source, None] = {}
    for name, _ in writer.writes or ():
        if name in triggers:
            found[name, writer] = None
    return tuple(found)


def _writes(tasks: Iterable[Linked]) -> Iterable[Source]:
    for task in tasks:
        for name, _ in task.writes or ():
            yield name, task
