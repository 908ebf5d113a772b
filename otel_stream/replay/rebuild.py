"""Runs from log events: what is there, what is not, and what of it can be trusted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final
from zlib import crc32

import msgspec

from otel_stream import semconv
from otel_stream.encoding import decode
from otel_stream.replay.read import Record, ReplayError, out_of_shape
from otel_stream.replay.states import State, States
from otel_stream.stream.modes import StreamPart


class Hole(msgspec.Struct, frozen=True):
    """Log events that are missing, by their numbers, both included.

    ``after`` and ``before`` are ``seq`` of the nearest parts that are there, as far as there are any.
    """

    first: int
    last: int
    after: int | None
    before: int | None

    def __str__(self) -> str:
        what = (
            f"log event {self.first} is"
            if self.first == self.last
            else f"log events {self.first} to {self.last} are"
        )
        known = [
            f"{word} part {seq}"
            for word, seq in (("after", self.after), ("before", self.before))
            if seq is not None
        ]
        return f"{what} missing{', ' if known else ''}{' and '.join(known)}"


class ReplayedRun(msgspec.Struct, frozen=True):
    """One root run with its subgraphs.

    ``parts``: the stream parts that are known exactly, by ``seq``. ``withheld``: parts whose content
    was not exported, or was cut; their data is what stands in the log event. ``joined``: ``seq`` of
    the parts that stand for the chunks of a message, with ``seq`` of the first chunk and their number.
    ``end``: how the run ended, None if no log event says it.
    """

    id: str
    graph: str
    parts: tuple[StreamPart, ...]
    states: tuple[State, ...]
    withheld: tuple[StreamPart, ...]
    joined: dict[int, tuple[int, int]]
    holes: tuple[Hole, ...]
    end: str | None

    @property
    def complete(self) -> bool:
        """Whether every log event up to the end of the run is there, and every state can be trusted."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Return one sentence for everything that is missing or can't be trusted."""
        said = [str(hole) for hole in self.holes]
        if self.end is None:
            said.append("how the run ended is unknown: it goes on, or its last log events are missing")
        return said + [str(state) for state in self.states if not state.trusted]

    def state_at(self, step: int, ns: tuple[str, ...] = ()) -> State:
        """Return the state after superstep ``step``, or after the nearest one before it.

        Raises:
            ReplayError: none is known from that time.
        """
        known = [state for state in self.states if state.ns == ns and state.step is not None]
        before = [state for state in known if state.step is not None and state.step <= step]
        if not before:
            steps = f"from {known[0].step} to {known[-1].step}" if known else "of no superstep at all"
            raise ReplayError(f"step {step} has no state: there are states {steps}.")
        return before[-1]


class Replay(msgspec.Struct, frozen=True):
    """Everything that was found. ``damaged`` are sentences about what could not be read."""

    runs: tuple[ReplayedRun, ...]
    damaged: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[StreamPart, ...]:
        """The parts of all runs, one run after the other."""
        return tuple(part for run in self.runs for part in run.parts)

    @property
    def states(self) -> tuple[State, ...]:
        """The states of all runs, one run after the other."""
        return tuple(state for run in self.runs for state in run.states)

    def run(self, id: str | None = None) -> ReplayedRun:
        """Return the run whose id is, or begins with, ``id``; without one, the only run there is.

        Raises:
            ReplayError: there is none, or more than one.
        """
        found = [run for run in self.runs if run.id.startswith(id or "")]
        if len(found) == 1:
            return found[0]
        ids = ", ".join(run.id for run in (found or self.runs)[:5])
        if id is None:
            raise ReplayError(f"there are {len(found)} runs: say which one by its id (--run), such as {ids}.")
        raise ReplayError(f"{id!r} is the id of {len(found)} runs: give one of {ids}.")


def rebuild(records: Iterable[Record], damaged: tuple[str, ...] = ()) -> Replay:
    """Tell the runs apart and rebuild each, in the order in which they began."""
    by_run: dict[str, dict[int, Record]] = defaultdict(dict)
    odd = 0
    for record in records:
        rows = _rows(record)
        odd += not rows
        for one in rows:
            # What was delivered twice counts once.
            by_run[one.attributes[semconv.GRAPH_RUN_ID]].setdefault(
                one.attributes[semconv.GRAPH_LOG_SEQ], one
            )
    runs = [(min(record.time for record in found.values()), id, found) for id, found in by_run.items()]
    if odd:
        damaged = (*damaged, f"{out_of_shape(odd)}: its rows are not those that were exported")
    return Replay(tuple(_run(id, found) for _, id, found in sorted(runs, key=lambda run: run[:2])), damaged)


def _rows(record: Record) -> list[Record]:
    """Take apart the deltas that were put together; each row says what differs from the one before.

    If it is damaged its numbers are not to be known: it is a hole.
    """
    if semconv.GRAPH_VALUES_ROWS not in record.attributes:
        return [record]
    found = f"{crc32(record.body.encode()):08x}"
    if found != record.attributes[semconv.GRAPH_VALUES_ROWS_DIGEST]:
        return []
    try:
        return _taken_apart(record)
    except (TypeError, ValueError):
        return []


def _taken_apart(record: Record) -> list[Record]:
    attributes = {name: value for name, value in record.attributes.items() if name not in _OF_ALL_ROWS}
    found: list[Record] = []
    number = seq = time = step = 0
    base = record.attributes.get(semconv.GRAPH_VALUES_BASE_SEQ)
    rows = decode(record.body)
    for index, (numbers, seqs, nanos, steps, delta) in enumerate(rows, 1):
        if not all(type(one) is int for one in (numbers, seqs, nanos, steps)):
            raise TypeError("what a row counts is no whole number")
        number, seq, time, step = number + numbers, seq + seqs, time + nanos, step + steps
        own = {
            **attributes,
            semconv.GRAPH_VALUES_ENCODING: "delta",
            semconv.GRAPH_LOG_SEQ: number,
            semconv.GRAPH_STREAM_SEQ: seq,
            semconv.GRAPH_SUPERSTEP: step,
            semconv.GRAPH_VALUES_BASE_SEQ: base,
        }
        if index == len(rows):
            own[semconv.GRAPH_VALUES_DIGEST] = record.attributes[semconv.GRAPH_VALUES_DIGEST]
        base = seq
        found.append(record._replace(attributes=own, body=delta, time=time))
    return found


_OF_ALL_ROWS: Final = frozenset(
    {semconv.GRAPH_VALUES_ROWS, semconv.GRAPH_VALUES_ROWS_DIGEST, semconv.GRAPH_VALUES_DIGEST}
)


def _run(id: str, found: dict[int, Record]) -> ReplayedRun:
    records = [found[number] for number in sorted(found)]
    parts: list[StreamPart] = []
    withheld: list[StreamPart] = []
    joined: dict[int, tuple[int, int]] = {}
    states = States()
    end: str | None = None
    for record in _whole(records):
        attributes = record.attributes
        if semconv.GRAPH_STREAM_SEQ not in attributes:
            end = attributes.get(semconv.GRAPH_RUN_END, end)
            continue
        part = _part(id, record)
        form = attributes.get(semconv.GRAPH_STREAM_BODY_FORM)
        if form is not None:
            states.lost(part, f"its content was {'cut' if form == 'cut' else 'not exported'}")
            withheld.append(
                msgspec.structs.replace(part, data=record.body if form == "cut" else _shown(record.body))
            )
        elif part.type == "values":
            state = states.next(part, record)
            parts.append(msgspec.structs.replace(part, data=state.values))
        else:
            parts.append(msgspec.structs.replace(part, data=_shown(record.body)))
        if semconv.GRAPH_STREAM_AGGREGATE_PARTS in attributes and part.seq is not None:
            joined[part.seq] = (
                attributes[semconv.GRAPH_STREAM_AGGREGATE_FIRST_SEQ],
                attributes[semconv.GRAPH_STREAM_AGGREGATE_PARTS],
            )
    known = states.settled()
    doubtful = {state.seq for state in known if not state.trusted}
    graph = next(
        (
            record.attributes[semconv.GRAPH_NAME]
            for record in records
            if semconv.GRAPH_NS not in record.attributes
        ),
        "?",
    )
    return ReplayedRun(
        id,
        graph,
        _by_seq([part for part in parts if part.seq not in doubtful]),
        known,
        _by_seq(withheld),
        joined,
        tuple(_holes(records)),
        end,
    )


def _by_seq(parts: list[StreamPart]) -> tuple[StreamPart, ...]:
    return tuple(sorted(parts, key=lambda part: part.seq or 0))


def _shown(body: str) -> Any:
    try:
        return decode(body)
    except ValueError:
        return body


def _whole(records: list[Record]) -> Iterator[Record]:
    """Put the pieces of long bodies together; a body with a piece missing counts as cut."""
    pieces: list[Record] = []
    for record in records:
        total = record.attributes.get(semconv.GRAPH_STREAM_BODY_CHUNKS)
        if pieces and (
            total is None
            or record.attributes[semconv.GRAPH_STREAM_SEQ] != pieces[0].attributes[semconv.GRAPH_STREAM_SEQ]
        ):
            yield _joined(pieces)
            pieces = []
        if total is None:
            yield record
        else:
            pieces.append(record)
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[Record]) -> Record:
    first = pieces[0]
    attributes = dict(first.attributes)
    if len(pieces) < attributes[semconv.GRAPH_STREAM_BODY_CHUNKS]:
        attributes[semconv.GRAPH_STREAM_BODY_FORM] = "cut"
    return first._replace(attributes=attributes, body="".join(piece.body for piece in pieces))


def _part(id: str, record: Record) -> StreamPart:
    """Return the part without its data."""
    about = record.attributes
    node = about.get(semconv.GEN_AI_NODE_NAME)
    mode = about[semconv.GRAPH_STREAM_MODE]
    interrupts = about.get(semconv.GRAPH_VALUES_INTERRUPTS)
    return StreamPart(
        mode,
        tuple(about[semconv.GRAPH_NS].split("|")) if semconv.GRAPH_NS in about else (),
        None,
        about[semconv.GRAPH_STREAM_SEQ],
        record.time,
        id,
        about.get(semconv.GRAPH_NAME),
        about.get(semconv.GRAPH_SUPERSTEP),
        node,
        about.get(semconv.GRAPH_TASK_ID),
        None if node is None else about.get(semconv.GRAPH_TASK_ATTEMPT, 1),
        record.trace_id,
        record.span_id,
        tuple(about.get(semconv.GRAPH_RUN_TAGS, ())),
        _interrupts(interrupts) if mode == "values" else None,
    )


def _interrupts(text: str | None) -> tuple[Any, ...]:
    shown = () if text is None else _shown(text)
    return tuple(shown) if isinstance(shown, list) else (shown,) if shown else ()


def _holes(records: list[Record]) -> Iterator[Hole]:
    """Yield what is missing between the log events that are there, and before the first."""
    expected, after = 0, None
    for record in records:
        number, seq = (
            record.attributes[semconv.GRAPH_LOG_SEQ],
            record.attributes.get(semconv.GRAPH_STREAM_SEQ),
        )
        if number > expected:
            yield Hole(expected, number - 1, after, seq)
        expected, after = number + 1, seq
