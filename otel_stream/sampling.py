"""Sampling of stream parts with an OpenTelemetry ``Sampler``, which is known here by its one method.

The sampler is shown an id of its own for every part, made of the run's id and the part's ``seq``:
so a ratio sampler keeps that share of the parts, two receivers agree, and so does a replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from otel_stream.modes import INTERRUPT, StreamPart


def sampling(sampler: Any) -> Callable[[StreamPart], bool]:
    """Return a function that says whether a part is kept."""
    should_sample = sampler.should_sample

    def keep(part: StreamPart) -> bool:
        if is_structural(part):
            return True
        part_id = hashlib.blake2b(f"{part.run_id}:{part.seq}".encode(), digest_size=16).digest()
        attributes = {"graph.name": part.graph, "graph.stream.mode": part.type, "graph.superstep": part.step}
        # The empty context: no context at all would mean the one of whichever node is running.
        verdict = should_sample(
            {}, int.from_bytes(part_id), f"graph.{part.type}", kind=None, attributes=attributes, links=()
        )
        return bool(verdict.decision.is_sampled())

    return keep


def is_structural(part: StreamPart) -> bool:
    """Return whether a consumer that misses ``part`` misreads all others: an error, interrupt or end."""
    if part.interrupts or part.type in ("gap", "end"):
        return True
    data = part.data
    if part.type == "debug":
        data = data["payload"]
    if part.type == "updates":
        return INTERRUPT in data
    if part.type in ("tasks", "debug"):
        return data.get("error") is not None or bool(data.get("interrupts"))
    return False
