"""Aggregation: many parts become one.

StreamConfig(modes=("messages", "values"), aggregate={"messages": Aggregate(0.1), "values": Aggregate(10)})

An aggregate part has the shape of its mode, and its ``aggregate`` says what it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from otel_stream.config import ConfigError, refuse_unusable
from otel_stream.parts import StreamPart

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
            if not isinstance(by, Iterable):
                raise ConfigError(f"Aggregate.by: {by!r} is no key; give a function of a part, or its fields")
            for name in (by,) if isinstance(by, str) else tuple(by):
                if name not in (*_FIELDS, "message_id"):
                    raise ConfigError(
                        f"Aggregate.by: {name!r} is no field of a part; "
                        f"choose from: {', '.join((*_FIELDS, 'message_id'))}"
                    )
        reduce: Any = self.reduce
        if reduce is not None and not callable(reduce):
            raise ConfigError(f"Aggregate.reduce: {reduce!r} is not callable; give a function of a list")
        if callable(by):
            refuse_unusable("Aggregate.by", by, "a part")
        if reduce is not None:
            refuse_unusable("Aggregate.reduce", reduce, "a list")

    @property
    def nanoseconds(self) -> int | None:
        """How long a window stays open, None if no clock decides."""
        every = self.every
        if isinstance(every, timedelta):
            return int(every.total_seconds() * 1e9)
        return int(every * 1e9) if isinstance(every, float) else None


def _is_span(every: Any) -> bool:
    if isinstance(every, bool):
        return False
    if isinstance(every, int):
        return every >= 1
    if isinstance(every, timedelta):
        return every > timedelta(0)
    return isinstance(every, float) and 0 < every < math.inf
