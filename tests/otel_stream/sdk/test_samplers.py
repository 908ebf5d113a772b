"""Samplers keep what the SDK's own lose: start attributes, and the tracestate of the parent."""

import threading
from collections import Counter

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace._sampling_experimental import (
    composable_parent_threshold,
    composable_traceid_ratio_based,
    composite_sampler,
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    AlwaysRecordSampler,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_stream.config import ConfigError
from otel_stream.sdk.sampling.samplers import (
    ForcedSampler,
    RateLimitingSampler,
    RecordOnlySampler,
    TraceStateSampler,
)

TRACE = 0x1234567890ABCDEF1234567890ABCDEF


class Seen(SpanProcessor):
    def __init__(self):
        self.spans = []

    def on_end(self, span):
        self.spans.append(span)


def remote(state, sampled=True):
    """A context with a span of another process as parent."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return set_span_in_context(NonRecordingSpan(SpanContext(TRACE, 1, True, flags, TraceState(state))))


@pytest.fixture
def started():
    """Start and end one span under a sampler; return it as a processor saw it, and what was exported."""
    providers = []

    def start(sampler, context=None, attributes=None):
        seen, exporter = Seen(), InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        providers.append(provider)
        provider.add_span_processor(seen)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        span = provider.get_tracer("test").start_span("s", context, attributes=attributes)
        span.end()
        return span, seen.spans, exporter.get_finished_spans()

    yield start
    for provider in providers:
        provider.shutdown()


@pytest.mark.parametrize("dropping", [ALWAYS_OFF, TraceIdRatioBased(0), ParentBased(ALWAYS_OFF)])
def test_what_is_recorded_only_keeps_its_attributes_and_its_parents_tracestate(dropping, started):
    span, seen, exported = started(
        RecordOnlySampler(dropping), remote([("vendor", "abc")], sampled=False), {"a": 1}
    )
    assert [dict(one.attributes) for one in seen] == [{"a": 1}]
    assert span.get_span_context().trace_state.to_header() == "vendor=abc"
    assert not span.get_span_context().trace_flags.sampled
    assert exported == ()
    _, lost, _ = started(AlwaysRecordSampler(dropping), remote([], sampled=False), {"a": 1})
    assert [dict(one.attributes) for one in lost] == [{}], "the SDK keeps them now"


def test_what_is_sampled_stays_sampled(started):
    _, seen, exported = started(RecordOnlySampler(ALWAYS_ON), attributes={"a": 1})
    assert [dict(one.attributes) for one in exported] == [{"a": 1}]
    assert len(seen) == 1


def test_a_consistent_sampler_decides_by_the_randomness_that_came_with_the_trace(started):
    half = composite_sampler(composable_traceid_ratio_based(0.5))
    kept = [("ot", "rv:ffffffffffffff"), ("vendor", "abc")]
    span, _, exported = started(TraceStateSampler(half), remote(kept))
    assert len(exported) == 1
    assert span.get_span_context().trace_state.to_header() == "ot=th:8;rv:ffffffffffffff,vendor=abc"
    _, _, exported = started(TraceStateSampler(half), remote([("ot", "rv:00000000000000")]))
    assert exported == ()


def test_a_threshold_is_handed_down_unchanged(started):
    inherit = composite_sampler(composable_parent_threshold(composable_traceid_ratio_based(1)))
    state = [("ot", "th:8;rv:ffffffffffffff"), ("vendor", "abc")]
    span, _, _ = started(RecordOnlySampler(inherit), remote(state))
    assert span.get_span_context().trace_state.to_header() == "ot=th:8;rv:ffffffffffffff,vendor=abc"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def decisions(sampler, count):
    return [sampler.should_sample(None, n, "s").decision.is_sampled() for n in range(count)]


@pytest.mark.clause("S-SAM-5")
def test_a_rate_is_kept_after_the_first_burst():
    clock = Clock()
    sampler = RateLimitingSampler(2, burst=3, clock=clock)
    assert decisions(sampler, 5) == [True, True, True, False, False]
    clock.now += 0.4
    assert decisions(sampler, 1) == [False]
    clock.now += 0.1
    assert decisions(sampler, 2) == [True, False]
    clock.now += 60
    assert decisions(sampler, 4) == [True, True, True, False]
    clock.now -= 30
    assert decisions(sampler, 1) == [False]


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 1), (1, 1), (25, 25)])
def test_without_a_burst_as_many_may_come_at_once_as_in_a_second(rate, burst):
    sampler = RateLimitingSampler(rate, clock=Clock())
    assert sum(decisions(sampler, 50)) == burst


def test_a_rate_holds_over_all_threads():
    sampler, counts = RateLimitingSampler(1, burst=500, clock=Clock()), []
    threads = [
        threading.Thread(target=lambda: counts.append(Counter(decisions(sampler, 400)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts, Counter()) == {True: 500, False: 1100}


def test_a_rate_limit_serves_a_tracer_provider(started):
    sampler = RateLimitingSampler(1, clock=Clock())
    first, _, exported = started(sampler, remote([("vendor", "abc")]), {"a": 1})
    assert [dict(one.attributes) for one in exported] == [{"a": 1}]
    assert first.get_span_context().trace_state.to_header() == "vendor=abc"
    second, _, exported = started(sampler, remote([("vendor", "abc")]), {"a": 1})
    assert exported == ()
    assert second.get_span_context().trace_state.to_header() == "vendor=abc"
    _, seen, _ = started(RecordOnlySampler(sampler), attributes={"a": 1})
    assert [dict(one.attributes) for one in seen] == [{"a": 1}]
    assert sampler.should_sample(None, 1, "s", attributes={"a": 1}).decision is Decision.DROP


def test_samplers_describe_themselves():
    assert RateLimitingSampler(2.5).get_description() == "RateLimitingSampler{2.5/s,burst=2.5}"
    assert RecordOnlySampler(ALWAYS_OFF).get_description() == "RecordOnlySampler{AlwaysOffSampler}"
    assert TraceStateSampler(ALWAYS_ON).get_description() == "TraceStateSampler{AlwaysOnSampler}"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"per_second": 0}, "RateLimitingSampler.per_second: 0 is no rate; give a number above 0"),
        ({"per_second": 1, "burst": 0.5}, "RateLimitingSampler.burst: 0.5 lets nothing pass; give 1 or more"),
    ],
)
def test_a_limit_that_lets_nothing_pass_is_refused(settings, sentence):
    with pytest.raises(ConfigError) as caught:
        RateLimitingSampler(**settings)
    assert str(caught.value) == sentence


def test_a_sampler_that_says_nothing_of_the_tracestate_does_not_erase_it(started):
    class Terse(Sampler):
        def should_sample(self, *args, **kwargs):
            return SamplingResult(Decision.DROP)

        def get_description(self):
            return "Terse"

    span, seen, _ = started(RecordOnlySampler(Terse()), remote([("vendor", "abc")]), {"a": 1})
    assert span.get_span_context().trace_state.to_header() == "vendor=abc"
    assert [dict(one.attributes) for one in seen] == [{"a": 1}]


def test_forcing_asks_an_ordinary_sampler_as_the_sdk_does():
    class Plain(Sampler):
        """One that takes what the SDK passes, and no tracestate."""

        def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None):
            return SamplingResult(Decision.DROP)

        def get_description(self):
            return "Plain"

    sampler = ForcedSampler(Plain())
    forced = {"graph.sampling.force": True}
    assert sampler.should_sample(None, 1, "x").decision is Decision.DROP
    assert sampler.should_sample(None, 1, "x", attributes=forced).decision is Decision.RECORD_AND_SAMPLE
