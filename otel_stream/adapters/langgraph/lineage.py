"""Who triggered whom: the tasks whose writes scheduled a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_stream.adapters.langgraph.task import NodeTask
from otel_stream.adapters.langgraph.words import PUSH, TASKS


class Lineage:
    """What one run remembers of who wrote to the channels that trigger nodes.

    Most of them last for one superstep. A join, and what a deferred node waits for, collects writers over
    many: those are remembered until a task has acted on them.
    """

    __slots__ = ("_lasting", "_packets", "_writers", "_written")

    def __init__(self, specs: Mapping[str, Any]) -> None:
        self._lasting: dict[str, list[NodeTask]] = {
            name: [] for name, spec in specs.items() if _outlasts_a_superstep(spec)
        }
        self._writers: dict[str, list[NodeTask]] = {}
        #: Who has sent the packets, in their order.
        self._packets: list[NodeTask] = []
        #: The tasks of the superstep before.
        self._written: Sequence[NodeTask] = ()

    def remember(self, tasks: Sequence[tuple[NodeTask, Any]], channels: Mapping[str, Any]) -> None:
        """Take note of what tasks, which come in the order of their writes, are about to write."""
        for task in self._written:
            task.sources = ()  # or the last task of a run would keep all the others alive
        self._written = [task for task, _ in tasks]
        for name in {trigger for task in self._written for trigger in task.triggers} & self._lasting.keys():
            if channels[name].is_available():
                self._lasting[name] = []
        writers: dict[str, list[NodeTask]] = {}
        packets: list[NodeTask] = []
        self._writers, self._packets = writers, packets
        for task, writes in tasks:
            if task.hidden:
                continue
            for name, _ in writes:
                if name == TASKS:
                    packets.append(task)
                elif name in self._lasting:
                    self._lasting[name].append(task)
                else:
                    writers.setdefault(name, []).append(task)

    def sources(self, task: NodeTask, channels: Mapping[str, Any]) -> tuple[tuple[str, NodeTask], ...]:
        """Return what triggered a task of the superstep that begins."""
        if task.path[:1] == (PUSH,):
            # Packets that came from outside have no task behind them.
            index = task.path[1]
            return ((TASKS, self._packets[index]),) if _is_place(index, self._packets) else ()
        found: dict[tuple[str, NodeTask], None] = {}
        for name in task.triggers:
            if name not in self._lasting:
                found.update(((name, writer), None) for writer in self._writers.get(name, ()))
            elif channels[name].is_available():
                found.update(((name, writer), None) for writer in self._lasting[name])
        return tuple(found)

    def forget(self) -> None:
        """Let go of everything: the run has ended."""
        self._writers, self._packets = {}, []
        self._lasting = {name: [] for name in self._lasting}
        for task in self._written:
            task.sources = ()
        self._written = ()


def _is_place(index: Any, of: Sequence[Any]) -> bool:
    return isinstance(index, int) and index < len(of)


def _outlasts_a_superstep(spec: Any) -> bool:
    name = type(spec).__name__
    return "Barrier" in name or name.endswith("AfterFinish")
