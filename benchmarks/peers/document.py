"""The tables of ``docs/peers.md``, written between markers from ``results.json``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

#: ``<!-- NAME: written by make peers -->`` opens a table, ``<!-- end -->`` closes it.
OPENING = "<!-- {}: written by make peers -->"
MARKED = re.compile(r"<!-- ([a-z]+): written by make peers -->\n.*?<!-- end -->", re.DOTALL)


def filled(text: str, results: dict[str, Any]) -> str:
    """Return the document with every table made from ``results``.

    Raises:
        KeyError: a marker names no table.
    """

    def table(found: re.Match[str]) -> str:
        name = found[1]
        return f"{OPENING.format(name)}\n{TABLES[name](results)}\n<!-- end -->"

    return MARKED.sub(table, text)


def about(results: dict[str, Any]) -> str:
    """Say when and where it was measured."""
    machine = results["machine"]
    day = datetime.fromisoformat(results["time"]).date()
    load = machine["load_average"][0] if machine["load_average"] else "unknown"
    return (
        f"Measured on {day} by `make peers`, {results['rounds']} rounds: {machine['python']}, "
        f"{machine['processor']}, {machine['cores']} cores, load {load}."
    )


def versions(results: dict[str, Any]) -> str:
    """Return who takes part, in which version, or why not."""
    rows: dict[str, Sequence[str]] = {}
    for one in results["contenders"]:
        # Ours have several lines; the one called like the package stands for them.
        if one["package"] not in rows or one["name"] == one["package"]:
            measured = one["error"] or "measured"
            rows[one["package"]] = (one["title"], f"`{one['package']}`", one["version"] or "?", measured)
    missing = [(one["title"], f"`{one['package']}`", "", one["reason"]) for one in results["missing"]]
    return _table(("", "package", "version", ""), [*rows.values(), *missing])


def cost(results: dict[str, Any]) -> str:
    """Return CPU time of a superstep, and what is added to the engine alone, LangGraph's or ours."""
    costs = {one["name"]: one["cost"] for one in results["contenders"]}
    rows = []
    for one in results["contenders"]:
        if one["cost"]:
            engine = "otel-stream-bare" if one["name"].startswith("otel-stream") else "langgraph"
            row = [one["title"]]
            for kind in ("sampled", "unsampled"):
                alone, theirs = (costs.get(name, {}).get(kind) for name in (engine, "langgraph"))
                row += _cost(one["cost"].get(kind), alone, theirs)
            counts = (one["cost"].get("sampled", {}).get(name, 0) for name in ("spans", "logs"))
            rows.append([*row, *(f"{count / results['steps']:.1f}" for count in counts)])
    kinds = [
        f"{kind}{what}" for kind in ("", "unsampled: ") for what in ("µs", "median", "added", "/ LangGraph")
    ]
    return _table(("", *kinds, "spans", "log events"), rows, numbers=10)


def _cost(
    found: dict[str, Any] | None, alone: dict[str, Any] | None, theirs: dict[str, Any] | None
) -> list[str]:
    if found is None:
        return [""] * 4
    added = f"{found['min'] - alone['min']:.0f}" if alone else ""
    ratio = f"{found['min'] / theirs['min']:.2f}" if theirs else ""
    return [f"{found['min']:.0f}", f"{found['median']:.0f}", added, ratio]


def size(results: dict[str, Any]) -> str:
    """Return the bytes of a run, and how often that is the first state and the changes."""
    rows = []
    for one in results["contenders"]:
        for steps, found in one["bytes"].items():
            least = results["state_and_changes"][steps]
            kinds = [f"{found[kind] / 1000:,.0f}" for kind in ("sum", "traces", "logs", "metrics")]
            there = ("yes" if found["document"] else "no", f"{found['changes']:,} of {int(steps):,}")
            states = found["events"].get("graph.values")
            ratios = (f"{found['sum'] / least:.2f}", f"{states / least:.2f}" if states else "")
            rows.append((one["title"], f"{int(steps):,}", *kinds, *there, *ratios))
    heading = (
        "",
        "supersteps",
        "KB",
        "spans",
        "log events",
        "metrics",
        "first state",
        "changes",
        "/ minimum",
        "states / minimum",
    )
    return _table(heading, rows, numbers=9)


def told(results: dict[str, Any]) -> str:
    """Return what can be read off the telemetry of each."""
    asked = [one for one in results["contenders"] if one["told"]]
    questions = list(dict.fromkeys(question for one in asked for question in one["told"]))
    rows = [(question, *(one["told"].get(question, "") for one in asked)) for question in questions]
    return _table(("", *(one["title"] for one in asked)), rows)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Write a table whose last ``numbers`` columns are right-aligned."""
    rules = ["---"] * (len(heading) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rules, *rows))


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "about": about,
    "versions": versions,
    "cost": cost,
    "size": size,
    "told": told,
}
