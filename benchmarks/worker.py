"""The process of one row (with ``--quick``: of all rows with the same telemetry); writes JSON lines.

A process of its own because OpenTelemetry's global providers can be set only once, and so that no row
finds the garbage, the caches and the threads of another. Both sides of a row share it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from benchmarks import providers
from benchmarks.case import QUICK
from benchmarks.cases import ROWS, Row
from benchmarks.measure import Effort, measure

#: Variables by which a shell would change what is measured.
AMBIENT = ("OTEL_", "LANGCHAIN_", "LANGSMITH_", "LANGGRAPH_")


def say(**line: Any) -> None:
    """Write one line to the parent."""
    print(json.dumps(line), flush=True)


def work(row: Row, effort: Effort) -> None:
    """Measure one row, each sample a line."""
    case = row.make()
    goal = case.goal
    say(
        row=row.name,
        case={
            "title": case.title,
            "quantity": case.quantity,
            "unit": case.unit,
            "count": case.count,
            "against": None if case.theirs is None else case.against,
            "goal": goal and {"kind": goal.kind, "over": goal.over, "must": goal.must, "aim": goal.aim},
        },
    )
    for side, value in measure(case, effort):
        say(row=row.name, side=side, value=value)
    say(row=row.name, done=True)


def main() -> None:
    """Measure the rows named in the arguments: SECONDS ROUNDS SAMPLE NAME..."""
    for variable in [name for name in os.environ if name.startswith(AMBIENT)]:
        del os.environ[variable]
    effort = Effort(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    if not effort.sample:
        os.environ[QUICK] = "1"
    names = sys.argv[4:]
    rows = [row for row in ROWS if row.name in names]
    if len({row.telemetry for row in rows}) != 1 or len(rows) != len(names):
        sys.exit(f"{', '.join(names)}: not rows that can share a process; see benchmarks/cases/__init__.py")
    providers.install(rows[0].telemetry)
    try:
        for row in rows:
            work(row, effort)
    finally:
        providers.close()
        # Late: importing LangGraph is the rows' own business.
        from benchmarks.libraries import close_loop

        close_loop()


if __name__ == "__main__":
    main()
