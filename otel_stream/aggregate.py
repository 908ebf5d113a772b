"""Aggregation: many parts become one.

StreamConfig(modes=("messages", "values"), aggregate={"messages": Aggregate(0.1), "values": Aggregate(10)})

An aggregate part has the shape of its mode, and its ``aggregate`` says what it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from otel_stream.config import ConfigError
from otel_stream.stream.coalescing import joined
from otel_stream.stream.copying import snapshot
from otel_stream.stream.modes import StreamPart, message_id

#: Returns what parts have in common that may become one; None: the part stays alone.
Key: TypeAlias = Callable[[StreamPart], Hashable | None]

_FIELDS = tuple(
    name for name in StreamPart.__struct_fields__ if name not in ("data", "interrupts", "aggregate")
)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A window over the parts of a mode: how long it stays open, over which parts, and what becomes of them.

    ``every``: a whole number is a count of parts; a float or a ``timedelta`` is seconds, by the times of the
    parts, or sooner by the clock if the consumer waits; ``"superstep"`` ends with it.
    ``by``: parts with the same key share a window; a function of a part (None: it stays alone), or the names
    of part fields or ``"message_id"``. By default message id for *messages*, namespace and node for
    *updates*, namespace for all others. Runs and modes never share one.
    ``reduce``: from the list of the parts' data to the data of the aggregate. By default the chunks of
    *messages* are joined, *updates* merged with the graph's own reducers, *values* give the last, and others
    the list itself.

    Errors, interrupts and ends are not aggregated: they close the windows of their run and follow them.
    The end of a run closes them, too. All open windows of a receiver together hold at most ``buffer_size``
    parts; then the oldest closes early. A reducer or key that raises cuts its receiver off, nothing else.

    Raises:
        ConfigError: a value that can't be used.
    """

    every: int | float | timedelta | Literal["superstep"]
    by: Key | str | Sequence[str] | None = None
    reduce: Callable[[list[Any]], Any] | None = None

    def __post_init__(self) -> None:
        every: Any = self.every
        if every != "superstep" and not _is_span(every):
            raise ConfigError(
                f"Aggregate.every: {every!r} is no window; give a count of parts (1 or more), "
                "seconds as a float or a timedelta, or 'superstep'"
            )
        by: Any = self.by
        if not (by is None or callable(by)):
            for name in (by,) if isinstance(by, str) else tuple(by):
                if name not in (*_FIELDS, "message_id"):
                    raise ConfigError(
                        f"Aggregate.by: {name!r} is no field of a part; "
                        f"choose from: {', '.join((*_FIELDS, 'message_id'))}"
                    )
        reduce: Any = self.reduce
        if reduce is not None and not callable(reduce):
            raise ConfigError(f"Aggregate.reduce: {reduce!r} is not callable; give a function of a list")

    @property
    def nanoseconds(self) -> int | None:
        """How long a window stays open, None if no clock decides."""
        every = self.every
        if isinstance(every, timedelta):
            return int(every.total_seconds() * 1e9)
        return int(every * 1e9) if isinstance(every, float) else None

    def key(self, mode: str) -> Key:
        """Return what tells the windows of ``mode`` apart."""
        by = self.by
        if callable(by):
            return by
        if by is None:
            by = _BY.get(mode, ("ns",))
        names = (by,) if isinstance(by, str) else tuple(by)
        if "message_id" in names:
            return lambda part: _message_key(part, names)
        return attrgetter(*names) if names else lambda _: ()

    def fold(self, mode: str) -> Fold:
        """Return how the data of ``mode`` becomes one."""
        if self.reduce is not None:
            return Fold(_listed, _appended, self.reduce)
        return _FOLDS.get(mode, _LIST)


def _is_span(every: Any) -> bool:
    if isinstance(every, bool):
        return False
    if isinstance(every, int):
        return every >= 1
    if isinstance(every, timedelta):
        return every > timedelta(0)
    return isinstance(every, float) and 0 < every < math.inf


_BY: Mapping[str, tuple[str, ...]] = {"messages": ("ns", "message_id"), "updates": ("ns", "node")}


def _message_key(part: StreamPart, names: tuple[str, ...]) -> Hashable | None:
    message = message_id(part)
    if message is None:
        # Chunks without an id may belong to different messages: joining them would invent text.
        return None
    return tuple(message if name == "message_id" else getattr(part, name) for name in names)


# --- How data becomes one: part by part, so that a window holds no more than it must -----------------------


class Fold(NamedTuple):
    """``end(add(add(start(first), second, run), third, run))``; ``run`` is None where it is not known."""

    start: Callable[[Any], Any]
    add: Callable[[Any, Any, object], Any]
    end: Callable[[Any], Any]


def _same(data: Any) -> Any:
    return data


def _listed(data: Any) -> list[Any]:
    return [data]


def _appended(before: list[Any], data: Any, _: object) -> list[Any]:
    before.append(data)
    return before


def _merged(before: dict[str, Any], data: dict[str, Any], run: object) -> dict[str, Any]:
    """Return one *updates* mapping for two; what a node is under is merged, all else is the newer's."""
    merged = {**before, **data}
    for node in before.keys() & data.keys():
        if not node.startswith("__"):
            merged[node] = _update(before[node], data[node], run)
    return merged


def _update(before: Any, update: Any, run: object) -> Any:
    """Return what a node would have returned, had it written both updates at once."""
    merged = None
    for one in (*_writes(before), *_writes(update)):
        if not isinstance(one, Mapping):
            return update
        merged = one if merged is None else _with(merged, one, run)
    return merged


def _writes(update: Any) -> Sequence[Any]:
    # A list of mappings: the node wrote one key more than once.
    if update is None:
        return ()
    return update if isinstance(update, list) else (update,)


def _with(before: Mapping[str, Any], update: Mapping[str, Any], run: object) -> dict[str, Any]:
    merged = {**before, **update}
    if isinstance(run, Merging):
        for key in before.keys() & update.keys():
            merged[key] = run.merge(key, before[key], update[key])
    return merged


@runtime_checkable
class Merging(Protocol):
    """A ``Run`` that knows the rules by which its state takes writes."""

    def merge(self, key: str, old: Any, new: Any, /) -> Any:
        """Return what would have been written to ``key``, had both been written at once."""


_LIST = Fold(_listed, _appended, _same)
_FOLDS: Mapping[str, Fold] = {
    "messages": Fold(_same, lambda before, data, _: joined(before, data), _same),
    # A copy: a reducer may change its first argument, and other receivers have the same part.
    "updates": Fold(snapshot, _merged, _same),
    "values": Fold(_same, lambda _before, data, _run: data, _same),
}
