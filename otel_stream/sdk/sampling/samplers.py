"""Samplers that OpenTelemetry's SDK lacks: for a ``TracerProvider``, or for ``StreamConfig.sampler``.

The SDK shows a sampler neither the parent's tracestate nor, once it drops a span, keeps the attributes that
the span was started with. The samplers here keep both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from otel_stream import semconv
from otel_stream.config import ConfigError
from otel_stream.sdk.sampling.bucket import TokenBucket


class RateLimitingSampler(Sampler):
    """Samples at most ``per_second`` spans, or stream parts, after a first ``burst`` (a token bucket).

    In a ``TracerProvider`` it belongs inside a ``ParentBased``, or it tears traces apart. ``burst`` is how
    many may come at once, by default those of one second. ``clock`` tells seconds; only differences count.

    Raises:
        ConfigError: a rate that isn't above 0, or a burst below 1.
    """

    def __init__(
        self,
        per_second: float,
        *,
        burst: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < per_second < math.inf:
            raise ConfigError(
                f"RateLimitingSampler.per_second: {per_second!r} is no rate; give a number above 0"
            )
        if burst is not None and not 1 <= burst < math.inf:
            raise ConfigError(f"RateLimitingSampler.burst: {burst!r} lets nothing pass; give 1 or more")
        self._rate = per_second
        self._burst = max(1.0, per_second) if burst is None else burst
        self._bucket = TokenBucket(per_second, self._burst, clock)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Sample if there is a token left."""
        decision = Decision.RECORD_AND_SAMPLE if self._bucket.take() else Decision.DROP
        return SamplingResult(decision, attributes, _trace_state(parent_context, trace_state))

    def get_description(self) -> str:
        """Return the name with its settings."""
        return f"RateLimitingSampler{{{self._rate:g}/s,burst={self._burst:g}}}"


class TraceStateSampler(Sampler):
    """Shows ``inner`` the parent's tracestate, for samplers that go by it and would erase it otherwise.

    The SDK's experimental consistent-probability samplers do: ``TraceStateSampler(composite_sampler(...))``
    decides by the ``rv`` that came with the trace, and leaves other vendors' entries where they are.
    """

    def __init__(self, inner: Sampler) -> None:
        self.inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return what ``inner`` decides, or what a subclass makes of it."""
        ask = partial(self.inner.should_sample, parent_context, trace_id, name, kind, attributes, links)
        return self._decide(ask, attributes, _trace_state(parent_context, trace_state))

    def _decide(
        self, ask: Callable[..., SamplingResult], attributes: Attributes, state: TraceState | None
    ) -> SamplingResult:
        return ask(state)

    def get_description(self) -> str:
        """Return the name with that of ``inner``."""
        return f"{type(self).__name__}{{{self.inner.get_description()}}}"


class RecordOnlySampler(TraceStateSampler):
    """Records what ``inner`` drops, without sampling it: span processors see every span, exporters don't.

    Such spans keep the attributes that they were started with, and their parent's tracestate.
    """

    def _decide(
        self, ask: Callable[..., SamplingResult], attributes: Attributes, state: TraceState | None
    ) -> SamplingResult:
        result = ask(state)
        if result.decision is not Decision.DROP:
            return result
        kept = {**(attributes or {}), **(result.attributes or {})}
        return SamplingResult(
            Decision.RECORD_ONLY, kept, state if result.trace_state is None else result.trace_state
        )


class ForcedSampler(TraceStateSampler):
    """Samples whatever says that it must be, and leaves everything else to ``inner``.

    A run says so if it is started with ``{"metadata": {"graph.sampling.force": True}}``: its span then
    has that attribute from the start. ``configure()`` puts this sampler around the environment's.
    """

    def _decide(
        self, ask: Callable[..., SamplingResult], attributes: Attributes, state: TraceState | None
    ) -> SamplingResult:
        if attributes is not None and attributes.get(semconv.GRAPH_SAMPLING_FORCE) is True:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, state)
        # As the SDK asks, which shows no tracestate: a sampler of the program's need not take one.
        return ask()


def _trace_state(context: Context | None, given: TraceState | None) -> TraceState | None:
    if given is not None:
        return given
    parent = get_current_span(context).get_span_context()
    return parent.trace_state if parent.is_valid else None
