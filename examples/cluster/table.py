"""What a person sees of it while it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from examples.cluster.demo import WORKERS, Demo


def lag(demo: Demo) -> int:
    """Return how many parts brokers have acknowledged that the watcher has not seen yet."""
    delivered = sum(child.account["delivered"] for child in demo.children.values())
    return max(0, delivered - sum(run.seen for run in demo.runs.values()))


def table(demo: Demo) -> RenderableType:
    """Return workers, what they have, and how far the watcher is behind."""
    workers = Table(box=None, pad_edge=False, header_style="dim")
    workers.add_column("worker", min_width=10)
    for name in ("pid", "state", "runs", "ended", "resumed", "offered", "delivered", "held"):
        workers.add_column(name, justify="right")
    for name in WORKERS:
        child = demo.children.get(name)
        if child is None:
            continue
        own = [run for run in demo.runs.values() if run.worker == name]
        numbers = [
            sum(not run.over for run in own),
            sum(bool(run.ended) for run in own),
            sum(run.resumes is not None for run in own),
            *(child.account[one] for one in ("offered", "delivered", "held")),
        ]
        style = {"runs": "green", "killed": "bold red"}.get(child.state, "dim")
        shown = [str(child.process.pid), Text(child.state, style), *(f"{number:,}" for number in numbers)]
        workers.add_row(name, *shown)
    return Group(workers, Text(), Text(line(demo)))


def line(demo: Demo) -> str:
    """Return how far all of it is, in a line."""
    runs = demo.runs.values()
    seen = [run.seen for run in runs if run.seen]
    return (
        f"runs {sum(run.over for run in runs)} of {len(runs)} over, {demo.left} to be given; "
        f"the watcher has seen {sum(seen):,} parts of {len(seen)} runs, lag {lag(demo):,}"
    )


def summary(console: Console, checks: Sequence[tuple[bool | None, str]]) -> None:
    """Print what was checked."""
    marks = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("left out", "yellow")}
    for held, what in checks:
        word, style = marks[held]
        console.print(Text(f"{word:<8}", style), Text(what), soft_wrap=True)
