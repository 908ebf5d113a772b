"""Receivers get what LangGraph's own stream yields in the same run, and its caller what it always got."""

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from otel_stream import OverflowPolicy, StreamConfig, StreamPart, StreamReceiver
from otel_stream.adapters.langgraph import LangGraphInstrumentor, subscribe
from otel_stream.config import MODES
from otel_stream.testing import telemetry
from tests.differential.build import LANGGRAPH
from tests.differential.compare import Part, Plain, differences, parts_of
from tests.differential.generate import cases
from tests.differential.run import Leg, run
from tests.differential.specs import Case

ASKED = os.environ.get("OTEL_STREAM_EXAMPLES")
EXAMPLES = int(ASKED or "80")
GENERATED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=ASKED is None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def everything(modes: Any, *, subgraphs: bool) -> StreamConfig:
    size, policy = 1_000_000, OverflowPolicy.DROP_OLDEST
    return StreamConfig(modes=modes, buffer_size=size, overflow=policy, subgraphs=subgraphs)


def modes_of(case: Case) -> tuple[Any, ...]:
    return tuple(case.modes) if isinstance(case.modes, list) else (case.modes or "updates",)


def taken(receiver: StreamReceiver) -> list[StreamPart]:
    return list(iter(receiver.take_nowait, None))


def as_langgraphs(case: Case, part: StreamPart) -> Part:
    """Return a part of ours as ``case`` has LangGraph yield it."""
    data, interrupts = part.data, part.interrupts
    if interrupts and case.version == "v1":
        data = {**data, "__interrupt__": interrupts}
    return Part(
        part.ns if case.subgraphs else (), part.type, data, interrupts if case.version == "v2" else None
    )


class Exact(Plain):
    """Both streams are of one run: ids are the same, and only times may differ."""

    def __init__(self) -> None:
        super().__init__(ordered_ids=True)

    def _name(self, match: Any) -> str:
        return str(match[0])


def only_in(one: list[Part], other: list[Part]) -> list[Part]:
    plain = Exact()
    left = Counter(repr(plain(part)) for part in other)
    left.subtract(repr(plain(part)) for part in one)
    return [part for part in one if left[repr(plain(part))] < 0]


def tells_an_end(part: Part) -> bool:
    """Whether a part tells how a task ended: LangGraph leaves some out (docs/differences.md)."""
    data = part.data["payload"] if part.mode == "debug" else part.data
    return part.mode in ("tasks", "debug") and "result" in data


def is_no_update(part: Part) -> bool:
    """Whether a part is what LangGraph shows of a node that fails after an answer: an update of nothing."""
    return part.mode == "updates" and [*part.data.values()] == [None]


def unlike(case: Case, legs: list[Leg], parts: list[StreamPart]) -> list[Any]:
    theirs = [part for leg in legs for part in parts_of(case, leg.items)]
    ours = [as_langgraphs(case, part) for part in parts]
    failed = any(leg.error is not None for leg in legs)
    missing, more = only_in(theirs, ours), only_in(ours, theirs)
    found = [("missing", part) for part in missing if not (failed and is_no_update(part))]
    # What goes on beside a failed node in another thread, LangGraph has nobody left to show to.
    found += [("more", part) for part in more if not (failed or tells_an_end(part))]
    if not found and case.in_order and not failed:
        plain = Exact()
        known = Counter(repr(plain(part)) for part in more)
        kept = []
        for part in reversed([repr(plain(part)) for part in ours]):
            known[part] -= 1
            kept += [part] * (known[part] < 0)
        found += [
            ("order", pair)
            for pair in zip(map(repr, map(plain, theirs)), kept[::-1], strict=True)
            if pair[0] != pair[1]
        ][:1]
    return found


@pytest.mark.timeout(60 + EXAMPLES)
@GENERATED
@given(cases().filter(lambda case: case.streams))
def test_a_receiver_gets_what_langgraph_yields(case: Case) -> None:
    LangGraphInstrumentor().instrument()
    try:
        with subscribe(everything(modes_of(case), subgraphs=case.subgraphs)) as receiver:
            legs = run(LANGGRAPH, case)
            parts = taken(receiver)
    finally:
        LangGraphInstrumentor().uninstrument()
    assert unlike(case, legs, parts) == []


@pytest.mark.timeout(60 + EXAMPLES)
@GENERATED
@given(cases())
def test_the_caller_gets_what_it_gets_without_us(case: Case) -> None:
    # Who wants messages makes models stream, as in LangGraph: LangChain gives those other ids.
    wanted = [mode for mode in MODES if mode != "messages" or mode in modes_of(case)]
    alone = run(LANGGRAPH, case)
    LangGraphInstrumentor().instrument()
    try:
        with telemetry(capture_content=True), subscribe(everything(wanted, subgraphs=True)):
            watched = run(LANGGRAPH, case)
    finally:
        LangGraphInstrumentor().uninstrument()
    assert differences(case, alone, watched) == []
