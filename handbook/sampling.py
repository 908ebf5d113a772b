"""The picture of the three places to sample: the same eight runs, and what each place leaves of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import anyio
import anyio.to_thread
from opentelemetry import context, trace
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from engine import START, StateGraph, StreamWriter
from handbook import svg
from otel_stream import StreamConfig, StreamReceiver
from otel_stream.sdk import KeepErrors, TailSamplingProcessor
from otel_stream.testing import telemetry

_RUNS: Final = 8
_FAILS: Final = 5
_PARTS: Final = 6
#: The low halves of the traces' ids, which are what a ratio is of; the run that fails is in the upper half.
_LOW: Final = [(2 * n + 1) << 60 for n in (1, 6, 3, 0, 7, 5, 2, 4)]
_HALF: Final = TraceIdRatioBased(0.5)


def _graph() -> Any:
    def work(state: dict[str, int], writer: StreamWriter) -> dict[str, int]:
        for n in range(_PARTS):
            writer(n)
        if state["run"] == _FAILS:
            raise ValueError("this one fails")
        return {}

    return StateGraph(dict).add_node("work", work).add_edge(START, "work").compile(name="working")


def _begun(run: int) -> context.Context:
    """Return the context of a caller whose trace has a known id."""
    ids = trace.SpanContext((run + 1) << 64 | _LOW[run], run + 1, True, trace.TraceFlags(1))
    return trace.set_span_in_context(trace.NonRecordingSpan(ids))


def _run(graph: Any, run: int, *configs: StreamConfig) -> list[set[int]]:
    """Run it once; return, by receiver, which of the parts it got."""
    token = context.attach(_begun(run))
    try:
        with graph.open_stream({"run": run}, *configs, config={"run_id": UUID(int=run + 1)}) as stream:
            return [set(_taken(receiver)) for receiver in stream.receivers]
    finally:
        context.detach(token)


def _taken(receiver: StreamReceiver) -> Iterator[int]:
    with suppress(ValueError):  # of the run that fails
        for part in receiver:
            yield part.data


@dataclass
class Left:
    """What is left of the runs, by place."""

    per_part: list[set[int]] = field(default_factory=list)
    per_run: list[set[int]] = field(default_factory=list)
    head: set[int] = field(default_factory=set)
    tail: set[int] = field(default_factory=set)
    counted: float = 0


def observed() -> Left:
    """Run the graph eight times under a head sampler, and eight times under a tail sampler."""
    graph, left = _graph(), Left()
    parts = StreamConfig(modes="custom", sampler=_HALF)
    runs = StreamConfig(modes="custom", sampler=_HALF, sample_per="run")
    with telemetry(sampler=_HALF) as seen:
        for run in range(_RUNS):
            per_part, per_run = _run(graph, run, parts, runs)
            left.per_part.append(per_part)
            left.per_run.append(per_run)
        left.head = _traced(seen.spans)
        left.counted = sum(
            point.measurements or 0 for point in seen.metrics()["gen_ai.invoke_workflow.duration"]
        )
    kept = InMemorySpanExporter()
    with telemetry() as seen:
        logs = SimpleLogRecordProcessor(InMemoryLogRecordExporter())  # type: ignore[no-untyped-call]
        tail = TailSamplingProcessor(SimpleSpanProcessor(kept), logs, [KeepErrors()])
        seen.tracer_provider.add_span_processor(tail)
        for run in range(_RUNS):
            _run(graph, run, StreamConfig(modes="custom"))
        tail.force_flush()
        left.tail = _traced(kept.get_finished_spans())
    return left


def _traced(spans: Iterable[ReadableSpan]) -> set[int]:
    return {(one.get_span_context().trace_id >> 64) - 1 for one in spans}  # type: ignore[union-attr]


_LEFT: Final = 290
_CELL: Final = 72
_ROW: Final = 62


def drawn(left: Left) -> str:
    """Return the picture of what was observed."""
    rows = [*_head(), *_rows(left)]
    return svg.picture(
        _LEFT + _RUNS * _CELL + 20,
        60 + 5 * _ROW,
        "Eight runs, and what each place to sample leaves of them",
        rows,
    )


def _head() -> Iterator[str]:
    for run in range(_RUNS):
        x = _LEFT + run * _CELL + _CELL / 2 - 6
        yield svg.words(x, 22, f"run {run + 1}", size=12, fill=svg.GREY, anchor="middle")
        if run == _FAILS:
            yield svg.words(x, 38, "fails", size=12, fill=svg.RED, anchor="middle")


def _rows(left: Left) -> Iterator[str]:
    yield from _label(0, "parts of a stream", "sampler=TraceIdRatioBased(0.5)")
    yield from _label(1, "the same, whole runs", 'sample_per="run"')
    yield from _label(2, "traces, at the head", "OTEL_TRACES_SAMPLER: half of them")
    yield from _label(3, "traces, at the tail", "tail=[KeepErrors()]")
    yield from _label(4, "metrics", f"count all {left.counted:g} runs, whatever is sampled")
    for run in range(_RUNS):
        for row, kept in ((0, left.per_part[run]), (1, left.per_run[run])):
            yield from _dots(run, row, kept)
        for row, one in ((2, run in left.head), (3, run in left.tail), (4, True)):
            yield _bar(run, row, kept=one)


def _label(row: int, title: str, how: str) -> Iterator[str]:
    y = 66 + row * _ROW
    yield svg.words(12, y, title, bold=True, size=14)
    yield svg.words(12, y + 18, how, size=12, fill=svg.GREY)


def _dots(run: int, row: int, kept: set[int]) -> Iterator[str]:
    for part in range(_PARTS):
        x = _LEFT + run * _CELL + part * 10
        fill = svg.BLUE if part in kept else svg.PALE
        yield svg.box(x, 54 + row * _ROW, 8, 24, fill)


def _bar(run: int, row: int, *, kept: bool) -> str:
    fill = (svg.RED if run == _FAILS else svg.BLUE) if kept else svg.PALE
    return svg.box(_LEFT + run * _CELL, 54 + row * _ROW, _CELL - 14, 24, fill)


async def picture() -> str:
    """Return the picture, of runs that are run now."""
    return drawn(await anyio.to_thread.run_sync(observed))
