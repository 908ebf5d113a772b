"""Writes the figures of ``results.json`` into the tables of ``docs/performance.md``.

A comment ``<!-- rows: a b c* -->`` stands before each table there, which is of those rows; ``*`` stands for
any ending. ``<!-- means -->`` stands before the means. Everything else is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from benchmarks.table import fraction, micros

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parent / "docs" / "performance.md"
RESULTS: Final = HERE / "results.json"

_TABLE: Final = re.compile(r"(<!-- (rows: [^>]+|means) -->\n)\n?(?:\|.*\n)*\n?")
#: What is left out where all rows of a table have none.
_HEAD: Final = ("row", "", "per", "ours", "theirs", "ratio", "promised", "goal")


def written(page: str, results: Mapping[str, Any]) -> str:
    """Return ``page`` with the tables that ``results`` make."""

    def table(found: re.Match[str]) -> str:
        lines = _means(results) if found[2] == "means" else _rows(found[2].split()[1:], results["rows"])
        return f"{found[1]}\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + "\n"

    return _TABLE.sub(table, page).rstrip("\n") + "\n"


def _rows(patterns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    cells = [_cells(row) for pattern in patterns for row in rows if fnmatchcase(row["name"], pattern)]
    shown = [place for place in range(len(_HEAD)) if any(row[place] for row in cells)]
    yield [_HEAD[place] for place in shown]
    yield ["---"] * len(shown)
    for row in cells:
        yield [row[place] for place in shown]


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    goal = row["goal"] or {}
    quantity = row["quantity"].partition(",")[0]
    return (
        f"`{row['name']}`",
        row["title"],
        row["unit"] if quantity == "CPU µs" else f"{row['unit']}, {quantity}",
        _side(row["ours"]),
        _side(row["theirs"]),
        fraction(row["ratio"]),
        _limit(goal, "must"),
        _limit(goal, "aim"),
    )


def _side(side: Mapping[str, Any] | None) -> str:
    return "" if side is None else f"{micros(side['min'])} ({micros(side['median'])})"


def _limit(goal: Mapping[str, Any], which: str) -> str:
    limit = goal.get(which)
    if not limit:
        return ""
    number, met = limit["limit"], "" if limit["met"] else " **missed**"
    match goal["kind"]:
        case "ratio":
            return f"{fraction(number)}{met}"
        case "added":
            return f"+ {number:g} over {goal['over']}: + {micros(goal['value'])}{met}"
        case "times":
            return f"{number:g} times {goal['over']}: {goal['value']:.2f}{met}"
        case _:
            return f"{number:g}{met}"


def _means(results: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    yield "rows", "geometric mean", "without what nodes do", "the worst"
    yield "---", "---", "---", "---"
    for mean in results["means"]:
        yield f"`{mean['name']}`", fraction(mean["ratio"]), fraction(mean["engine"]), fraction(mean["worst"])


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(written(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
