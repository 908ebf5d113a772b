"""A run as plain data: what is compared, whoever tells it.

``happened.py`` makes it of what nodes, routers and the checkpointer note down and of the engine's events,
``rebuild.py`` of nothing but exported spans, links and log events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

#: An edge to a task: the channel, and the id of the task that wrote to it.
Edge = tuple[str, str]
#: A part of a stream: its place, its mode, the task or run that it is of, and its JSON if that is known.
Part = tuple[int, str, Any, bytes | None]


@dataclass(frozen=True)
class Attempt:
    """One attempt of a node that has a retry policy. ``pause``: seconds until the next one."""

    number: int
    end: str
    error: str | None = None
    pause: float | None = None


@dataclass(frozen=True)
class Task:
    id: str
    node: str
    end: str
    error: str | None = None
    cached: bool = False
    #: Empty for a node without a retry policy: there is just the task.
    attempts: tuple[Attempt, ...] = ()
    interrupts: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    #: Where it went: the name of the conditional edge, or of the node whose Command decided, and the targets.
    routes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: What the node opened itself while it ran: the number of the attempt, and a number of its own.
    inside: tuple[tuple[int, int], ...] = ()
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Superstep:
    number: int
    width: int
    end: str
    error: str | None
    #: By node and id: they run side by side.
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Run:
    """A root run or a subgraph's; ``resumes`` is the root id and namespace of the run it goes on from."""

    root: str
    graph: str
    ns: tuple[str, ...]
    thread: str | None
    resumed: bool
    end: str
    error: str | None = None
    interrupts: tuple[str, ...] = ()
    resumes: tuple[str, tuple[str, ...]] | None = None
    #: Ids of the interrupts it answers.
    answers: tuple[str, ...] = ()
    #: How often it was said that it waits, and for what.
    waits: tuple[tuple[str, ...], ...] = ()
    supersteps: tuple[Superstep, ...] = ()


@dataclass(frozen=True)
class Execution:
    """All runs of a program, in their order, and the parts of their streams."""

    runs: tuple[Run, ...]
    #: By root run, in the order of the stream.
    parts: Mapping[str, tuple[Part, ...]]
    #: What was found twice, or without an end, or under something that it can't be part of.
    broken: tuple[str, ...] = ()

    def without_content(self) -> Execution:
        """Leave out what parts say: for comparing with what was exported without content."""
        parts = {id: tuple((*part[:3], None) for part in found) for id, found in self.parts.items()}
        return replace(self, parts=parts)


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Yield a sentence for every place in which two of these, or what they are made of, differ."""
    if type(one) is not type(other):
        yield f"{where}: {one!r} is not {other!r}"
    elif hasattr(one, "__dataclass_fields__"):
        name = getattr(one, "node", "") or getattr(one, "graph", "")
        for field in fields(one):
            place = f"{where}{f'({name})' if name else ''}.{field.name}"
            yield from differences(getattr(one, field.name), getattr(other, field.name), place)
    elif isinstance(one, tuple) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}[{index}]")
    elif isinstance(one, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{where}[{key!r}]")
    elif one != other:
        yield f"{where}: {one!r} is not {other!r}"
