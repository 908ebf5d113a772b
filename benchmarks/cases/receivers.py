"""What receivers cost a part: several of them, and those that filter, sample and aggregate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from benchmarks.case import Comparison
from benchmarks.cases.custom import PARTS, writing
from benchmarks.libraries import OURS, expect, on_loop
from otel_stream import Aggregate, StreamConfig


def _reading(configs: list[StreamConfig], is_right: Callable[[int], bool]) -> Callable[[], None]:
    """Return a function that runs the node once and then empties every receiver."""
    graph = writing(OURS)

    async def run() -> None:
        async with graph.open_stream({"n": 0}, *configs) as stream:
            for receiver in stream.receivers:
                parts = 0
                async for _ in receiver:
                    parts += 1
                expect("the right number of parts", is_right(parts), True)

    return on_loop(run)


def _receivers(number: int) -> Comparison:
    configs = [StreamConfig(modes="custom", buffer_size=PARTS) for _ in range(number)]
    return Comparison(
        name=f"receivers-{number}",
        title=f"custom part to {number} receiver{'s' if number > 1 else ''} that read one after the other",
        unit="part and receiver",
        count=PARTS * number,
        ours=_reading(configs, lambda parts: parts == PARTS),
        theirs=None,
    )


receivers_1 = partial(_receivers, 1)
receivers_4 = partial(_receivers, 4)
receivers_16 = partial(_receivers, 16)
receivers_64 = partial(_receivers, 64)


def _one(name: str, title: str, is_right: Callable[[int], bool], **settings: Any) -> Comparison:
    config = StreamConfig(modes="custom", buffer_size=PARTS, **settings)
    return Comparison(
        name=name,
        title=title,
        unit="part written",
        count=PARTS,
        ours=_reading([config], is_right),
        theirs=None,
    )


def filtered() -> Comparison:
    """Let a filter decide about each part."""
    return _one(
        "filtered",
        "custom part past a filter that lets half of them through",
        lambda parts: parts == PARTS // 2,
        filter=lambda part: part.seq % 2 == 0,
    )


def sampled() -> Comparison:
    """Ask a sampler of OpenTelemetry about each part."""
    return _one(
        "sampled",
        "custom part past TraceIdRatioBased(0.1), asked per part",
        lambda parts: PARTS // 20 < parts < PARTS // 5,
        sampler=TraceIdRatioBased(0.1),
        sample_per="part",
    )


def aggregated() -> Comparison:
    """Make one part of a hundred."""
    return _one(
        "aggregated",
        "custom part in windows of 100",
        lambda parts: parts == PARTS // 100,
        aggregate=Aggregate(100),
    )
