"""What a consumer gets: ``StreamPart``, what can be read off one, and how LangGraph would yield it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from otel_stream.encoding import encode

INTERRUPT: Final = "__interrupt__"
#: What a mode returns for an event that it makes no part of.
SKIP: Final[Any] = type("Skip", (), {"__repr__": lambda _: "SKIP"})()


class AggregateOf(msgspec.Struct, frozen=True):
    """What one aggregate part stands for: ``count`` parts, from ``first_seq`` to ``last_seq``.

    Parts of other windows may lie between the two. Times are in nanoseconds since the Unix epoch.

    ``first_time_unix_nano`` and ``last_time_unix_nano`` are theirs.
    """

    count: int
    first_seq: int | None
    last_seq: int | None
    first_time_unix_nano: int | None
    last_time_unix_nano: int | None


class StreamPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item of a stream. Everything from ``seq`` to ``tags`` is metadata, absent on request.

    ``seq`` counts the parts of one root run from 0, in the order they came into being; a receiver
    sees an ascending subset of it. ``run_id`` is the root run's, ``graph`` the name of the graph
    that the part is from, and ``trace_id`` and ``span_id`` are those of its span, if it is traced.

    ``type``, ``ns`` and ``data`` are always there. ``time_unix_nano`` is when it came into being; ``step``,
    ``node``, ``task_id`` and ``attempt`` say where, of parts of tasks.
    """

    #: The mode; or ``"gap"`` where parts were lost, or ``"end"`` of a run.
    type: str
    #: Path to the subgraph, one ``"<node>:<task id>"`` per level; ``()`` at the root.
    ns: tuple[str, ...]
    data: Any
    seq: int | None = None
    time_unix_nano: int | None = None
    run_id: str | None = None
    graph: str | None = None
    step: int | None = None
    node: str | None = None
    task_id: str | None = None
    attempt: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    tags: tuple[str, ...] = ()
    #: Of *values* parts only: what the run waits for, usually nothing.
    interrupts: tuple[Any, ...] | None = None
    #: Of aggregate parts only, whose other metadata is that of the last part in them.
    aggregate: AggregateOf | None = None

    @property
    def weight(self) -> int:
        """The number of parts that this one stands for."""
        return 1 if self.aggregate is None else self.aggregate.count

    def bare(self) -> StreamPart:
        """Return the part without its metadata."""
        return StreamPart(self.type, self.ns, self.data, interrupts=self.interrupts)

    def to_dict(self, metadata: bool = True) -> dict[str, Any]:
        """Return ``type``, ``ns``, ``data``, for values ``interrupts``, and the metadata that is known."""
        data: dict[str, Any] = {"type": self.type, "ns": self.ns, "data": self.data}
        if self.interrupts is not None:
            data["interrupts"] = self.interrupts
        if metadata:
            data.update(
                (name, value) for name in _METADATA if (value := getattr(self, name)) not in (None, ())
            )
        return data

    def to_json(self, metadata: bool = True) -> bytes:
        """Return ``to_dict(metadata)`` as JSON in UTF-8; whatever the data is, this never fails."""
        return encode(self if metadata else self.bare())


_METADATA = tuple(name for name in StreamPart.__struct_fields__[3:] if name != "interrupts")


def message_id(part: StreamPart) -> str | None:
    """Return the id of the message that a *messages* part is a piece of; None of any other part."""
    data = part.data
    if part.type != "messages" or not isinstance(data, tuple) or not data:
        return None
    chunk = data[0]
    # What is no mapping is asked first, as to find out what is one takes a microsecond.
    message = None if type(chunk) is dict else getattr(chunk, "id", None)
    if not isinstance(message, str) and isinstance(chunk, Mapping):
        message = chunk.get("id")
    return message if isinstance(message, str) else None  # else it may be anything, and no key


def v1_payload(part: StreamPart) -> Any:
    """Return what LangGraph's ``stream(version="v1")`` yields for ``part``: its bare data."""
    if not part.interrupts:
        return part.data
    if isinstance(part.data, dict):
        return {**part.data, INTERRUPT: part.interrupts}
    return {INTERRUPT: part.interrupts}


def v2_payload(part: StreamPart) -> dict[str, Any]:
    """Return what ``version="v2"`` yields: ``type``, ``ns``, ``data``, and for values ``interrupts``."""
    return part.to_dict(metadata=False)
