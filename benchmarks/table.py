"""What is shown in the terminal: progress while it runs, the table at the end."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from benchmarks.results import Measured


def fraction(ratio: float | None) -> str:
    """Write a ratio the way goals are written: 1/25, or 1.3 if we are the dearer side."""
    if ratio is None:
        return ""
    if ratio > 0.9:
        return f"{ratio:.2f}"
    times = 1 / ratio
    return f"1/{times:.3g}"


def micros(value: float | None) -> str:
    """Write microseconds, or whatever it is, with as many digits as mean something."""
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


class Display:
    """Progress of the whole, and a line for each row that is done; used as a context manager."""

    def __init__(self, console: Console, rows: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} rows"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=console,
        )
        self._task = self._progress.add_task("starting", total=rows, now="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, row: Measured) -> None:
        """Show where a row is."""
        now = self._now(row)
        if row.done or row.error:
            self._progress.console.print(f"{row.name:<18} {now}", highlight=False, markup=False)
            self._progress.update(self._task, advance=1, now="")
        else:
            self._progress.update(self._task, description=row.name, now=now)

    @staticmethod
    def _now(row: Measured) -> str:
        if row.error:
            return f"failed: {row.error}"
        rounds = len(row.samples.get("ours", ()))
        ours, theirs = micros(row.least("ours")), micros(row.least("theirs"))
        quantity = row.case["quantity"] if row.case else ""
        beside = f", theirs {theirs} {quantity}: {fraction(row.ratio)}" if theirs else ""
        return f"{rounds} rounds, ours {ours} {quantity}{beside}" if rounds else "warming up"


def print_table(console: Console, report: dict[str, Any]) -> None:
    """Print the rows of a report with their goals, then what the rows are and where they were measured."""
    table = Table(
        title="CPU µs per unit, or what the unit says: minimum (median)",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("row", "unit"):
        table.add_column(name)
    for name in ("ours", "theirs", "ratio", "must", "goal"):
        table.add_column(name, justify="right")
    for row in report["rows"]:
        table.add_row(*_cells(row))
    console.print(table)
    for mean in report["means"]:
        engine = f"; without what nodes do {fraction(mean['engine'])}" if mean["engine"] else ""
        _say(
            console,
            f"{mean['name']:<18} geometric mean of {mean['rows']}: {fraction(mean['ratio'])}{engine}; "
            f"the worst {fraction(mean['worst'])}",
        )
    for row in report["rows"]:
        beside = f"; theirs: {row['against']}" if row["against"] else ""
        _say(
            console,
            f"{row['name']:<18} "
            + (f"failed: {row['error']}" if row["error"] else f"{row['title']}{beside}"),
        )
    console.print()
    machine, versions = report["machine"], report["versions"]
    _say(
        console,
        f"LangGraph {versions['langgraph']}, OpenTelemetry SDK {versions['opentelemetry-sdk']}, "
        f"{machine['python']} on {machine['processor']}, {machine['cores']} cores, "
        f"load {machine['load_average']}. {report['clock']}.",
    )


def _cells(row: dict[str, Any]) -> list[str | Text]:
    if row["error"]:
        return [row["name"], row["unit"] or "", Text("failed", "red")]
    goal = row["goal"]
    return [
        row["name"],
        row["unit"] if row["quantity"] == "CPU µs" else f"{row['quantity']}: {row['unit']}",
        _side(row["ours"]),
        _side(row["theirs"]),
        fraction(row["ratio"]),
        _met(goal, "must", row["quantity"]),
        _met(goal, "aim", row["quantity"]),
    ]


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _side(side: dict[str, Any] | None) -> str:
    return "" if side is None else f"{micros(side['min'])} ({micros(side['median'])})"


def _met(goal: dict[str, Any] | None, which: str, quantity: str) -> Text:
    limit = goal and goal[which]
    if not goal or not limit:
        return Text("")
    kind, bound = goal["kind"], limit["limit"]
    of = quantity if kind == "amount" else "µs"
    wanted = f"≤ {fraction(bound)}" if kind == "ratio" else f"≤ {micros(bound)} {of}"
    if kind == "added":
        wanted = f"+ {micros(bound)} µs over {goal['over']}"
    if kind == "times":
        wanted = f"≤ {bound} times {goal['over']}"
    if limit["met"] is None:
        return Text(f"{wanted} not judged", "dim")
    found = (
        f" ({'+ ' if kind == 'added' else ''}{micros(goal['value'])})" if kind in ("added", "times") else ""
    )
    return Text(f"{wanted}{found} met", "green") if limit["met"] else Text(f"{wanted}{found} not met", "red")
