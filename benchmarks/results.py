"""From samples to results: minima, medians, ratios, goals; and the facts of the machine beside them."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from benchmarks.case import Goal
from benchmarks.cases import ASYNC, NAMES, SYNC, TRACED
from otel_stream import __version__

FORMAT = 1
PACKAGES = (
    "langgraph",
    "langgraph-checkpoint",
    "langchain-core",
    "opentelemetry-sdk",
    "msgspec",
    "anyio",
)
CLOCK = "time.process_time: CPU time of the row's whole process, all threads, user and system"


#: What geometric means are taken over, and what they may be: the beginning of rows' names → promise and goal.
MEANS = {
    ASYNC: Goal(must=2 / 3, aim=1 / 6),
    SYNC: Goal(must=1 / 2, aim=1 / 6),
    TRACED: Goal(aim=1 / 2),
}


@dataclass(slots=True)
class Measured:
    """What is known of one row so far; samples are CPU microseconds a unit, or its case's quantity."""

    name: str
    #: title, quantity, unit, count, against, goal; None until its process has said.
    case: dict[str, Any] | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)
    done: bool = False
    #: One line about why there is no result.
    error: str | None = None

    def least(self, side: str) -> float | None:
        """Return the minimum of one side, None without samples."""
        return min(self.samples.get(side, ()), default=None)

    @property
    def ratio(self) -> float | None:
        """Our minimum divided by theirs."""
        ours, theirs = self.least("ours"), self.least("theirs")
        return ours / theirs if ours is not None and theirs else None

    @property
    def beyond_nodes(self) -> float | None:
        """The same, of what each costs beyond what the nodes themselves take; None if that is not known."""
        ours, theirs, nodes = self.least("ours"), self.least("theirs"), self.least("nodes")
        if ours is None or theirs is None or nodes is None or min(ours, theirs) <= nodes:
            return None
        return (ours - nodes) / (theirs - nodes)


def report(rows: Iterable[Measured], *, quick: bool) -> dict[str, Any]:
    """Return what is written to ``results.json``."""
    measured = {row.name: row for row in rows}
    return {
        "format": FORMAT,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "clock": CLOCK,
        "unit": "microseconds of CPU time per unit of the row, unless its quantity is another",
        "machine": machine(),
        "versions": versions(),
        "rows": [_row(row, measured) for row in measured.values()],
        "means": list(_means(list(measured.values()))),
    }


def _means(rows: list[Measured]) -> Iterator[dict[str, Any]]:
    """Yield the geometric mean of each group of which every row was measured.

    ``ratio`` is what runs cost, beside LangGraph's; ``engine`` what they cost beyond what their nodes do.
    """
    for beginning, goal in MEANS.items():
        group = [row for row in rows if row.name in {beginning + name for name in NAMES}]
        ratios = [row.ratio for row in group if row.ratio is not None]
        if len(ratios) != len(NAMES):
            continue
        beyond = [row.beyond_nodes for row in group if row.beyond_nodes is not None]
        mean = geometric_mean(ratios)
        yield {
            "name": f"{beginning}*",
            "rows": len(ratios),
            "ratio": _rounded(mean),
            "engine": _rounded(geometric_mean(beyond)) if len(beyond) == len(ratios) else None,
            "worst": _rounded(max(ratios)),
            "goal": {"must": _limit(goal.must, mean), "aim": _limit(goal.aim, mean)},
        }


def missed(report: Mapping[str, Any]) -> list[str]:
    """Name the rows and means of a report that are not what is promised."""
    return [
        row["name"]
        for row in (*report["rows"], *report["means"])
        if row["goal"] and row["goal"]["must"] and row["goal"]["must"]["met"] is False
    ]


def _row(row: Measured, others: Mapping[str, Measured]) -> dict[str, Any]:
    case = row.case or dict.fromkeys(("title", "quantity", "unit", "count", "against", "goal"))
    return {
        "name": row.name,
        **{key: case[key] for key in ("title", "quantity", "unit", "count", "against")},
        "ours": _side(row.samples.get("ours")),
        "theirs": _side(row.samples.get("theirs")),
        "nodes": _side(row.samples.get("nodes")),
        "ratio": _rounded(row.ratio),
        "goal": judged(row, others),
        "error": row.error,
    }


def _side(samples: list[float] | None) -> dict[str, Any] | None:
    if not samples:
        return None
    return {"min": _rounded(min(samples)), "median": _rounded(median(samples)), "samples": len(samples)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def judged(row: Measured, others: Mapping[str, Measured]) -> dict[str, Any] | None:
    """Hold a row to its goal.

    Returns:
        None without a goal, else ``kind``, ``over``, ``value`` (of that kind, None if not measured), and
        ``must`` and ``aim``: each None, or a ``limit`` and whether it is ``met``.
    """
    goal = row.case and row.case["goal"]
    if not goal:
        return None
    value = _value(goal, row, others)
    return {
        "kind": goal["kind"],
        "over": goal["over"],
        "value": _rounded(value),
        "must": _limit(goal["must"], value),
        "aim": _limit(goal["aim"], value),
    }


def _limit(limit: float | None, value: float | None) -> dict[str, Any] | None:
    if limit is None:
        return None
    return {"limit": _rounded(limit), "met": None if value is None else value <= limit}


def _value(goal: Mapping[str, Any], row: Measured, others: Mapping[str, Measured]) -> float | None:
    ours = row.least("ours")
    if goal["kind"] == "ratio":
        return row.ratio
    if goal["kind"] in ("microseconds", "amount") or ours is None:
        return ours
    if goal["over"] == "theirs":
        base = row.least("theirs")
    else:
        base = others[goal["over"]].least("ours") if goal["over"] in others else None
    if base is None:
        return None
    return ours - base if goal["kind"] == "added" else ours / base


def machine() -> dict[str, Any]:
    """Return what a reader needs to know about where this was measured; nothing that identifies it."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        # Others at work make every number bigger, the ratios less so.
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def versions() -> dict[str, str | None]:
    """Return the versions of what takes part, None for what is not installed."""
    found: dict[str, str | None] = {"otel-stream": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
