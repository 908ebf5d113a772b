"""``python -m benchmarks.compare COMMIT``: this tree and that commit by turns, row by row, in CPU time.

Both trees run under this Python, with the same libraries, each row in two processes that take short
samples by turns: whoever else uses the machine disturbs both alike, and the minimum is what the work costs
undisturbed. A row is measured with several pairs of processes, since where a process happens to lie in memory
is worth some percent. What the commit's own benchmarks lack is taken from this tree.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cases import Row
from benchmarks.worker import AMBIENT

ROOT = Path(__file__).parent.parent
#: What of a commit is needed to run it.
PARTS = ("engine", "otel_stream", "benchmarks")
#: What of this tree's benchmarks replaces the commit's.
OURS = ("turns.py", "cases/__init__.py")
#: Seconds of a sample: shorter than a turn that the system gives a process, so that some are undisturbed.
SAMPLE = 0.01


@dataclass
class Compared:
    """One row: samples of both trees, or why there are none."""

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    unit: str = ""
    error: str = ""

    @property
    def ratio(self) -> float:
        """What the row costs now for each microsecond that it cost then."""
        return min(self.after) / (min(self.before) or 1)


class Side:
    """A process that measures one row in one tree."""

    def __init__(self, tree: Path, row: Row, errors: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(AMBIENT)}
        command = [sys.executable, "-m", "benchmarks.turns", row.name, str(SAMPLE)]
        self._errors = errors
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=tree,
                env=env | {"PYTHONHASHSEED": "0"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def read(self) -> str:
        """Return what it says next.

        Raises:
            RuntimeError: it failed.
        """
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        said = self._errors.read_text().strip().splitlines() or ["its process ended"]
        raise RuntimeError(said[-1])

    def sample(self) -> float:
        """Take one sample."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self.read())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """Lay out ``commit`` in a directory of its own, with the benchmarks of this tree that it lacks."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory).resolve()
        packed = subprocess.run(
            ["git", "archive", commit, *PARTS], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=packed, check=True)
        for path in sorted((ROOT / "benchmarks").rglob("*.py")):
            name = path.relative_to(ROOT / "benchmarks")
            there = tree / "benchmarks" / name
            if name.as_posix() in OURS or not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, there)
        yield tree


def compare(row: Row, before: Path, *, pairs: int, seconds: float) -> Compared:
    """Measure one row in both trees."""
    found = Compared()
    try:
        for _ in range(pairs):
            _compare_once(row, before, seconds / pairs, found)
    except RuntimeError as error:
        found.error = str(error)
    return found


def _compare_once(row: Row, before: Path, seconds: float, found: Compared) -> None:
    with ExitStack() as ending, tempfile.TemporaryDirectory() as directory:
        sides = []
        for tree, name in ((before, "before"), (ROOT, "after")):
            side = Side(tree, row, Path(directory) / name)
            ending.callback(side.close)
            sides.append(side)
        for side in sides:
            said = json.loads(side.read())
            found.unit = (
                said["unit"] if said["quantity"] == "CPU µs" else f"{said['quantity']}: {said['unit']}"
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found.before.append(sides[0].sample())
            found.after.append(sides[1].sample())


Commit = Annotated[str, typer.Argument(help="The commit to compare with.")]
Names = Annotated[list[str] | None, typer.Option(help="Measure this row only; may be given more than once.")]
Pairs = Annotated[int, typer.Option(help="How many pairs of processes a row is measured with.", min=1)]
Seconds = Annotated[float, typer.Option(help="How long samples of a row are taken.", min=1)]


def main(commit: Commit, only: Names = None, pairs: Pairs = 2, seconds: Seconds = 8) -> None:
    """Compare this tree with a commit of it by turns, in CPU time."""
    # Late: the names of rows are those of the table.
    from benchmarks.__main__ import chosen

    failed = False
    print(f"{'row':<20}{'before':>10}{'after':>10}{'ratio':>8}  unit (CPU µs unless it says so; minima)")
    with tree_of(commit) as before:
        for row in chosen(only):
            found = compare(row, before, pairs=pairs, seconds=seconds)
            failed = failed or bool(found.error)
            if found.error:
                print(f"{row.name:<20}{found.error}", flush=True)
            else:
                then, now = min(found.before), min(found.after)
                print(f"{row.name:<20}{then:>10.4g}{now:>10.4g}{found.ratio:>8.3f}  {found.unit}", flush=True)
    raise typer.Exit(failed)


if __name__ == "__main__":
    typer.run(main)
