"""Sampling of a stream with an OpenTelemetry ``Sampler``, which is known here by its one method.

Per part, the sampler is shown an id made of the run's id and the part's ``seq``: a ratio sampler keeps
that share of the parts, two receivers agree, and so does a replay. Per run, it is shown the id of the run's
trace, the name of its span, and the context with that span in it, which telemetry has left on the run: so
``ParentBased`` follows the trace, and a ratio sampler keeps the traces that it would keep anywhere else.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

from otel_stream import semconv
from otel_stream.config import SamplePer
from otel_stream.events import Run
from otel_stream.parts import INTERRUPT, StreamPart

#: Runs at once of which a lasting receiver remembers what was decided.
_REMEMBERED = 10_000


class Sampling:
    """What a receiver keeps, by the decisions of its sampler."""

    __slots__ = ("_per_run", "_runs", "_should_sample")

    def __init__(self, sampler: Any, per: SamplePer) -> None:
        self._should_sample = sampler.should_sample
        self._per_run = per == "run"
        self._runs: OrderedDict[str | None, bool] = OrderedDict()

    def keeps(self, part: StreamPart, run: Run | None = None) -> bool:
        """Return whether ``part`` of ``run`` is kept. Raises what the sampler raises."""
        if is_structural(part):
            return True
        if self._per_run:
            return self._keeps_run(part, run)
        attributes = {"graph.name": part.graph, "graph.stream.mode": part.type, "graph.superstep": part.step}
        # The empty context: no context at all would mean the one of whichever node is running.
        return self._ask({}, _id(f"{part.run_id}:{part.seq}"), f"graph.{part.type}", attributes)

    def _keeps_run(self, part: StreamPart, run: Run | None) -> bool:
        runs = self._runs
        kept = runs.get(part.run_id)
        if kept is None:
            kept = self._decide(part, run)
            # Two threads may both have asked: the first answer stands.
            kept = runs.setdefault(part.run_id, kept)
            if len(runs) > _REMEMBERED:
                runs.popitem(last=False)
        return kept

    def _decide(self, part: StreamPart, run: Run | None) -> bool:
        root = None if run is None else run.root
        trace_id = part.trace_id if root is None else root.trace_id
        graph = part.graph if root is None else root.graph
        # Of telemetry nothing is known here but this: where a run has a span, its context is there.
        context = {} if root is None else getattr(root.telemetry, "context", None) or {}
        number = _id(f"{part.run_id}") if trace_id is None else int(trace_id, 16)
        return self._ask(context, number, f"{semconv.SPAN_RUN} {graph}", {"graph.name": graph})

    def _ask(self, context: Any, number: int, name: str, attributes: dict[str, Any]) -> bool:
        verdict = self._should_sample(context, number, name, kind=None, attributes=attributes, links=())
        return bool(verdict.decision.is_sampled())


def _id(text: str) -> int:
    """Return 128 bits that are the same wherever and whenever they are asked for."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())


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
