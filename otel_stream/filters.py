"""Filters: which parts a receiver wants. Small ones, made into bigger ones with ``&``, ``|``, ``~``.

StreamConfig(modes="updates", filter=Node("audit_*") & ~Tag("draft"))

Filters that look at nothing but a part's metadata decide before its data exists: an event whose parts
no receiver wants is then neither copied nor converted, only counted.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from otel_stream.config import MODES, ConfigError, refuse_unusable
from otel_stream.events import Event
from otel_stream.parts import StreamPart, message_id

Accept: TypeAlias = Callable[[StreamPart], Any]


class StreamFilter:
    """Base class; override :meth:`accept`. A filter that raises cuts its receiver off, nothing else."""

    def accept(self, part: StreamPart, /) -> bool:
        """Return whether the receiver wants ``part``, which has all its metadata."""
        raise NotImplementedError(f"{type(self).__name__} must say which parts it accepts")

    def foresee(self, part: StreamPart, /) -> bool | None:
        """Return what ``accept`` will, given ``part`` without ``data`` and ``seq``; None if it needs them."""
        return None

    def given(self, kind: type[Event], /) -> StreamFilter:
        """Return the filter for parts that are made of events of this ``kind``."""
        return self

    def __and__(self, other: StreamFilter | Accept) -> StreamFilter:
        return _And(as_filter(self), as_filter(other))

    def __or__(self, other: StreamFilter | Accept) -> StreamFilter:
        return ~_And(~self, ~as_filter(other))

    def __invert__(self) -> StreamFilter:
        return _Not(self)


def as_filter(filter: Any) -> StreamFilter:
    """Return ``filter`` itself, or a filter out of anything with an ``accept``, or of a predicate.

    Raises:
        ConfigError: it is none of them, or it is async.
    """
    accept = getattr(filter, "accept", filter)
    if not callable(accept):
        raise ConfigError(f"filter: {filter!r} can't filter; give a StreamFilter or a function of one part")
    refuse_unusable("filter", accept, "a part")
    return filter if isinstance(filter, StreamFilter) else Where(accept)


def truth(answer: Any) -> bool:
    """Return what a filter's answer means.

    Raises:
        TypeError: it wants to be awaited, and nothing awaits here.
    """
    if answer is True or answer is False:
        return answer
    if hasattr(type(answer), "__await__"):
        close = getattr(answer, "close", None)
        if callable(close):
            close()  # else Python warns that it was never awaited
        raise TypeError("a filter answered with an awaitable: it is asked for every part and can't be async")
    return bool(answer)


class _And(StreamFilter):
    def __init__(self, first: StreamFilter, second: StreamFilter) -> None:
        self._first = first
        self._second = second

    def accept(self, part: StreamPart, /) -> bool:
        return truth(self._first.accept(part)) and truth(self._second.accept(part))

    def foresee(self, part: StreamPart, /) -> bool | None:
        first = self._first.foresee(part)
        if first is False:
            return False
        second = self._second.foresee(part)
        return first if second else second

    def given(self, kind: type[Event], /) -> StreamFilter:
        return _And(self._first.given(kind), self._second.given(kind))


class _Not(StreamFilter):
    def __init__(self, inner: StreamFilter) -> None:
        self._inner = inner

    def accept(self, part: StreamPart, /) -> bool:
        return not truth(self._inner.accept(part))

    def foresee(self, part: StreamPart, /) -> bool | None:
        inner = self._inner.foresee(part)
        return None if inner is None else not inner

    def given(self, kind: type[Event], /) -> StreamFilter:
        return _Not(self._inner.given(kind))


class Where(StreamFilter):
    """Parts for which ``predicate(part)`` is true."""

    def __init__(self, predicate: Accept) -> None:
        if not callable(predicate):
            raise ConfigError(f"filter: {predicate!r} can't filter; give a function of one part")
        refuse_unusable("filter", predicate, "a part")
        self._predicate = predicate

    def accept(self, part: StreamPart, /) -> bool:
        return truth(self._predicate(part))


class _Metadata(StreamFilter):
    """A filter that looks at metadata only."""

    def foresee(self, part: StreamPart, /) -> bool | None:
        return self.accept(part)


class Node(_Metadata):
    """Parts of nodes whose name matches one of the globs; parts of the run itself have no node."""

    def __init__(self, *globs: str) -> None:
        self._matches = _matcher(globs)

    def accept(self, part: StreamPart, /) -> bool:
        return part.node is not None and bool(self._matches(part.node))


class Namespace(_Metadata):
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


class Tag(_Metadata):
    """Parts of runs that have one of the tags."""

    def __init__(self, *tags: str) -> None:
        self._tags = frozenset(tags)

    def accept(self, part: StreamPart, /) -> bool:
        return not self._tags.isdisjoint(part.tags)


class Step(_Metadata):
    """Parts of the supersteps from ``first`` to ``last``, both included; no ``last``: to the end.

    Raises:
        ConfigError: no superstep is between them.
    """

    def __init__(self, first: int, last: int | None = None) -> None:
        if last is not None and last < first:
            raise ConfigError(
                f"filter: Step({first}, {last}) lets nothing through; give the lower number first"
            )
        self._first = first
        self._last = last

    def accept(self, part: StreamPart, /) -> bool:
        step = part.step
        return step is not None and self._first <= step and (self._last is None or step <= self._last)


class Mode(_Metadata):
    """Parts of one of the modes; a ``Custom`` mode is known by its name.

    Raises:
        ConfigError: a word that is nearly a mode, and none.
    """

    def __init__(self, *modes: str) -> None:
        for word in modes:
            near = difflib.get_close_matches(word, MODES, 1, 0.8) if word not in MODES else ()
            if near:
                raise ConfigError(f"filter: Mode({word!r}) is no mode; did you mean {near[0]!r}?")
        self._modes = frozenset(modes)

    def accept(self, part: StreamPart, /) -> bool:
        return part.type in self._modes


class MessageId(StreamFilter):
    """*messages* parts whose message has an id that matches one of the globs, and no others."""

    def __init__(self, *globs: str) -> None:
        self._matches = _matcher(globs)

    def accept(self, part: StreamPart, /) -> bool:
        message = message_id(part)
        return message is not None and bool(self._matches(message))

    def foresee(self, part: StreamPart, /) -> bool | None:
        return None if part.type == "messages" else False


class EventType(StreamFilter):
    """Parts that are made of an event of one of the types, from ``otel_stream.events``.

    The stream knows what it makes a part of, a part alone does not: outside of a stream this raises.
    """

    def __init__(self, *kinds: type[Event]) -> None:
        kind: Any
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, Event)):
                raise ConfigError(f"filter: {kind!r} is no event type; take one from otel_stream.events")
        self._kinds = kinds

    def accept(self, part: StreamPart, /) -> bool:
        raise ConfigError(
            f"filter: EventType can't tell what a {part.type!r} part was made of; "
            "pass a filter that contains it to StreamConfig.filter as it is"
        )

    def given(self, kind: type[Event], /) -> StreamFilter:
        return _Constant(issubclass(kind, self._kinds))


class _Constant(_Metadata):
    def __init__(self, accepts: bool) -> None:
        self._accepts = accepts

    def accept(self, part: StreamPart, /) -> bool:
        return self._accepts


def _matcher(globs: tuple[str, ...]) -> Callable[[str], Any]:
    if not globs or not all(isinstance(glob, str) for glob in globs):
        raise ConfigError(f"filter: {globs!r} names nothing; give at least one name or glob, as strings")
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)).match
