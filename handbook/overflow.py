"""The picture of the overflow policies: one run, five receivers, and what each of them got."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from engine import END, START, StateGraph, StreamWriter
from handbook import svg
from otel_stream import OverflowPolicy, ReceiverOverflowError, StreamConfig, StreamReceiver

_STEPS: Final = 4
_PER_STEP: Final = 3
_SIZE: Final = 4
_PARTS: Final = _STEPS * _PER_STEP


@dataclass
class Seen:
    """What the reader of one receiver was told, in this order."""

    told: list[int | str] = field(default_factory=list)
    #: After which part the run stood still.
    waited: list[int] = field(default_factory=list)
    failed: bool = False


async def observed() -> dict[OverflowPolicy, Seen]:
    """Run a graph of four supersteps that writes three parts in each, and read it slowly."""
    seen = {policy: Seen() for policy in OverflowPolicy}
    receivers: dict[OverflowPolicy, StreamReceiver] = {}

    def work(state: dict[str, int], writer: StreamWriter) -> dict[str, int]:
        if state["written"]:
            for policy, receiver in receivers.items():
                _take(receiver, seen[policy])
        for n in range(_PER_STEP):
            writer(state["written"] + n + 1)
        return {"written": state["written"] + _PER_STEP}

    def more(state: dict[str, int]) -> str:
        return END if state["written"] == _PARTS else "work"

    builder = StateGraph(dict).add_node("work", work).add_edge(START, "work")
    graph = builder.add_conditional_edges("work", more, ["work", END]).compile(name="working")
    configs = [StreamConfig(modes="custom", buffer_size=_SIZE, overflow=policy) for policy in OverflowPolicy]
    async with graph.open_stream({"written": 0}, *configs) as stream:
        receivers.update(zip(OverflowPolicy, stream.receivers, strict=True))
        await _wait_with_it(stream, receivers[OverflowPolicy.BLOCK], seen[OverflowPolicy.BLOCK])
        for policy, receiver in receivers.items():
            try:
                async for part in receiver:
                    _note(part, seen[policy])
            except ReceiverOverflowError:
                seen[policy].failed = True
    return seen


async def _wait_with_it(stream: Any, receiver: StreamReceiver, seen: Seen) -> None:
    """Wait for the end of the run; where it waits for ``receiver``, take one part to let it go on."""
    while not receiver.closed:
        if receiver.over_capacity:
            written = receiver.statistics().offered
            if not seen.waited or seen.waited[-1] != written:
                seen.waited.append(written)
            _take(receiver, seen)
        await anyio.sleep(0.001)
    await stream.wait()


def _take(receiver: StreamReceiver, seen: Seen) -> None:
    """Take one part, and what is told before it."""
    while (part := receiver.take_nowait()) is not None:
        _note(part, seen)
        if part.type != "gap":
            return


def _note(part: Any, seen: Seen) -> None:
    seen.told.append(f"{part.data['dropped']} lost" if part.type == "gap" else part.data)


_SAYS: Final = {
    OverflowPolicy.BLOCK: "nothing is lost; the run waits",
    OverflowPolicy.DROP_OLDEST: "what is new",
    OverflowPolicy.DROP_NEWEST: "how it began",
    OverflowPolicy.COALESCE: "the newest of each node",
    OverflowPolicy.ERROR: "an error rather than a hole",
}
_CELL: Final = 44
_LEFT: Final = 190
_ROW: Final = 84


def drawn(seen: dict[OverflowPolicy, Seen]) -> str:
    """Return the picture of what was observed."""
    width = _LEFT + _PARTS * _CELL + 150
    return svg.picture(
        width,
        60 + len(seen) * _ROW,
        "Twelve parts of one run, and what five receivers with room for four were told",
        [*_head(), *(one for row, policy in enumerate(seen) for one in _row(row, policy, seen[policy]))],
    )


def _head() -> Iterator[str]:
    for step in range(_STEPS):
        x = _LEFT + step * _PER_STEP * _CELL
        yield svg.words(x + 2, 22, f"superstep {step + 1}", size=12, fill=svg.GREY)
        yield svg.line(x, 30, x + _PER_STEP * _CELL - 8, 30, svg.GREY, 1)


def _row(row: int, policy: OverflowPolicy, seen: Seen) -> Iterator[str]:
    y = 44 + row * _ROW
    yield svg.words(12, y + 20, policy.value, bold=True, size=15)
    yield svg.words(12, y + 38, _SAYS[policy], size=12, fill=svg.GREY)
    for n in range(1, _PARTS + 1):
        x = _LEFT + (n - 1) * _CELL
        got = n in seen.told
        yield svg.box(x, y, _CELL - 8, 30, svg.BLUE if got else "#ffffff", "none" if got else svg.GREY)
        label = "#ffffff" if got else svg.GREY
        yield svg.words(x + (_CELL - 8) / 2, y + 20, str(n), fill=label, anchor="middle")
        if not got:
            yield svg.line(x + 6, y + 25, x + _CELL - 14, y + 5, svg.RED)
        if n in seen.waited:
            yield svg.box(x + _CELL - 7, y - 4, 5, 38, svg.AMBER)
    yield from _told(y + 50, seen)
    if seen.waited:
        yield svg.words(_LEFT + _PARTS * _CELL + 4, y + 20, "▌ the run waits", size=12, fill=svg.AMBER)
    if seen.failed:
        yield svg.words(_LEFT + _PARTS * _CELL + 4, y + 20, "ReceiverOverflow-", size=12, fill=svg.RED)
        yield svg.words(_LEFT + _PARTS * _CELL + 4, y + 36, "Error, at the end", size=12, fill=svg.RED)


def _told(y: float, seen: Seen) -> Iterator[str]:
    """Yield what the reader was told, one after the other."""
    x = float(_LEFT)
    yield svg.words(x, y + 4, "told:", size=12, fill=svg.GREY)
    x += 40
    for one in seen.told:
        if isinstance(one, str):
            yield svg.diamond(x + 6, y, 6, svg.AMBER)
            yield svg.words(x + 16, y + 4, one, size=12, fill=svg.AMBER)
            x += 64
        else:
            yield svg.words(x, y + 4, str(one), size=12)
            x += 24


async def picture() -> str:
    """Return the picture, of a run that is run now."""
    return drawn(await observed())
