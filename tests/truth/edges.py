"""Who must have triggered whom, by the rules of the graph alone: its edges, joins, and what was chosen.

The engine has its own account, ``Task.sources``, which the links are made of; nothing of it is used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.differential.specs import END, START, Graph
from tests.truth.build import PACKETS, Notes
from tests.truth.execution import Edge

HANDLER = "__error_handler__"


class Ran(NamedTuple):
    """A task of a superstep. ``wrote``: it ended well, so that its writes count."""

    id: str
    node: str
    wrote: bool
    #: Whether a packet scheduled it.
    sent: bool
    #: Whether it failed, and when it ended.
    failed: bool
    ended: int


class Channels:
    """Who has written to what, in one run: plain edges last for one superstep, the others until acted on."""

    def __init__(self, graph: Graph, notes: Notes) -> None:
        self.graph = graph
        self.notes = notes
        #: For tasks that are taken from the cache.
        self.goto = {
            node.name: node.goto for node in graph.nodes if node.cached and "command" in node.returns
        }
        self.deferred = {node.name for node in graph.nodes if node.defer}
        self.joins = [edge for edge in graph.edges if isinstance(edge[0], tuple) and edge[1] != END]
        #: Of the superstep before.
        self.fresh: list[tuple[str, str]] = []
        self.packets: list[str] = []
        #: For joins and deferred nodes.
        self.lasting: list[tuple[str, str]] = []
        #: The names a join has seen, by channel; some in a run before, says its checkpoint.
        self.seen: dict[str, set[str]] = {}

    def remember(self, checkpoint: Mapping[str, Any]) -> None:
        """Take over what joins had seen when the run before was left."""
        for edge in self.joins:
            held = checkpoint.get("channel_values", {}).get(_join(*edge), ())
            names = (
                held[0] if isinstance(held, tuple | list) and held and not isinstance(held[0], str) else held
            )
            self.seen[_join(*edge)] = set(names)

    def edges(self, tasks: Sequence[Ran]) -> dict[str, tuple[Edge, ...]]:
        """Return what triggered each of ``tasks``, the next superstep in the order of its plan."""
        found: dict[str, tuple[Edge, ...]] = {}
        for index, task in enumerate(tasks):
            if task.node.startswith(HANDLER):
                found[task.id] = (("__error__", self._failed(task, tasks)),)
            elif index < len(self.packets):
                found[task.id] = (("__pregel_tasks", self.packets[index]),)
            else:
                held = self.fresh + self.lasting
                found[task.id] = tuple(
                    sorted({edge for edge in held if edge[0] in self._triggers(task.node)})
                )
        return found

    def _failed(self, handler: Ran, tasks: Sequence[Ran]) -> str:
        """Return the task that a handler is for: it was told; unless it was stopped before it ran."""
        node = handler.node.removeprefix(HANDLER)
        ended = sorted(
            (task for task in tasks if task.node == node and task.failed), key=lambda one: one.ended
        )
        failed = [task.id for task in ended]
        noted = self.notes.handled.get(handler.id, "")
        if noted in failed:
            return noted
        # It never ran, or what failed inside a subgraph has the mark of the node inside: they come in order.
        handlers = [task.id for task in tasks if task.node == handler.node]
        known = {id: self.notes.handled.get(id, "") for id in handlers}
        left = [id for id in failed if id not in known.values()]
        return left[[id for id in handlers if known[id] not in failed].index(handler.id)]

    def _triggers(self, node: str) -> set[str]:
        """Return the channels of a node, but for joins that still wait for somebody."""
        joins = {_join(*edge) for edge in self.joins if edge[1] == node and self._complete(edge)}
        return {_branch(node), *joins}

    def _complete(self, edge: Any) -> bool:
        return self.seen.get(_join(*edge), set()) == set(edge[0])

    def done(self, tasks: Sequence[Ran]) -> None:
        """Take note that the superstep is over, and everything written."""
        pulled = [task for task in tasks if not task.sent]
        acted = {channel for task in pulled for channel in self._triggers(task.node)}
        self.lasting = [edge for edge in self.lasting if edge[0] not in acted]
        for channel in acted:
            self.seen.pop(channel, None)
        self.fresh, self.packets = [], []
        # In the order of writes: what edges scheduled by name, then what was sent.
        pulled.sort(key=lambda task: task.node)
        for task in [*pulled, *(task for task in tasks if task.sent)]:
            if task.wrote:
                self._write(task)

    def _write(self, task: Ran) -> None:
        targets: list[Any] = [to for source, to in self.graph.edges if source == task.node]
        targets += self.notes.commands.get(task.id, self.goto.get(task.node, ()))
        for chosen in self.notes.choices.get(task.id, {}).values():
            targets += chosen
        for target in targets:
            if isinstance(target, PACKETS):
                self.packets.append(task.id)
            elif target not in (END, START):
                held = self.lasting if target in self.deferred else self.fresh
                held.append((_branch(target), task.id))
        for edge in self.joins:
            if task.node in edge[0]:
                self.seen.setdefault(_join(*edge), set()).add(task.node)
                self.lasting.append((_join(*edge), task.id))


def _branch(node: str) -> str:
    return f"branch:to:{node}"


def _join(starts: Any, end: str) -> str:
    return f"join:{'+'.join(starts)}:{end}"
