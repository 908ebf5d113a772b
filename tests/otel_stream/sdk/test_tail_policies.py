"""What each policy of tail sampling keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace._sampling_experimental import composable_traceid_ratio_based, composite_sampler
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_stream.config import ConfigError
from otel_stream.sdk import (
    KeepErrors,
    KeepInterrupted,
    KeepMatching,
    KeepRate,
    KeepRatio,
    KeepSlow,
    TailTrace,
)

SECOND = 1_000_000_000


class Trace(SpanProcessor):
    """Spans by hand, the children first, as they end."""

    def __init__(self, trace_id=0xABC, state=None):
        self.ended = []
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(self)
        self.tracer = tracers.get_tracer("x")
        self.trace_id = trace_id
        above = SpanContext(trace_id, 1, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
        self.root = self.start("root", NonRecordingSpan(above))

    def start(self, name, parent=None, **more):
        return self.tracer.start_span(name, context=set_span_in_context(parent or self.root), **more)

    def on_end(self, span):
        self.ended.append(span)

    def done(self):
        self.root.end()
        return TailTrace(self.trace_id, self.ended, [], complete=True)


@pytest.fixture
def trace():
    return Trace()


def empty():
    return TailTrace(0xABC, [], [], complete=False)


@pytest.mark.parametrize(
    "policy",
    [KeepErrors(), KeepErrors(root_only=True), KeepSlow(0), KeepMatching("k"), KeepInterrupted()],
    ids=lambda policy: policy.name,
)
def test_a_trace_that_nothing_is_known_of_gives_no_reason(policy):
    assert policy.keeps(empty()) is False
    assert empty().root is None


def test_errors_of_any_span_count_or_only_those_of_the_root(trace):
    child = trace.start("child")
    child.set_status(Status(StatusCode.ERROR))
    child.end()
    of_child = trace.done()
    assert of_child.root.name == "root"
    assert (KeepErrors().keeps(of_child), KeepErrors(root_only=True).keeps(of_child)) == (True, False)
    other = Trace()
    other.root.set_status(Status(StatusCode.ERROR))
    of_root = other.done()
    assert (KeepErrors().keeps(of_root), KeepErrors(root_only=True).keeps(of_root)) == (True, True)


def test_an_ok_status_is_no_error(trace):
    trace.root.set_status(Status(StatusCode.OK))
    assert KeepErrors().keeps(trace.done()) is False


def test_slow_is_what_takes_longer_from_the_first_start_to_the_last_end(trace):
    trace.ended.clear()
    for start, end in ((5, 6), (4, 7), (6, 8)):
        trace.start("child", start_time=start * SECOND).end(end * SECOND)
    known = TailTrace(1, trace.ended, [], complete=False)
    assert known.duration == 4.0
    assert [KeepSlow(seconds).keeps(known) for seconds in (3.9, 4, 4.1)] == [True, False, False]


@pytest.mark.parametrize(
    ("key", "values", "keeps"),
    [
        ("user.tier", ("gold", "silver"), True),
        ("user.tier", ("silver",), False),
        ("user.tier", (), True),
        ("retry", (0,), True),
        ("missing", (), False),
        ("missing", (None,), False),
    ],
)
def test_an_attribute_of_any_span_matches(trace, key, values, keeps):
    trace.start("child", attributes={"user.tier": "gold", "retry": 0}).end()
    assert KeepMatching(key, *values).keeps(trace.done()) is keeps


@pytest.mark.parametrize(
    ("key", "value", "keeps"),
    [
        ("graph.run.end", "interrupted", True),
        ("graph.task.end", "interrupted", True),
        ("graph.run.end", "cancelled", False),
        ("graph.task.end", "ok", False),
    ],
)
def test_an_interrupt_of_a_run_or_of_a_task_is_enough(trace, key, value, keeps):
    trace.start("child", attributes={key: value}).end()
    assert KeepInterrupted().keeps(trace.done()) is keeps


IDS = st.integers(1, (1 << 128) - 1)


@given(IDS, st.floats(0, 1))
def test_a_ratio_keeps_what_otels_threshold_sampler_samples(trace_id, ratio):
    sampler = composite_sampler(composable_traceid_ratio_based(ratio))
    sampled = sampler.should_sample(Context(), trace_id, "x").decision.is_sampled()
    kept = KeepRatio(ratio).keeps(TailTrace(trace_id, [], [], complete=True))
    assert kept is sampled


@given(IDS, st.floats(0, 1), st.floats(0, 1))
def test_the_smaller_of_two_ratios_keeps_a_subset(trace_id, one, other):
    trace = TailTrace(trace_id, [], [], complete=True)
    kept = [KeepRatio(ratio).keeps(trace) for ratio in sorted((one, other))]
    assert kept in ([False, False], [False, True], [True, True])


@pytest.mark.parametrize(
    ("state", "keeps"),
    [
        ("rv:ffffffffffffff", True),
        ("th:8;rv:00000000000000", False),
        ("rv:7fffffffffffff", False),
        ("rv:80000000000000;th:0", True),
        ("rv:fff", True),  # no valid one: the trace id's low bits, all ones here, decide
        ("th:8", True),
    ],
)
def test_explicit_randomness_of_the_tracestate_wins_over_the_trace_id(state, keeps):
    trace = Trace(trace_id=(1 << 128) - 1, state=TraceState([("ot", state), ("vendor", "x")]))
    assert KeepRatio(0.5).keeps(trace.done()) is keeps


def test_a_rate_keeps_the_first_ones():
    policy = KeepRate(1e-9)  # nothing comes back within the life of a test
    assert [policy.keeps(empty()) for _ in range(3)] == [True, False, False]
    burst = KeepRate(3.5)
    assert [burst.keeps(empty()) for _ in range(3)] == [True, True, True]


def test_what_was_saved_up_is_one_seconds_worth(monkeypatch):
    now = 100.0
    monkeypatch.setattr("otel_stream.sdk.sampling.bucket.time.monotonic", lambda: now)
    policy = KeepRate(2)
    assert [policy.keeps(empty()) for _ in range(3)] == [True, True, False]
    now += 0.5
    assert [policy.keeps(empty()) for _ in range(2)] == [True, False]
    now += 3600
    assert [policy.keeps(empty()) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeepSlow(-1), "KeepSlow.seconds: -1 can't be meant; give a number, 0 or more"),
        (lambda: KeepRatio(1.5), "KeepRatio.ratio: 1.5 can't be meant; give a number, from 0 to 1"),
        (lambda: KeepRatio(True), "KeepRatio.ratio: True can't be meant; give a number, from 0 to 1"),
        (
            lambda: KeepRatio(float("nan")),
            "KeepRatio.ratio: nan can't be meant; give a number, from 0 to 1",
        ),
        (lambda: KeepRate(0), "KeepRate.per_second: 0 keeps nothing; leave the policy out"),
    ],
)
def test_bad_settings_get_one_sentence(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
