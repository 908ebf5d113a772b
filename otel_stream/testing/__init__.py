"""For the tests of those who build on us: record a run, and say what its stream should have been.

    from otel_stream.testing import expect, record

    record(graph, {"n": 1}, "updates").expect(
        expect.updates("plan", {"n": 2}),
        expect.any_order(expect.updates("left"), expect.updates("right")),
    )

Nothing here loads OpenTelemetry's SDK, except ``telemetry`` when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stream.testing import expect
from otel_stream.testing.checking import check
from otel_stream.testing.recording import Recorder, Recording, arecord, record

if TYPE_CHECKING:
    from otel_stream.testing.memory import RunTelemetry, telemetry

__all__ = [
    "Recorder",
    "Recording",
    "RunTelemetry",
    "arecord",
    "check",
    "expect",
    "record",
    "telemetry",
]


def __getattr__(name: str) -> Any:
    if name in {"RunTelemetry", "telemetry"}:
        from otel_stream.testing import memory

        return getattr(memory, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
