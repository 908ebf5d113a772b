"""What a person sees of a run while it goes on.

In a terminal: a panel that stays at the bottom while the report scrolls by above it, line by line as
it is written. Elsewhere: a few lines of progress, then the report.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from otel_stream.cli.tally import Account, Tally
from otel_stream.cli.terminal import line as one_line
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.statistics import ModeStatistics

#: Seconds between two frames.
FRAME = 0.1
#: How many lines of progress are printed where there is no terminal, for files.
LINES = 4
#: Columns between two tables.
_GUTTER = 4


class View(Protocol):
    """Shows parts; is left as a context manager however the run ends."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, part: StreamPart) -> None:
        """Take note of a part of the display's own receiver."""


class ReportLines:
    """Turns the tokens of messages mode into whole lines, and prints them as they are complete."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.line = ""
        self.begun = False

    def add(self, text: str) -> None:
        """Take one more token."""
        if not self.begun:
            self.begun = True
            self._console.print()
        *whole, self.line = (self.line + text).split("\n")
        for line in whole:
            self._console.print(styled(line), soft_wrap=True)

    def close(self) -> None:
        """Print what is left, if the report was cut short."""
        if self.line:
            self._console.print(styled(self.line), soft_wrap=True)
            self.line = ""


def styled(line: str) -> Text:
    """Return a line of the report with its title or severity in colour."""
    text = one_line(line)
    text.highlight_regex(r"^\s*high\b", "bold red")
    text.highlight_regex(r"^\s*medium\b", "yellow")
    text.highlight_regex(r"^\s*low\b", "cyan")
    text.highlight_regex(r"\S+\.py:\d+", "green")
    text.highlight_regex(r"^(Audit of .*|The most serious|By rule|Hardest to change)$", "bold")
    return text


class TerminalView:
    """A live panel. ``account`` is asked for that of the user's receiver at every frame."""

    def __init__(self, console: Console, tally: Tally, account: Callable[[], Account]) -> None:
        self._tally = tally
        self._account = account
        self._report = ReportLines(console)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._frame = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        self._report.close()

    def show(self, part: StreamPart) -> None:
        """Update the panel; at most ten times a second, but at once for a line of the report."""
        if part.type == "messages":
            self._report.add(_words(part))
        now = monotonic()
        if now - self._frame >= FRAME:
            self._frame = now
            self._live.update(panel(self._tally, self._account(), self._report.line), refresh=True)


class PlainView:
    """A few lines, for a file or a pipe."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._console = console
        self._tally = tally
        self._report = ReportLines(console)
        self._next = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._report.close()

    def show(self, part: StreamPart) -> None:
        """Print what has got on."""
        if part.type == "messages":
            self._report.add(_words(part))
        elif part.type == "custom":
            tally = self._tally
            match part.data:
                case {"stage": "discover"}:
                    self._console.print(f"files found: {tally.files:,}")
                case {"stage": "audit"} if tally.audited * LINES >= self._next * tally.files:
                    self._next = tally.audited * LINES // tally.files + 1
                    self._console.print(
                        f"{tally.audited:,} of {tally.files:,} files audited, findings: {tally.findings:,}"
                    )
                case {"stage": "rank"}:
                    self._console.print(f"functions queued for a closer look: {tally.queued}")
                case _:
                    pass


def _words(part: StreamPart) -> str:
    """Return what a chunk of a message says, as far as that is text."""
    content = getattr(part.data[0], "content", "")
    if isinstance(content, list):
        content = "".join(str(one.get("text", "")) for one in content if isinstance(one, dict))
    return content if isinstance(content, str) else ""


def panel(tally: Tally, account: Account, writing: str = "") -> RenderableType:
    """Return the live panel: progress, nodes beside modes, and the line that is being written."""
    tables = Tables(nodes_table(tally, live=True), parts_table(account, live=True))
    lines: list[RenderableType] = [Text(), *_bars(tally), Text(), tables]
    now = writing or tally.place
    return Group(*lines, _placed(now))


def _placed(place: str) -> Text:
    text = one_line((place, "dim"))
    text.overflow, text.no_wrap = "ellipsis", True
    return text


def _bars(tally: Tally) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2))
    for what, done, of in tally.progress() if tally.files else ():  # the demo's alone
        grid.add_row(what, ProgressBar(total=max(of, 1), completed=done, width=30), f"{done:,} of {of:,}")
    return [grid]


class Tables:
    """Two tables side by side where there is room for both, else one above the other."""

    def __init__(self, left: Table, right: Table) -> None:
        self._tables = (left, right)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [
            Measurement.get(console, options.update(width=1000), table).maximum for table in self._tables
        ]
        if sum(widths) + _GUTTER <= options.max_width:
            beside = Table.grid(padding=(0, _GUTTER))
            beside.add_row(*self._tables)
            yield beside
        else:
            left, right = self._tables
            yield Group(left, Text(), right)


def nodes_table(tally: Tally, *, live: bool) -> Table:
    """Return nodes in the order they were first seen; what runs now only while it does."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("node", min_width=10)
    if live:
        table.add_column("in flight", justify="right")
    for name in ("done", "failed", "retries"):
        table.add_column(name, justify="right")
    for name, node in tally.nodes.items():
        numbers = [node.running] if live else []
        style = "bold" if live and node.running else ""
        table.add_row(
            one_line(name),
            *(_number(n) for n in [*numbers, node.done, node.failed, node.retries]),
            style=style,
        )
    return table


def parts_table(account: Account, *, live: bool) -> Table:
    """Return the account of every mode; what is rare has a column only if there is any."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("mode", min_width=11)
    columns = ["offered", "delivered", "dropped"]
    columns += ["sampled_out"] if account.statistics.sampled_out else []
    columns += ["held"] if live or account.statistics.held else []
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for mode in account.modes:
        numbers = account.statistics.by_mode.get(mode, ModeStatistics())
        dropped = "red" if numbers.dropped else ""
        table.add_row(one_line(mode), *(_number(getattr(numbers, name)) for name in columns), style=dropped)
    return table


def _number(value: int) -> Text:
    return Text(f"{value:,}") if value else Text("0", "dim")
