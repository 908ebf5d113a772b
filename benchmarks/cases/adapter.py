"""LangGraph's own loop, observed by the adapter, beside the same loop left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.case import Comparison, Goal
from benchmarks.cases.superstep import STEPS, bare
from benchmarks.libraries import LANGGRAPH, expect
from benchmarks.providers import installed
from otel_stream import OverflowPolicy, StreamConfig
from otel_stream.adapters.langgraph import LangGraphInstrumentor, subscribe
from otel_stream.config import MODES

#: The run's span, and two a superstep: its own and its node's.
SPANS = 2 * STEPS + 1


def _observed(*, spans: int | None, receives: bool = False) -> Callable[[], None]:
    """Return a function that runs the loop once, observed; ``spans`` are to be exported, if any can be."""
    run = bare(LANGGRAPH)
    config = StreamConfig(modes=MODES, buffer_size=1_000_000, overflow=OverflowPolicy.DROP_OLDEST)

    def run_observed() -> None:
        LangGraphInstrumentor().instrument()
        receiver = subscribe(config) if receives else None
        try:
            run()
        finally:
            LangGraphInstrumentor().uninstrument()
            if receiver is not None:
                receiver.close()
        if spans is not None:
            expect("spans exported", installed().flush()[0], spans)
        if receiver is not None:
            expect("every superstep shown", receiver.statistics().offered > 5 * STEPS, True)

    return run_observed


def _row(name: str, title: str, ours: Any, goal: Goal) -> Comparison:
    return Comparison(
        name=name,
        title=title,
        unit="superstep",
        count=STEPS,
        ours=ours,
        theirs=bare(LANGGRAPH),
        against="LangGraph, left alone",
        goal=goal,
    )


def idle() -> Comparison:
    """Compare LangGraph with hooks that nobody listens to."""
    goal = Goal("added", aim=15.0, over="theirs")
    return _row("adapter-idle", "LangGraph instrumented, nobody listens", _observed(spans=None), goal)


def traced() -> Comparison:
    """Compare LangGraph with all telemetry."""
    goal = Goal("added", aim=150.0, over="theirs")
    return _row("adapter-traced", "LangGraph with spans, log events, metrics", _observed(spans=SPANS), goal)


def received() -> Comparison:
    """Compare LangGraph with all telemetry and a receiver of all modes."""
    goal = Goal("added", aim=60.0, over="adapter-traced")
    ours = _observed(spans=SPANS, receives=True)
    return _row("adapter-receiver", "the same, and a receiver of all modes", ours, goal)


def unsampled() -> Comparison:
    """Compare LangGraph with metrics alone, the trace being sampled out."""
    goal = Goal("added", aim=30.0, over="theirs")
    title = "LangGraph with metrics; the trace is sampled out"
    return _row("adapter-unsampled", title, _observed(spans=0), goal)
