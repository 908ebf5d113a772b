"""``python -m benchmarks.peers``: measures, writes ``results.json``, and the tables of ``docs/peers.md``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.peers import environments
from benchmarks.peers.contenders import CONTENDERS, MISSING, Contender
from benchmarks.peers.document import cost, filled, size, told
from benchmarks.peers.graphs import STEPS
from benchmarks.peers.run import Found, everything, state_and_changes
from benchmarks.results import machine

RESULTS = Path(__file__).parent / "results.json"
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "peers.md"

Names = Annotated[list[str] | None, typer.Option(help="Measure this one only; may be given more than once.")]
Rounds = Annotated[int, typer.Option(min=1, help="Samples of the cost of each.")]
Lock = Annotated[bool, typer.Option("--lock", help="Measure nothing: resolve the environments again.")]
Fill = Annotated[bool, typer.Option("--fill", help="Measure nothing: only fill the tables again.")]


def chosen(only: list[str] | None) -> list[Contender]:
    """Return the contenders named, in the table's order; all of them if none is.

    Raises:
        typer.BadParameter: a name that nobody has.
    """
    names = [one.name for one in CONTENDERS]
    unknown = [name for name in only or () if name not in names]
    if unknown:
        raise typer.BadParameter(f"--only: nobody is called {unknown[0]!r}. Names: {', '.join(names)}")
    return [one for one in CONTENDERS if not only or one.name in only]


def installed(contenders: list[Contender], console: Console) -> list[Found]:
    """Build the environments that are not there yet; return whose could not be, and why."""
    failed = []
    for one in contenders:
        if environments.is_built(one.environment):
            continue
        with console.status(f"Installing {one.title} (once; it goes on where it stopped)"):
            reason = environments.build(one.environment)
        console.print(f"{one.title}: {reason or 'installed'}", highlight=False, markup=False)
        if reason:
            failed.append(Found(one, error=f"can't be installed here: {reason}"))
    return failed


def resolved(contenders: list[Contender], console: Console) -> None:
    """Write the lock files again, with the newest versions that go together."""
    for one in contenders:
        if one.environment == environments.OWN:
            continue
        with console.status(f"Resolving {one.title}"):
            reason = environments.resolve(one.environment, one.requires)
        console.print(f"{one.title}: {reason or 'resolved'}", highlight=False, markup=False)


def report(found: list[Found], rounds: int) -> dict[str, Any]:
    """Return what is written to ``results.json``."""
    steps = sorted({int(steps) for one in found for steps in one.bytes})
    return {
        "format": 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "clock": "time.process_time: CPU time of the contender's whole process, all threads, user and system",
        "unit": "microseconds of CPU time per superstep; bytes of uncompressed OTLP requests",
        "rounds": rounds,
        "steps": STEPS,
        "state_and_changes": {str(number): state_and_changes(number) for number in steps},
        "machine": machine(),
        "contenders": [
            {
                "name": one.contender.name,
                "title": one.contender.title,
                "package": one.contender.package,
                "version": one.version,
                "error": one.error,
                "cost": one.cost,
                "bytes": one.bytes,
                "told": one.told,
            }
            for one in found
        ],
        "missing": [dict(one) for one in MISSING],
    }


def main(only: Names = None, rounds: Rounds = 25, fill: Fill = False, lock: Lock = False) -> None:
    """Compare the telemetry of LangGraph under its peers with ours; takes up to ten minutes."""
    if fill:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), json.loads(RESULTS.read_text())))
        return
    console = Console()
    contenders = chosen(only)
    if lock:
        resolved(contenders, console)
        return
    failed = installed(contenders, console)
    absent = [one.contender for one in failed]
    with console.status("") as status:

        def tell(doing: str) -> None:
            # Without a terminal there is no status line to change: a line for each start is enough.
            if console.is_terminal:
                status.update(doing)
            elif "round" not in doing or doing.split("round ")[1].startswith("1 "):
                console.print(doing, highlight=False, markup=False)

        found = everything([one for one in contenders if one not in absent], rounds, tell)
    found = sorted([*found, *failed], key=lambda one: CONTENDERS.index(one.contender))
    results = report(found, rounds)
    for table in (cost, size, told):
        console.print(table(results), highlight=False, markup=False, soft_wrap=True)
        console.print()
    for one in found:
        if one.error:
            console.print(
                f"{one.contender.title}: {one.error}", highlight=False, markup=False, soft_wrap=True
            )
    broken = any(one.error for one in found if one not in failed)
    if not (only or broken):
        RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), results))
        console.print("Written to benchmarks/peers/results.json and docs/peers.md", highlight=False)
    if broken:
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        typer.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
