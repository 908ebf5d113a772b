"""What *updates* and *tasks* show of a task's writes: what LangGraph's own functions make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.pregel._io import map_output_updates
from langgraph.pregel.debug import map_debug_task_results

from otel_stream.adapters.langgraph.words import RETURN


def payloads(
    loop: Any, executable: Any, writes: Sequence[tuple[str, Any]], *, ok: bool, cached: bool
) -> tuple[Any, Mapping[str, Any]]:
    """Return the update, if it ended well, and the result."""
    written = {name for name, _ in writes}
    keys, shown = loop.output_keys, loop.stream_keys
    named = not isinstance(keys, str) and not isinstance(shown, str)
    if named and len(written) == len(writes) and RETURN not in written:
        # Nearly every task: each channel once. The functions below come to the same, at ten times the price.
        short = {name: value for name, value in writes if name in keys} if ok else {}
        return short or None, {name: value for name, value in writes if name in shown}
    update: Any = None
    found: Mapping[str, Any] = {}
    for one in map_debug_task_results((executable, writes), loop.stream_keys):
        found = one["result"]
    if ok:
        for each in map_output_updates(keys, [(executable, writes)], cached):
            update = each.get(executable.name)
    return update, found
