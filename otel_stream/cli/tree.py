"""A run's spans as lines of a tree: what happened once is one line, and so is a fan-out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

Span: TypeAlias = "dict[str, Any]"

#: How a run, superstep, node or attempt may end -> its sign and colour.
SIGNS: Final = {
    "ok": ("✔", "green"),
    "running": ("●", "blue"),
    "interrupted": ("◐", "yellow"),
    "error": ("✖", "red"),
    "timeout": ("✖", "red"),
    "recursion_limit": ("✖", "red"),
}
OTHER: Final = ("■", "dim")
_FAILED: Final = frozenset(end for end, (sign, _) in SIGNS.items() if sign == "✖")
_STATUS_ERROR: Final = 2
#: Levels that are indented; what is deeper stays there.
_DEEPEST: Final = 24


class Line(NamedTuple):
    """One line: ``start`` and ``end`` in milliseconds since the epoch, ``end`` None while it runs.

    ``failed`` is the span whose error is worth telling, as nothing below it failed.
    """

    branch: str
    look: str
    label: str
    note: str
    start: float
    end: float | None
    failed: str | None = None


class Tree:
    """The spans of a run.

    Args:
        spans: of its trace, in any order, as the store's reader has them.
        root: id of the span to begin with; all that have no parent here, if it is not there.
        running: whether the run goes on, so that a span without end is one that runs.
        unfolded: whether each of a fan-out has a line of its own.
    """

    def __init__(self, spans: list[Span], root: str, *, running: bool, unfolded: bool = False) -> None:
        self._spans = {span["id"]: span for span in spans}
        self._open = "running" if running else "stopped"
        self._unfolded = unfolded
        self._below: dict[str, list[Span]] = {}
        for span in sorted(self._spans.values(), key=lambda one: (one["start"], one["id"])):
            self._below.setdefault(span["parent"], []).append(span)
        found = self._spans.get(root)
        self._roots = (
            [found]
            if found is not None
            else [span for span in self._spans.values() if span["parent"] not in self._spans]
        )

    def lines(self) -> Iterator[Line]:
        """Yield them from top to bottom. Parents that are their own children end nothing."""
        seen: set[str] = set()
        waiting = [(group, "", "") for group in reversed(self._groups(self._roots))]
        while waiting:
            group, before, corner = waiting.pop()
            group = [span for span in group if span["id"] not in seen]
            if not group:
                continue
            if len(group) == 1:
                seen.add(group[0]["id"])
            below = self._below_of(group)
            yield self._line(group, before + corner, alone=not below)
            if len(before) < _DEEPEST * 3:
                before += {"": "", "├─ ": "│  ", "└─ ": "   "}[corner]
            last = len(below) - 1
            waiting += [
                (one, before, "└─ " if n == last else "├─ ") for n, one in reversed([*enumerate(below)])
            ]

    def _below_of(self, group: list[Span]) -> list[list[Span]]:
        """Return what is below one span; of a fan-out those that failed, as they are looked for."""
        if len(group) > 1:
            return [[span] for span in group if self._look(span) in _FAILED]
        below = self._below.get(group[0]["id"], [])
        only = below[0] if len(below) == 1 else {}
        if "attempt" in only and self._look(only) == "ok":
            below = self._below.get(only["id"], [])  # an attempt that was the first and the last says nothing
        return self._groups(below)

    def _groups(self, spans: list[Span]) -> list[list[Span]]:
        if self._unfolded:
            return [[span] for span in spans]
        groups: dict[str, list[Span]] = {}
        for span in spans:
            groups.setdefault(label(span), []).append(span)
        return list(groups.values())

    def _line(self, group: list[Span], branch: str, *, alone: bool) -> Line:
        looks = [self._look(span) for span in group]
        failed = [look for look in looks if look in _FAILED]
        worst = next(
            look for look in (*failed, "running", "stopped", "interrupted", looks[0]) if look in looks
        )
        retries = sum(span.get("attempts", 1) - 1 for span in group)
        notes = [f"⟲{retries}"] if retries else []
        if len(group) > 1 and failed:
            notes.append(f"✖{len(failed)}")
        if error := (group[0].get("error") if len(group) == 1 else None):
            notes.append(str(error))
        ends = [span["end_time"] for span in group]
        times = f" \N{MULTIPLICATION SIGN}{len(group)}" if len(group) > 1 else ""
        return Line(
            branch, worst, label(group[0]) + times, " ".join(notes),
            min(span["start"] for span in group),
            None if None in ends else max(ends),
            group[0]["id"] if alone and failed else None,
        )  # fmt: skip

    def _look(self, span: Span) -> str:
        if span["end_time"] is None:
            return self._open
        end = str(span.get("end", "ok"))
        return "error" if span["status"] == _STATUS_ERROR and end not in _FAILED else end


def label(span: Span) -> str:
    """Return what a span is called: superstep and attempt by their numbers, a node by its name."""
    name = str(span["name"])
    if name == "superstep" and "step" in span:
        return f"superstep {span['step']}"
    if name == "attempt" and "attempt" in span:
        return f"attempt {span['attempt']}"
    for operation in ("invoke_workflow ", "invoke_node "):
        if name.startswith(operation) and ("run" in span or "node" in span):
            return name.removeprefix(operation)
    return name


def duration(ms: float) -> str:
    """Say a duration as people do."""
    if ms < 10:
        return f"{ms:.2f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes} m {seconds} s"
    return f"{minutes // 60} h {minutes % 60} m"
