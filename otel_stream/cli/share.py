"""A sampler that keeps a share of the parts."""

from __future__ import annotations

from typing import Any


class _Verdict:
    """The part of an OpenTelemetry ``SamplingResult`` that a stream asks for."""

    def __init__(self, kept: bool) -> None:
        self.decision = self
        self._kept = kept

    def is_sampled(self) -> bool:
        return self._kept


class Share:
    """Keeps ``ratio`` of all parts, by their ids, as OpenTelemetry's ``TraceIdRatioBased`` does of traces.

    The SDK's own would do as well, but only ``otel_stream.sdk`` imports the SDK.
    """

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio

    def should_sample(self, _context: Any, trace_id: int, *_: Any, **__: Any) -> _Verdict:
        """Decide by the lower 64 bits of the part's id."""
        return _Verdict(trace_id & (2**64 - 1) < self.ratio * 2**64)
