"""States from keyframes and deltas. A digest says whether a state is the one that was exported."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from otel_stream import semconv
from otel_stream.encoding import decode
from otel_stream.replay.read import Record
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry.logs.deltas import applied, digest


class State(msgspec.Struct, frozen=True):
    """The state of a run, or of a subgraph, after a superstep; as well as it is known.

    ``trusted``: it is the state that was exported. If it is not, ``why`` says what is missing, and
    ``values`` is the best that could be made of the rest, None if that is nothing.
    """

    seq: int
    step: int | None
    ns: tuple[str, ...]
    time_unix_nano: int
    values: Any
    trusted: bool = True
    why: str = ""

    def __str__(self) -> str:
        where = "".join(f"{level.rpartition(':')[0] or level}/" for level in self.ns)
        doubt = "" if self.trusted else f" can't be trusted: {self.why}"
        return f"the state {where}at step {self.step} (part {self.seq}){doubt}"


class _Known:
    """The last state of one run."""

    def __init__(self) -> None:
        self.values: Any = None
        self.seq: int | None = None
        #: Whether it is what was exported, as far as digests tell.
        self.sound = False


def _digest(values: Any) -> str | None:
    with suppress(RecursionError, TypeError, ValueError):
        return f"{digest(values):08x}"
    return None  # nested more deeply than anything of ours


class States:
    """The states of a root run and its subgraphs, in the order of their log events."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], _Known] = {}
        self._states: list[State] = []
        #: Places in ``_states`` of the ones that wait for a digest, by run.
        self._open: dict[tuple[str, ...], list[int]] = {}
        #: Places of the ones since the last keyframe, by run.
        self._since: dict[tuple[str, ...], list[int]] = {}

    def lost(self, part: StreamPart, why: str) -> None:
        """Take note of a values part whose state is not there."""
        if part.type == "values":
            known = self._known.setdefault(part.ns, _Known())
            known.sound = False
            self._add(part, None, why)

    def next(self, part: StreamPart, record: Record) -> State:
        """Take the next values part; ``record`` is its log event."""
        known = self._known.setdefault(part.ns, _Known())
        attributes = record.attributes
        if attributes.get(semconv.GRAPH_VALUES_ENCODING) == "delta":
            why = self._apply(known, record)
        else:
            why = self._restart(known, record, part.ns)
        expected = attributes.get(semconv.GRAPH_VALUES_DIGEST)
        if known.values is None:
            known.sound = False
        elif expected is not None:
            # A state may be right again though something before it is missing: it was set anew.
            known.sound = _digest(known.values) == expected
            self._settle(part.ns, known.sound)
            why = why or "its digest is another one"
        elif not known.sound:
            why = why or "it builds on a state that is not known"
        known.seq = part.seq
        state = self._add(part, known.values, "" if known.sound else why)
        if expected is None:
            self._open.setdefault(part.ns, []).append(len(self._states) - 1)
        self._since.setdefault(part.ns, []).append(len(self._states) - 1)
        return state

    def settled(self) -> tuple[State, ...]:
        """Return all states, with what later ones told about earlier ones."""
        return tuple(self._states)

    def _apply(self, known: _Known, record: Record) -> str:
        base = record.attributes.get(semconv.GRAPH_VALUES_BASE_SEQ)
        why = "" if base == known.seq else f"part {base}, which it builds on, is missing"
        if why:
            known.sound = False
        if known.values is None:
            return why or "no keyframe before it is there"
        try:
            delta = record.body if isinstance(record.body, dict) else decode(record.body)
            known.values = applied(known.values, delta)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            known.values, known.sound = None, False
            return why or "its delta does not fit the state before it"
        return why

    def _restart(self, known: _Known, record: Record, ns: tuple[str, ...]) -> str:
        drift = record.attributes.get(semconv.GRAPH_VALUES_DRIFT)
        if drift:
            names = ", ".join(map(repr, drift))
            self._doubt(self._since.get(ns, ()), f"{names} was changed in place between two keyframes")
        self._since[ns] = []
        self._open[ns] = []
        try:
            known.values, known.sound = decode(record.body), True
        except ValueError:
            known.values, known.sound = None, False
            return "its keyframe is no JSON any more"
        return ""

    def _settle(self, ns: tuple[str, ...], sound: bool) -> None:
        waiting = self._open.pop(ns, ())
        if not sound:
            self._doubt(waiting, "the next digest is another one")

    def _doubt(self, places: Any, why: str) -> None:
        for place in places:
            if self._states[place].trusted:
                self._states[place] = msgspec.structs.replace(self._states[place], trusted=False, why=why)

    def _add(self, part: StreamPart, values: Any, why: str) -> State:
        state = State(part.seq or 0, part.step, part.ns, part.time_unix_nano or 0, values, not why, why)
        self._states.append(state)
        return state
