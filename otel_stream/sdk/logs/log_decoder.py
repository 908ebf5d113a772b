"""Stream parts from the log events of runs, as they come; ``otel_stream.replay`` does it afterwards."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import Any, Final

from opentelemetry._logs import LogRecord

from otel_stream import semconv
from otel_stream.encoding import decode
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry.logs.deltas import applied

#: The mode that an event's name stands for.
MODES: Final = {
    **{event: mode for mode, event in semconv.EVENT_BY_MODE.items()},
    semconv.EVENT_RUN_END: "end",
}
#: States, and bodies in pieces, that are remembered: one per run and subgraph, the youngest ones.
MAX_STATES: Final = 128
#: No state is known; None would be one.
_UNKNOWN: Final[Any] = object()


def mode_of(record: LogRecord) -> str | None:
    """Return the type of the part that ``record`` was made of, None if it is no event of a graph."""
    if record.event_name == semconv.EVENT_CUSTOM_MODE:
        mode = (record.attributes or {}).get(semconv.GRAPH_STREAM_MODE)
        return mode if isinstance(mode, str) else None
    return None if record.event_name is None else MODES.get(record.event_name)


def part_of(record: LogRecord, mode: str, data: Any) -> StreamPart:
    """Return a part with ``data`` and all the metadata that ``record`` tells."""
    known: Any = record.attributes or {}
    ns = known.get(semconv.GRAPH_NS)
    task_id = known.get(semconv.GRAPH_TASK_ID)
    return StreamPart(
        mode,
        tuple(ns.split("|")) if ns else (),
        data,
        seq=known.get(semconv.GRAPH_STREAM_SEQ),
        time_unix_nano=record.timestamp or record.observed_timestamp,
        run_id=known.get(semconv.GRAPH_RUN_ID),
        graph=known.get(semconv.GRAPH_NAME),
        step=known.get(semconv.GRAPH_SUPERSTEP),
        node=known.get(semconv.GEN_AI_NODE_NAME),
        task_id=task_id,
        attempt=None if task_id is None else known.get(semconv.GRAPH_TASK_ATTEMPT, 1),
        trace_id=f"{record.trace_id:032x}" if record.trace_id else None,
        span_id=f"{record.span_id:016x}" if record.span_id else None,
        tags=tuple(known.get(semconv.GRAPH_RUN_TAGS) or ()),
        interrupts=_interrupts(known) if mode == "values" else None,
    )


def _interrupts(known: Any) -> tuple[Any, ...]:
    text = known.get(semconv.GRAPH_VALUES_INTERRUPTS)
    return () if text is None else tuple(decode(text))


class PartDecoder:
    """Reads log events of graphs, in the order in which every run emitted them.

    States that come as what changed are put together again; a body that is spread over several records
    makes a part when its last piece is there.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; in a forked child also who holds the lock."""
        self._lock = RLock()
        #: (run id, namespace) -> the last state, and its ``seq``.
        self._states: OrderedDict[tuple[Any, Any], tuple[Any, Any]] = OrderedDict()
        #: The same -> pieces of a body so far.
        self._pieces: OrderedDict[tuple[Any, Any], list[str]] = OrderedDict()
        #: Changes of a state that was not known.
        self.skipped = 0

    def part(self, record: LogRecord, mode: str) -> StreamPart | None:
        """Return the part; None if it is not whole yet, or is what changed in a state that is not known.

        Raises:
            Exception: the record contradicts itself.
        """
        known: Any = record.attributes or {}
        if mode == "end":
            data = {"end": known.get(semconv.GRAPH_RUN_END), "error": None, "interrupts": ()}
            self._forget(known.get(semconv.GRAPH_RUN_ID))
            return part_of(record, mode, data)
        place = known.get(semconv.GRAPH_RUN_ID), known.get(semconv.GRAPH_NS)
        with self._lock:
            body = self._whole(record.body, known, place)
            if body is None and record.body is not None:
                return None
            data = _read(body)
            if mode == "values" and known.get(semconv.GRAPH_VALUES_ENCODING) is not None:
                data = self._state(data, known, place)
            if data is _UNKNOWN:
                self.skipped += 1
                return None
        return part_of(record, mode, data)

    def _forget(self, run_id: Any) -> None:
        with self._lock:
            for place in [place for place in self._states if place[0] == run_id]:
                del self._states[place]

    def _whole(self, body: Any, known: Any, place: tuple[Any, Any]) -> Any:
        """Return the body, put together if it is in pieces; None as long as one is missing."""
        total = known.get(semconv.GRAPH_STREAM_BODY_CHUNKS)
        if total is None:
            return body
        number = known[semconv.GRAPH_STREAM_BODY_CHUNK]
        pieces = self._pieces.setdefault(place, [])
        if len(self._pieces) > MAX_STATES:
            self._pieces.popitem(last=False)
        if number != len(pieces):
            del pieces[:]  # the rest of a body whose beginning was not received
            if number:
                return None
        pieces.append(body)
        if len(pieces) < total:
            return None
        return "".join(self._pieces.pop(place))

    def _state(self, data: Any, known: Any, place: tuple[Any, Any]) -> Any:
        """Return the state that ``data`` is, or that it makes of the one before."""
        before, seq = self._states.pop(place, (_UNKNOWN, None))
        if known[semconv.GRAPH_VALUES_ENCODING] == "delta":
            if before is _UNKNOWN or seq != known.get(semconv.GRAPH_VALUES_BASE_SEQ):
                return _UNKNOWN  # until the next keyframe
            data = applied(before, data)
        if known.get(semconv.GRAPH_STREAM_BODY_FORM) is None:
            self._states[place] = data, known.get(semconv.GRAPH_STREAM_SEQ)
            if len(self._states) > MAX_STATES:
                self._states.popitem(last=False)
        return data


def _read(body: Any) -> Any:
    try:
        return decode(body) if isinstance(body, str) else body
    except ValueError:
        return body  # it was cut
