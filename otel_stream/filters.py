"""Filters: which parts a receiver wants. Small ones, made into bigger ones with ``&``, ``|``, ``~``.

StreamConfig(modes="updates", filter=Node("audit_*") & ~Tag("draft"))
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from otel_stream.config import ConfigError
from otel_stream.modes import StreamPart


class StreamFilter:
    """Base class; override :meth:`accept`. A filter that raises cuts its receiver off, nothing else."""

    def accept(self, part: StreamPart, /) -> bool:
        """Return whether the receiver wants ``part``, which has all its metadata."""
        raise NotImplementedError(f"{type(self).__name__} must say which parts it accepts")

    def __and__(self, other: StreamFilter | Callable[[StreamPart], bool]) -> StreamFilter:
        first, second = self.accept, acceptance(other)
        return Where(lambda part: first(part) and second(part))

    def __or__(self, other: StreamFilter | Callable[[StreamPart], bool]) -> StreamFilter:
        first, second = self.accept, acceptance(other)
        return Where(lambda part: first(part) or second(part))

    def __invert__(self) -> StreamFilter:
        accept = self.accept
        return Where(lambda part: not accept(part))


Accept: TypeAlias = Callable[[StreamPart], Any]


def acceptance(filter: Any) -> Accept:
    """Return the predicate of a ``StreamFilter``, or the predicate itself.

    Raises:
        ConfigError: it is neither.
    """
    accept = getattr(filter, "accept", filter)
    if not callable(accept):
        raise ConfigError(f"filter: {filter!r} can't filter; give a StreamFilter or a function of one part")
    return accept  # type: ignore[no-any-return]


class Where(StreamFilter):
    """Parts for which ``predicate(part)`` is true."""

    def __init__(self, predicate: Accept) -> None:
        self._predicate = acceptance(predicate)

    def accept(self, part: StreamPart, /) -> bool:
        return bool(self._predicate(part))


class Node(StreamFilter):
    """Parts of nodes whose name matches one of the globs; parts of the run itself have no node."""

    def __init__(self, *globs: str) -> None:
        self._matches = _matcher(globs)

    def accept(self, part: StreamPart, /) -> bool:
        return part.node is not None and self._matches(part.node)


class Namespace(StreamFilter):
    """Parts from inside a subgraph: ``path`` are globs of node names, from the root down.

    ``Namespace("research")`` takes what happens in that node's subgraph and in the ones below it,
    ``~Namespace("*")`` only what happens at the root.
    """

    def __init__(self, *path: str) -> None:
        self._path = [_matcher((glob,)) for glob in path]

    def accept(self, part: StreamPart, /) -> bool:
        names = (level.rpartition(":")[0] or level for level in part.ns)
        return len(part.ns) >= len(self._path) and all(
            matches(name) for matches, name in zip(self._path, names, strict=False)
        )


class Tag(StreamFilter):
    """Parts of runs that have one of the tags."""

    def __init__(self, *tags: str) -> None:
        self._tags = frozenset(tags)

    def accept(self, part: StreamPart, /) -> bool:
        return not self._tags.isdisjoint(part.tags)


class Step(StreamFilter):
    """Parts of the supersteps from ``first`` to ``last``, both included; no ``last``: to the end."""

    def __init__(self, first: int, last: int | None = None) -> None:
        self._first = first
        self._last = last

    def accept(self, part: StreamPart, /) -> bool:
        step = part.step
        return step is not None and self._first <= step and (self._last is None or step <= self._last)


class Mode(StreamFilter):
    """Parts of one of the modes; a ``Custom`` mode is known by its name."""

    def __init__(self, *modes: str) -> None:
        self._modes = frozenset(modes)

    def accept(self, part: StreamPart, /) -> bool:
        return part.type in self._modes


def _matcher(globs: tuple[str, ...]) -> Callable[[str], Any]:
    if not globs or not all(isinstance(glob, str) for glob in globs):
        raise ConfigError(f"filter: {globs!r} names nothing; give at least one name or glob, as strings")
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)).match
