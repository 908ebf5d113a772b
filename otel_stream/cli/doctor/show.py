"""The report on a terminal: a line for each check, and below it what it means and what to change."""

from __future__ import annotations

import textwrap
from itertools import zip_longest

from rich.console import Console

from otel_stream.cli.doctor.findings import Finding, Report, State
from otel_stream.cli.doctor.sending import WORDS
from otel_stream.cli.terminal import line

_MARKS: dict[State, tuple[str, str]] = {
    "ok": ("ok  ", "green"),
    "stop": ("STOP", "bold red"),
    "note": ("note", "yellow"),
    "skipped": ("-   ", "dim"),
}


def show(report: Report, console: Console) -> None:
    """Print the findings, and for each signal whether it arrived."""
    for finding, following in zip_longest(report.findings, report.findings[1:]):
        again = following is not None and following.verdict.message == finding.verdict.message
        _show(finding, len(report.signals), console, silent=again)
    console.print()
    for name, signal in report.signals.items():
        if signal.arrived:
            found = f", found in {' and '.join(signal.found_in)}" if signal.found_in else ""
            fate = (f"arrived: {signal.exported} {WORDS[name][1]}{found}", "green")
        else:
            fate = (f"stopped at: {signal.stopped_at or 'run'}", "bold red")
        console.print(line(f"{name:<9}", fate), soft_wrap=True)
    if report.trace_id:
        console.print(line(f"{'trace':<9}{report.trace_id}"), soft_wrap=True)


def _show(finding: Finding, all_signals: int, console: Console, *, silent: bool) -> None:
    """Print a finding; without its message if that is ``silent``, for the next one has the same."""
    verdict = finding.verdict
    mark, style = _MARKS[verdict.state]
    about = "" if len(finding.signals) == all_signals else f" [{', '.join(finding.signals)}]"
    found = line((mark, style), f"  {verdict.tried}", (about, "dim"), (f": {verdict.seen}", "dim"))
    console.print(found, soft_wrap=True)
    if verdict.message and not silent:
        indent = " " * 6
        width = max(console.width, 40)
        for text in textwrap.wrap(
            verdict.message, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False
        ):
            console.print(line(text), soft_wrap=True)
