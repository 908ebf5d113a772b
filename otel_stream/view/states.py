"""The state of a run through time: its outline, what changed, and as much of it as is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Final, TypeAlias

from otel_stream.encoding import encode
from otel_stream.replay.read import Record, record_of
from otel_stream.replay.rebuild import ReplayedRun, rebuild
from otel_stream.replay.states import State
from otel_stream.view.reading import NotThere, Reader
from otel_stream.view.shapes import Row

#: Runs whose states are kept; and bytes of JSON that a value may have to be told without being asked for.
_KEPT: Final = 4
_INLINE: Final = 2_000
#: Items of a list or mapping that are told at once.
_ITEMS: Final = 100

Path: TypeAlias = "Sequence[str | int]"


class States:
    """Rebuilds runs from their log events, and keeps the last few of them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: OrderedDict[str, tuple[int, ReplayedRun | None]] = OrderedDict()
        self._lock = Lock()

    def run(self, key: str) -> ReplayedRun | None:
        """Return the run with its parts and states, None if it has no stream parts.

        Raises:
            NotThere: there is no such run.
        """
        with self._lock:  # for each to wait is better than for each to rebuild the same
            version, rows = self._reader.records(key)
            kept = self._kept.get(key)
            if kept is not None and kept[0] == version:
                return kept[1]
            records = [found for row in rows if (found := _record(*row)) is not None]
            runs = rebuild(records).runs if records else ()
            run = next((one for one in runs if one.id == key), None)
            self._kept[key] = (version, run)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return run

    def index(self, key: str) -> Row:
        """Return which states there are, with those keys of each that changed, and what is missing."""
        run = self.run(key)
        if run is None:
            return {"states": [], "holes": [], "withheld": 0}
        known: dict[tuple[str, ...], Any] = {}
        states: list[Row] = []
        for state in run.states:
            before = known.get(state.ns)
            known[state.ns] = state.values
            states.append(
                {
                    "seq": state.seq,
                    "step": state.step,
                    "ns": list(state.ns),
                    "time": state.time_unix_nano / 1e6,
                    "trusted": state.trusted,
                    "why": state.why,
                    "changed": [key for key, how in _changes(before, state.values) if how != "="][:20],
                }
            )
        return {
            "states": states,
            "holes": [str(hole) for hole in run.holes],
            "withheld": len(run.withheld),
            "end": run.end,
        }

    def outline(self, key: str, seq: int) -> Row:
        """Return the outline of a state, compared with the one before it.

        Raises:
            NotThere: there is no such state.
        """
        state, before = self._state(key, seq)
        old = before.values if before is not None else None
        rows = [
            {"key": name, "how": how, **_told(_at(old if how == "-" else state.values, name))}
            | _grown(old, state.values, name, how)
            for name, how in _changes(old, state.values)
        ]
        return {
            "seq": state.seq,
            "step": state.step,
            "trusted": state.trusted,
            "why": state.why,
            "whole": None if isinstance(state.values, dict) else _told(state.values),
            "keys": rows,
        }

    def value(self, key: str, seq: int, path: Path, start: int = 0) -> Row:
        """Return what is at ``path`` in a state: itself if it is short, otherwise its items from ``start``.

        Raises:
            NotThere: there is no such state, or nothing there.
        """
        value = self._state(key, seq)[0].values
        for step in path:
            value = _at(value, step)
        told = _told(value)
        if "json" in told or not isinstance(value, list | dict | str):
            return told
        if isinstance(value, str):
            return {**told, "text": value[start : start + 100_000]}
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        told["items"] = [{"key": one, **_told(value[one])} for one in keys[start : start + _ITEMS]]
        told["more"] = max(0, len(keys) - start - _ITEMS)
        return told

    def whole(self, key: str, seq: int) -> bytes:
        """Return a state as JSON, to be downloaded.

        Raises:
            NotThere: there is no such state.
        """
        return encode(self._state(key, seq)[0].values)

    def _state(self, key: str, seq: int) -> tuple[State, State | None]:
        run = self.run(key)
        before: dict[tuple[str, ...], State] = {}
        for state in run.states if run is not None else ():
            if state.seq == seq:
                return state, before.get(state.ns)
            before[state.ns] = state
        raise NotThere(f"state {seq} is not there (yet)")


def _record(attributes: dict[str, Any], body: str, time: int, trace: str, span: str) -> Record | None:
    try:
        return record_of(attributes, body, time, trace, span)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None  # out of shape, and so a hole


def _at(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        raise NotThere(f"the state has no {str(key)[:80]!r} there") from None


def _changes(old: Any, new: Any) -> list[tuple[str, str]]:
    """Return the keys of two states, each with ``+``, ``-``, ``~`` or ``=``; what changed comes first."""
    before = old if isinstance(old, dict) else {}
    after = new if isinstance(new, dict) else {}
    found = [(key, "+" if key not in before else "=" if before[key] == after[key] else "~") for key in after]
    found += [(key, "-") for key in before if key not in after]
    return sorted(found, key=lambda one: one[1] == "=")


def _told(value: Any) -> Row:
    """Return what kind a value is and how large; and itself, as JSON, if it is short."""
    text = encode(value)
    told: Row = {"kind": _kind(value), "bytes": len(text)}
    if isinstance(value, list | dict | str):
        told["size"] = len(value)
    if len(text) <= _INLINE:
        told["json"] = text.decode()
    else:
        told["preview"] = text[:200].decode(errors="ignore")
    return told


def _kind(value: Any) -> str:
    kinds: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (lambda one: one is None, "null"),
        (lambda one: isinstance(one, bool), "boolean"),
        (lambda one: isinstance(one, int | float), "number"),
        (lambda one: isinstance(one, str), "text"),
        (lambda one: isinstance(one, list), "list"),
    )
    return next((name for fits, name in kinds if fits(value)), "mapping")


def _grown(old: Any, new: Any, key: str, how: str) -> Row:
    """Return, of a list or text that goes on where it ended, what was added; otherwise what was before."""
    if how != "~":
        return {}
    before, after = old[key], new[key]
    same_kind = type(before) is type(after) and isinstance(after, list | str)
    if same_kind and before and len(after) > len(before) and after[: len(before)] == before:
        added = after[len(before) :]
        told: Row = {"from": len(before)}
        if isinstance(added, str):
            told["added"] = [_told(added)]
        else:
            told["added"] = [{"key": len(before) + n, **_told(one)} for n, one in enumerate(added[:_ITEMS])]
        return told
    return {"before": _told(before)}
