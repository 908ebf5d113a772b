"""``python -m benchmarks``: our engine and LangGraph by turns, in CPU time.

Every row has a process of its own, in which both sides run by turns, round after round; the minimum of
a side is what its work costs when nobody disturbs it, the median says how much somebody did.
"""

from __future__ import annotations

import difflib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.cases import ROWS, Row
from benchmarks.results import missed, report
from benchmarks.runner import FULL, QUICK, run
from benchmarks.table import Display, print_table

RESULTS = Path(__file__).parent / "results.json"

Names = Annotated[list[str] | None, typer.Option(help="Measure this row only; may be given more than once.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Two rounds of one call each: a smoke test, no numbers.")
]
Output = Annotated[
    Path | None,
    typer.Option(help="Where to write the JSON; otherwise only a whole run without failures is written."),
]


def chosen(only: list[str] | None) -> list[Row]:
    """Return the rows named, in the table's order; all of them if none is.

    Raises:
        typer.BadParameter: a name that no row has.
    """
    names = [row.name for row in ROWS]
    for name in only or ():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            near = f"; did you mean {close[0]!r}?" if close else "."
            raise typer.BadParameter(f"--only: no row is called {name!r}{near} Rows: {', '.join(names)}")
    return [row for row in ROWS if not only or row.name in only]


def main(only: Names = None, quick: Quick = False, output: Output = None) -> None:
    """Compare our engine with LangGraph by turns, in CPU time; takes about ten minutes."""
    rows = [row for row in chosen(only) if only or not quick or not row.is_long]
    console = Console()
    if not console.is_terminal:
        console.width = 120
    if find_spec("langgraph") is None:
        console.print(
            "langgraph is not installed: run `make bench`, which installs it, or install langgraph==1.2.22"
        )
        raise typer.Exit(2)
    with Display(console, len(rows)) as display:
        measured = run(rows, QUICK if quick else FULL, together=quick, tell=display.tell)
    results = report(measured, quick=quick)
    print_table(console, results)
    failed = any(row.error for row in measured)
    if output is None and not (quick or only or failed):
        output = RESULTS
    if output is not None:
        output.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        console.print(f"Written to {output}", highlight=False, markup=False, soft_wrap=True)
    below = [] if quick else missed(results)
    if below:
        console.print(f"Not what is promised: {', '.join(below)}", highlight=False, markup=False)
    if failed or below:
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        typer.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
