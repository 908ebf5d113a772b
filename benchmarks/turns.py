"""One side of one row, in a process of its own, which makes a sample whenever it reads a line.

``python -m benchmarks.turns ROW SECONDS``, in the tree that is to be measured: ``benchmarks.compare`` starts
two of them, in two trees, and asks them by turns.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine
from benchmarks import providers
from benchmarks.cases import ROWS


def samples(case: Any, seconds: float) -> Callable[[], float]:
    """Return what measures ``case`` once, for about ``seconds``: CPU µs a unit, or its own quantity."""
    if case.quantity != "CPU µs":
        return lambda: float(case.ours() or 0)

    def sample(repeats: int) -> float:
        gc.collect()
        start = time.process_time()
        for _ in range(repeats):
            case.ours()
        return (time.process_time() - start) / (repeats * case.count) * 1e6

    once = (sample(1), sample(1))[1] * case.count / 1e6
    gc.freeze()  # what is there now is not looked through before every sample
    repeats = max(1, round(seconds / max(once, 1e-6)))
    return lambda: sample(repeats)


def main() -> None:
    """Say what the row counts, then answer each line with a sample."""
    tree = Path(engine.__file__).parent.parent
    if tree != Path.cwd():
        sys.exit(f"engine was imported from {tree} instead of this tree, {Path.cwd()}")
    row = next((row for row in ROWS if row.name == sys.argv[1]), None)
    if row is None:
        sys.exit(f"{sys.argv[1]}: no row is called so; see benchmarks/cases/__init__.py")
    providers.install(row.telemetry)
    case = row.make()
    sample = samples(case, float(sys.argv[2]))
    print(json.dumps({"unit": case.unit, "quantity": case.quantity}), flush=True)
    for _ in sys.stdin:
        print(sample(), flush=True)


if __name__ == "__main__":
    main()
