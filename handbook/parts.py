"""The picture of where a part goes: one run, how much of it passes each place, on both ways."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, TypedDict
from uuid import UUID

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from engine import START, Send, StateGraph, StreamWriter
from handbook import svg
from otel_stream import Aggregate, ReceiverStatistics, StreamConfig
from otel_stream.filters import Mode
from otel_stream.testing import telemetry

_ITEMS: Final = 20


class _State(TypedDict, total=False):
    done: Annotated[list[int], operator.add]


@dataclass(frozen=True)
class Counted:
    """How many there were of a run's parts, and of what telemetry said of it."""

    account: ReceiverStatistics
    #: Aggregates that the reader took.
    taken: int
    spans: int
    logs: int
    metrics: int


async def observed() -> Counted:
    """Run a graph that fans out, before a receiver that filters, samples and aggregates."""

    async def handle(task: dict[str, int], writer: StreamWriter) -> _State:
        writer({"item": task["item"]})
        return {"done": [task["item"]]}

    builder = StateGraph(_State).add_node("handle", handle)
    builder.add_conditional_edges(
        START, lambda _: [Send("handle", {"item": n}) for n in range(_ITEMS)], ["handle"]
    )
    config = StreamConfig(
        modes=("updates", "custom"),
        filter=Mode("custom"),
        sampler=TraceIdRatioBased(0.5),
        aggregate={"custom": Aggregate(4)},
    )
    with telemetry() as seen:
        graph = builder.compile(name="batch")
        async with graph.open_stream({}, config, config={"run_id": UUID(int=1)}) as stream:
            taken = [part async for part in stream]
        measured = len([name for name in seen.metrics() if not name.startswith("otel_stream.")])
        account = stream.receivers[0].statistics()
        return Counted(account, len(taken), len(seen.spans), len(seen.logs), measured)


_Y: Final = 40
_WIDTH: Final = 104
_GAP: Final = 24


def drawn(counted: Counted) -> str:
    """Return the picture of what was counted."""
    account = counted.account
    wanted = account.offered - account.filtered
    sampled = wanted - account.sampled_out
    places = [
        ("events", "of the run", ""),
        ("modes", "updates, custom", f"{account.offered} parts"),
        ("filter", "Mode('custom')", f"{wanted} pass"),
        ("sampler", "ratio 0.5", f"{sampled} pass"),
        ("aggregate", "every 4", f"{counted.taken} windows"),
        ("buffer", "overflow policy", f"{account.dropped} dropped"),
        ("reader", "async for part", f"{counted.taken} taken"),
    ]
    telemetry_side = [
        ("spans", "run, steps, nodes", f"{counted.spans}"),
        ("log events", "values, custom, …", f"{counted.logs}"),
        ("metrics", "always", f"{counted.metrics} instruments"),
    ]
    width = 20 + len(places) * (_WIDTH + _GAP)
    return svg.picture(
        width,
        250,
        "Where a part goes: from the run's events to a reader, and beside it to telemetry",
        [*_row(places, _Y), *_below(telemetry_side), *_sum(account, width)],
    )


def _row(places: list[tuple[str, str, str]], y: float) -> Iterator[str]:
    for n, place in enumerate(places):
        x = 12 + n * (_WIDTH + _GAP)
        yield from _place(x, y, *place)
        if n:
            yield svg.arrow(x - _GAP + 3, y + 26, x - 3, y + 26)


def _place(x: float, y: float, name: str, about: str, count: str) -> Iterator[str]:
    yield svg.box(x, y, _WIDTH, 52, "#eef5fb", svg.BLUE)
    yield svg.words(x + _WIDTH / 2, y + 22, name, bold=True, anchor="middle")
    yield svg.words(x + _WIDTH / 2, y + 40, about, size=11, fill=svg.GREY, anchor="middle")
    yield svg.words(x + _WIDTH / 2, y - 8, count, size=12, fill=svg.BLUE, anchor="middle")


def _below(places: list[tuple[str, str, str]]) -> Iterator[str]:
    y = _Y + 104
    middle = 12 + _WIDTH / 2
    yield svg.line(middle, _Y + 52, middle, y + 26)
    yield svg.arrow(middle, y + 26, 12 + _WIDTH + _GAP - 3, y + 26)
    for n, place in enumerate(places):
        x = 12 + (n + 1) * (_WIDTH + _GAP)
        yield from _place(x, y, *place)
    x = 12 + (len(places) + 1) * (_WIDTH + _GAP)
    yield svg.arrow(x - _GAP + 3, y + 26, x - 3, y + 26)
    yield from _place(x, y, "OTel SDK", "sampling, export", "")
    yield svg.words(
        x + _WIDTH + 16, y + 30, "OTLP → Collector, otel-stream view, a file", size=12, fill=svg.GREY
    )


def _sum(account: ReceiverStatistics, width: float) -> Iterator[str]:
    told = (
        f"offered {account.offered} = delivered {account.delivered} + dropped {account.dropped} + "
        f"sampled out {account.sampled_out} + filtered {account.filtered} + held {account.held}"
    )
    yield svg.words(width / 2, 236, told, size=13, anchor="middle")


async def picture() -> str:
    """Return the picture, of a run that is run now."""
    return drawn(await observed())
