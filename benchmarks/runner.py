"""Runs the processes of the rows, one after the other, and hands on what they say as they say it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO

from benchmarks.cases import ROWS, Row
from benchmarks.measure import Effort
from benchmarks.results import Measured

ROOT = Path(__file__).parent.parent

#: Seconds that all rows take together, start-up of their processes included.
BUDGET = 420.0
#: Of a row's share, what it takes to start Python and import LangGraph.
START_UP = 1.5
#: Minima of samples of a tenth of a second: shorter than most interference, longer than the clock's grain.
#: Rows that take long have three rounds, or twelve if they promise a difference, however long those take.
FULL = Effort(seconds=BUDGET / len(ROWS) - START_UP, rounds=3, sample=0.1)
#: For tests: everything runs, nothing is meant.
QUICK = Effort(seconds=0, rounds=2, sample=0)


def run(
    rows: Sequence[Row], effort: Effort, *, together: bool, tell: Callable[[Measured], None]
) -> list[Measured]:
    """Measure ``rows``; ``tell`` is called whenever more is known about one of them.

    ``together`` saves start-ups: rows that follow each other share a process if they can. A row whose
    process fails has an ``error``; the others are measured all the same.
    """
    measured = {row.name: Measured(row.name) for row in rows}
    for _, group in groupby(rows, lambda row: row.telemetry if together else row.group or row.name):
        _run_process([measured[row.name] for row in group], effort, tell)
    return list(measured.values())


def _run_process(rows: list[Measured], effort: Effort, tell: Callable[[Measured], None]) -> None:
    numbers = (str(effort.seconds), str(effort.rounds), str(effort.sample))
    command = [sys.executable, "-m", "benchmarks.worker", *numbers, *(row.name for row in rows)]
    # Not a pipe: nobody would empty it while the samples are read.
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as worker:
            try:
                assert worker.stdout is not None
                _listen(worker.stdout, {row.name: row for row in rows}, tell)
            except BaseException:
                worker.kill()
                raise
        errors.seek(0)
        reason = (errors.read().strip().splitlines() or [f"its process ended with {worker.returncode}"])[-1]
    for row in rows:
        if not row.done:
            row.error = reason
            tell(row)


def _listen(lines: IO[str], rows: dict[str, Measured], tell: Callable[[Measured], None]) -> None:
    for line in lines:
        said = json.loads(line)
        row = rows[said["row"]]
        if "case" in said:
            row.case = said["case"]
        elif "side" in said:
            row.samples.setdefault(said["side"], []).append(said["value"])
        else:
            row.done = True
        tell(row)
