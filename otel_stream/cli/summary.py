"""What is printed when a run is over, however it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from otel_stream.cli.display import Tables, nodes_table, parts_table
from otel_stream.cli.tally import Account, Tally
from otel_stream.cli.terminal import line
from otel_stream.encoding import encode


@dataclass(slots=True)
class Outcome:
    """How a run ended. ``seconds`` is its duration; ``error`` what it raised."""

    tally: Tally = field(default_factory=Tally)
    account: Account | None = None
    #: What broke the user's receiver while the run went on.
    receiver_failed: BaseException | None = None
    error: BaseException | None = None
    result: Any = None
    interrupted: bool = False
    #: Nobody reads the output any more.
    unread: bool = False
    seconds: float = 0.0

    @property
    def code(self) -> int:
        """Return the exit code of the program."""
        if self.interrupted:
            return 130
        if self.unread:
            return 141
        if self.error or self.receiver_failed:
            return 1
        return 3 if self.tally.interrupts else 0

    def verdict(self) -> str:
        """Return one sentence about an end that is no success, else ""."""
        if self.interrupted:
            return "interrupted: the run was cancelled, and what it had done so far is shown"
        if self.error is not None:
            return f"the run failed: {str(self.error) or type(self.error).__name__}"
        if self.receiver_failed is not None:
            return f"the run went on without its consumer: {self.receiver_failed}"
        if self.tally.interrupts:
            return (
                "the run waits for an answer: give --answer JSON for each question, or type it at a terminal"
            )
        return ""


def print_summary(
    console: Console, outcome: Outcome, exported: Sequence[str], notices: Sequence[str]
) -> None:
    """Print tables of nodes and parts, and lines about the trace and the telemetry."""
    tally, account = outcome.tally, outcome.account
    console.print()
    if account is not None:
        console.print(Tables(nodes_table(tally, live=False), parts_table(account, live=False)))
        console.print()
    for name, text in _facts(outcome, exported):
        console.print(line((f"{name:<11}", "dim"), text), soft_wrap=True)
    for notice in notices:
        console.print(line(("note       ", "yellow"), notice), soft_wrap=True)


def _facts(outcome: Outcome, exported: Sequence[str]) -> list[tuple[str, str]]:
    tally = outcome.tally
    nested = f", {tally.nested_supersteps:,} in subgraphs" if tally.nested_supersteps else ""
    facts = [("supersteps", f"{tally.supersteps:,}{nested}, in {outcome.seconds:.1f} s")]
    if tally.author:
        facts.append(("author", tally.author))
    facts += [("waits for", encode(question).decode()) for question in tally.questions]
    if tally.trace_id:
        facts.append(("trace", tally.trace_id))
    facts += [("telemetry" if number == 0 else "", line) for number, line in enumerate(exported)]
    return facts


def one_line(outcome: Outcome, exported: Sequence[str]) -> str:
    """Return the summary for where only parts may be printed."""
    account = outcome.account
    counts = account.statistics.by_mode if account else {}
    # The end that closes a stream is none of its parts.
    delivered = sum(
        of_mode.delivered for mode, of_mode in counts.items() if account and mode in account.modes
    )
    dropped = account.statistics.dropped if account else 0
    trace = f" Trace {outcome.tally.trace_id}." if outcome.tally.trace_id else ""
    parts = "part" if delivered == 1 else "parts"
    return f"{delivered:,} {parts}, {dropped:,} dropped.{trace} {'. '.join([*exported, ''])}".rstrip()
