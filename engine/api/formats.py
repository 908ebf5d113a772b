"""What LangGraph's ``stream`` yields for a stream part, by the arguments it was called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_stream.stream.modes import StreamPart, v1_payload, v2_payload

from ..graph.program import Program
from ..types import START
from .options import Asked


class Shape:
    """What LangGraph's ``stream`` yields for a part, by its arguments."""

    def __init__(self, program: Program, asked: Asked) -> None:
        if asked.version not in ("v1", "v2"):
            raise ValueError(f"version: {asked.version!r} is unknown; choose 'v1' or 'v2'")
        self.v2 = asked.version == "v2"
        self.tagged = not isinstance(asked.modes, str)
        self.subgraphs = asked.subgraphs
        self.program = program

    def __call__(self, part: StreamPart) -> Any:
        if self.v2:
            return self._v2(part)
        data = v1_payload(part)
        if self.subgraphs:
            return (part.ns, part.type, data) if self.tagged else (part.ns, data)
        return (part.type, data) if self.tagged else data

    def _v2(self, part: StreamPart) -> dict[str, Any]:
        shown = v2_payload(part)
        if part.interrupts and not isinstance(part.data, dict):
            shown["data"] = {}  # of a state that is one value nothing is shown beside what it waits for
        if part.ns:
            return shown
        if part.type == "values":
            shown["data"] = coerced(self.program.make_output, shown["data"])
        elif part.type == "checkpoints":
            shown["data"] = self._checkpoint(shown["data"])
        elif part.type == "debug" and shown["data"]["type"] == "checkpoint":
            shown["data"] = {**shown["data"], "payload": self._checkpoint(shown["data"]["payload"])}
        return shown

    def _checkpoint(self, payload: dict[str, Any]) -> dict[str, Any]:
        if START in payload["next"]:  # the state is not there yet
            return payload
        return {**payload, "values": coerced(self.program.make_state, payload["values"])}


def coerced(make: Callable[[dict[str, Any]], Any] | None, values: Any) -> Any:
    """Make the user's state object of ``values``, if there is one and they are complete."""
    if make is None or not isinstance(values, dict):
        return values
    try:
        return make(values)
    except (TypeError, ValueError):  # input alone need not be a whole state yet
        return values
