"""What streams show of a task's writes."""

from __future__ import annotations

from typing import Any

from ..graph.node import Writes
from ..graph.program import Program, View
from .state import RETURN


def updates_payload(program: Program, writes: Writes, view: View | None = None) -> Any:
    """Return what *updates* shows of a task: a mapping, a list of mappings, or None without output writes."""
    for name, value in writes:
        if name == RETURN:
            return value
    view = view or program.output_view
    single = view.single
    if single is not None:
        values = [value for name, value in writes if name == single]
        return values[0] if len(values) == 1 else (values or None)
    shown = [pair for pair in writes if pair[0] in view.names]
    merged = dict(shown)
    if len(merged) == len(shown):
        return merged if shown else None
    return [{name: value} for name, value in shown]


def result_payload(program: Program, writes: Writes) -> dict[str, Any]:
    """Return what *tasks* shows of a task's writes; several to one channel as ``{"$writes": [...]}``."""
    keys = program.state_view.names
    result: dict[str, Any] = {}
    for name, value in writes:
        if name not in keys and name != RETURN:
            continue
        if name not in result:
            result[name] = value
        elif isinstance(result[name], dict) and isinstance(result[name].get("$writes"), list):
            result[name]["$writes"].append(value)
        else:
            result[name] = {"$writes": [result[name], value]}
    return result
