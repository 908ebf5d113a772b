"""Lean spans, records and measurements are the SDK's, to everybody who looks."""

import gc
import json
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import (
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_stream import semconv
from otel_stream.events import (
    End,
    Run,
    RunEnded,
    RunStarted,
    SuperstepEnded,
    SuperstepStarted,
    Task,
    TaskEnded,
    TaskStarted,
)
from otel_stream.sdk.lean import LeanLoggerProvider, LeanMeterProvider, LeanTracerProvider
from otel_stream.sdk.lean.logs import LeanLogRecord
from otel_stream.sdk.lean.metrics import LeanHistogram
from otel_stream.sdk.lean.spans import LeanSpan, LeanTracer
from otel_stream.telemetry import consumer_for_run
from otel_stream.telemetry.scope import FixedAttributes

RESOURCE = Resource({"service.name": "test"})
ELSEWHERE = SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(1))


class Ids(IdGenerator):
    """The same ids for both providers."""

    def __init__(self):
        self._next = count(1)

    def generate_span_id(self):
        return next(self._next)

    def generate_trace_id(self):
        return 0xABC


# --- spans ---------------------------------------------------------------------------------------------

words = st.text("abc", min_size=1, max_size=3)
values = st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=5), st.floats(0, 1))
any_values = st.one_of(values, st.lists(values, max_size=2), st.none())
keys = words | st.sampled_from(["", 3])
touches = st.one_of(
    st.tuples(st.just("set_attribute"), st.tuples(keys, any_values)),
    st.tuples(st.just("set_attributes"), st.tuples(st.dictionaries(keys, any_values, max_size=2))),
    # What only our telemetry calls, of which the SDK has no other way.
    st.tuples(st.just("add_own"), st.tuples(st.dictionaries(words, values, max_size=2))),
    st.tuples(
        st.just("add_event"), st.tuples(words, st.dictionaries(words, any_values, max_size=2), st.just(5))
    ),
    st.tuples(st.just("add_link"), st.tuples(st.just(ELSEWHERE), st.dictionaries(words, values, max_size=1))),
    st.tuples(st.just("update_name"), st.tuples(words)),
    st.tuples(st.just("set_status"), st.tuples(st.sampled_from(StatusCode), st.none())),
    st.tuples(st.just("end"), st.tuples(st.integers(10, 20))),
)


class Watching(SpanProcessor):
    """What a processor sees of a span while it lives."""

    def __init__(self):
        self.seen = []

    def on_start(self, span, parent_context=None):
        self.seen.append(
            (
                "start",
                span.name,
                dict(span.attributes),
                span.is_recording(),
                span.parent.span_id if span.parent else None,
            )
        )
        span.set_attribute("by.processor", "x")

    def _on_ending(self, span):
        self.seen.append(("ending", span.name, span.end_time))

    def on_end(self, span):
        self.seen.append(("end", span.name, dict(span.attributes)))


def _traced(provider_class, attributes, links, script, at_root, kind):
    provider = provider_class(resource=RESOURCE, id_generator=Ids(), shutdown_on_exit=False)
    exporter, watching = InMemorySpanExporter(), Watching()
    provider.add_span_processor(watching)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer(semconv.SCOPE)
    root = tracer.start_span("root", attributes={"a": 1}, start_time=1)
    span = tracer.start_span("node", set_span_in_context(root), kind, dict(attributes), links, start_time=2)
    told, touched = [], root if at_root else span
    for method, arguments in script:
        do = touched.set_attributes if method == "add_own" else getattr(touched, method)
        getattr(touched, method, do)(*arguments)
        told.append(
            (
                method,
                touched.is_recording(),
                dict(touched.attributes),
                len(touched.events),
                touched.status.status_code,
            )
        )
    span.end(30)
    root.end(40)
    spans = exporter.get_finished_spans()
    return span, spans, watching.seen, told


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(words, values, max_size=4),
    st.integers(0, 2),
    st.lists(touches, max_size=6),
    st.booleans(),
    st.sampled_from([SpanKind.INTERNAL, SpanKind.CLIENT]),
)
def test_a_lean_span_is_the_sdks_whatever_is_done_to_it(attributes, linked, script, at_root, kind):
    links = [Link(ELSEWHERE, {"kind": "test"})] * linked
    how = (attributes, links, script, at_root, kind)
    lean, lean_spans, lean_seen, lean_told = _traced(LeanTracerProvider, *how)
    _, sdk_spans, sdk_seen, sdk_told = _traced(TracerProvider, *how)

    assert isinstance(lean, LeanSpan)
    assert lean_told == sdk_told
    assert lean_seen == sdk_seen
    assert [json.loads(span.to_json()) for span in lean_spans] == [
        json.loads(span.to_json()) for span in sdk_spans
    ]
    assert encode_spans(lean_spans) == encode_spans(sdk_spans)
    for ours, theirs in zip(lean_spans, sdk_spans, strict=True):
        assert (ours.dropped_attributes, ours.dropped_events, ours.dropped_links) == (
            theirs.dropped_attributes,
            theirs.dropped_events,
            theirs.dropped_links,
        )


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.CLIENT])
def test_what_others_set_is_bounded(kind):
    span = (
        LeanTracerProvider(shutdown_on_exit=False)
        .get_tracer(semconv.SCOPE)
        .start_span("node", Context(), kind, {"a": 1}, start_time=2)
    )
    span.set_attributes({f"k{n}": n for n in range(200)})
    for n in range(100):
        span.set_attribute(f"l{n}", n)
    assert isinstance(span, LeanSpan)
    assert (len(span.attributes), span.dropped_attributes) == (128, 173)


def test_two_threads_that_set_attributes_of_a_span_lose_none_of_them():
    tracer = LeanTracerProvider(shutdown_on_exit=False).get_tracer(semconv.SCOPE)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as threads:
            for _ in range(200):
                span = tracer.start_span("node", Context(), attributes={"a": 1}, start_time=2)
                setting = threads.submit(span.set_attributes, {f"k{n}": [n] for n in range(20)})
                for n in range(20):
                    span.add_own({f"l{n}": n})
                setting.result()
                assert len(span.attributes) == 41
    finally:
        sys.setswitchinterval(interval)


def test_a_user_span_and_an_exception_inside_are_what_the_sdk_makes_of_them():
    def shown(provider_class):
        provider = provider_class(id_generator=Ids(), resource=RESOURCE, shutdown_on_exit=False)
        exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer(semconv.SCOPE)
        with tracer.start_as_current_span("root") as root:
            node = tracer.start_span("node", set_span_in_context(root), attributes={}, start_time=2)
            with suppress(ValueError), trace.use_span(node, end_on_exit=True):
                with provider.get_tracer("users").start_as_current_span("theirs"):
                    pass
                raise ValueError("no")
        return [
            (
                s.name,
                s.parent and s.parent.span_id,
                s.status.status_code,
                s.status.description,
                [e.name for e in s.events],
            )
            for s in exporter.get_finished_spans()
        ]

    assert shown(LeanTracerProvider) == shown(TracerProvider)


def test_only_one_of_two_threads_ends_a_span():
    provider = LeanTracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer(semconv.SCOPE)
    root = tracer.start_span("root", start_time=1)
    for _ in range(50):
        span = tracer.start_span("node", set_span_in_context(root), attributes={}, start_time=2)
        threads = [threading.Thread(target=span.end) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(exporter.get_finished_spans()) == 50


@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": TraceIdRatioBased(1.0)},
        {"sampler": ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF)},
        {"span_limits": SpanLimits(max_span_attribute_length=3)},
        {"span_limits": SpanLimits(max_span_attributes=2)},
    ],
)
def test_whatever_is_unusual_goes_the_sdks_way(settings):
    tracer = LeanTracerProvider(shutdown_on_exit=False, **settings).get_tracer(semconv.SCOPE)
    assert not isinstance(tracer, LeanTracer)


class Deciding(Sampler):
    """Decides as it is told, adds an attribute that needs cleaning, and an entry to the tracestate."""

    def __init__(self, decision, more):
        self.decision, self.more = decision, more

    def should_sample(
        self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None
    ):
        assert (trace_id, name, kind, attributes, len(links)) == (
            trace_id,
            "x",
            SpanKind.INTERNAL,
            {"a": 1},
            1,
        )
        state = TraceState([("s", "1")])
        return SamplingResult(
            self.decision, {**attributes, "more": [1, 2]} if self.more else attributes, state
        )

    def get_description(self):
        return "deciding"


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("decision", Decision)
@pytest.mark.parametrize(
    "parent", [None, ELSEWHERE, SpanContext(7, 7, is_remote=False, trace_flags=TraceFlags(0))]
)
def test_at_the_top_a_sampler_decides_as_in_the_sdk(parent, decision, more):
    def started(kind):
        seen = Watching()
        sampler = Deciding(decision, more)
        provider = kind(
            sampler=ParentBased(sampler, *[sampler] * 4),
            id_generator=Ids(),
            resource=RESOURCE,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(seen)
        context = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        tracer = provider.get_tracer(semconv.SCOPE)
        if kind is LeanTracerProvider:
            tracer = LeanTracer(tracer)  # which such a sampler is not enough for below
        link = Link(ELSEWHERE, {"kind": "test"})
        span = tracer.start_span("x", context, attributes={"a": 1}, links=[link], start_time=1)
        span.end(2)
        about = span.get_span_context()
        shown = span.to_json() if span.is_recording() or hasattr(span, "to_json") else ""
        return seen.seen, about, about.trace_state, about.trace_flags, shown

    assert started(LeanTracerProvider) == started(TracerProvider)


def test_tracers_of_others_are_left_alone():
    assert not isinstance(LeanTracerProvider(shutdown_on_exit=False).get_tracer("users"), LeanTracer)


# --- log records ---------------------------------------------------------------------------------------


class _Changing(LogRecordProcessor):
    def on_emit(self, log_record):
        log_record.log_record.attributes["by.processor"] = "x"
        log_record.log_record.body = "changed"

    def shutdown(self): ...

    def force_flush(self, timeout_millis=30_000):
        return True


def _logged(provider_class, context, changing=False, **record):
    provider = provider_class(resource=RESOURCE, shutdown_on_exit=False)
    exporter = InMemoryLogRecordExporter()
    if changing:
        provider.add_log_record_processor(_Changing())
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger(semconv.SCOPE).emit(timestamp=1, context=context, **record)
    return exporter.get_finished_logs()


@pytest.mark.parametrize("changing", [False, True])
@given(st.dictionaries(words, values, max_size=4), st.text(max_size=9))
@settings(deadline=None, max_examples=50)
def test_a_lean_log_record_is_the_sdks(changing, attributes, body):
    span = trace.NonRecordingSpan(ELSEWHERE)
    record = {
        "body": body,
        "event_name": "graph.values",
        "severity_number": SeverityNumber.INFO,
        "severity_text": "INFO",
    }
    context = set_span_in_context(span)
    ours = _logged(LeanLoggerProvider, context, changing, attributes=dict(attributes), **record)
    theirs = _logged(LoggerProvider, context, changing, attributes=dict(attributes), **record)

    for one in (*ours, *theirs):
        one.log_record.observed_timestamp = 2
    assert [json.loads(one.to_json()) for one in ours] == [json.loads(one.to_json()) for one in theirs]
    assert encode_logs(ours) == encode_logs(theirs)


def test_an_exception_and_an_unknown_context_go_the_sdks_way():
    seen = []

    class Seeing(_Changing):
        def on_emit(self, log_record):
            seen.append(isinstance(log_record, LeanLogRecord))

    provider = LeanLoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Seeing())
    logger = provider.get_logger(semconv.SCOPE)
    context = set_span_in_context(trace.NonRecordingSpan(ELSEWHERE))
    logger.emit(body="x", context=context, attributes={})
    logger.emit(body="x", attributes={})
    logger.emit(body="x", context=context, exception=ValueError("x"))
    assert seen == [True, False, False]


# --- measurements --------------------------------------------------------------------------------------

sets = [{"node": "a"}, {"node": "b"}, {"node": "a", "n": 1}]
#: One amount, or many durations in nanoseconds: near boundaries, and several in one bucket.
near = st.tuples(st.sampled_from([0, 1, 5, 8, 10]), st.integers(0, 3)).map(lambda at: at[0] * 10**9 + at[1])
amounts = (
    st.floats(-1, 20)
    | st.lists(st.integers(0, 20 * 10**9) | near, max_size=6)
    | st.lists(st.integers(0, 10**8), min_size=20, max_size=60)
)


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
@pytest.mark.parametrize(
    "views",
    [
        [],
        [View(instrument_name="seconds", attribute_keys={"n"})],
        [
            View(
                instrument_name="seconds",
                aggregation=ExplicitBucketHistogramAggregation([1, 8], record_min_max=False),
            )
        ],
        [
            View(
                instrument_name="seconds",
                aggregation=ExplicitBucketHistogramAggregation([-1, 0, 1e-9, 5, 7e16, sys.float_info.max]),
            )
        ],
    ],
    ids=["all", "of some attributes", "of two boundaries", "of odd boundaries"],
)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), amounts), max_size=8), max_size=3))
@settings(deadline=None, max_examples=40)
def test_a_lean_histogram_adds_up_to_what_the_sdks_does(temporality, views, rounds):
    span = trace.NonRecordingSpan(SpanContext(7, 7, is_remote=False, trace_flags=TraceFlags(1)))
    context = set_span_in_context(span)

    def collected(provider_class, kind):
        reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
        provider = provider_class([reader], views=views, shutdown_on_exit=False)
        histogram = provider.get_meter(semconv.SCOPE).create_histogram("seconds", "s")
        assert isinstance(histogram, LeanHistogram) is (provider_class is LeanMeterProvider)
        fixed = [kind(one) for one in sets]
        points, sums = [], []
        for measured in rounds:
            for which, amounts in measured:
                _record(histogram, amounts, fixed[which], context)
            found = [*_points(reader.get_metrics_data())]
            points.append([_about(point) for point in found])
            sums += [point.sum for point in found]
        provider.shutdown()
        return points, sums

    (lean, sums), (own, expected) = (
        collected(LeanMeterProvider, FixedAttributes),
        collected(MeterProvider, dict),
    )
    assert lean == own
    assert sums == pytest.approx(expected)  # they are rounded once, not for each duration


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_what_is_noted_is_added_up_once_however_many_note_and_collect(temporality):
    reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
    provider = LeanMeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter(semconv.SCOPE)
    histogram = meter.create_histogram("seconds", "s", explicit_bucket_boundaries_advisory=[1.0005e-6])
    meter.create_observable_gauge("before", [lambda _: histogram.add_up() or ()])
    notes = [histogram.noting(FixedAttributes({"n": n})) for n in range(2)]

    def note_many(_):
        for nanoseconds in range(3000):
            notes[nanoseconds % 2](nanoseconds)
        return {n.attributes["n"]: (n.count, n.bucket_counts) for n in _points(reader.get_metrics_data())}

    with ThreadPoolExecutor(4) as threads:
        seen = [*threads.map(note_many, range(4))]
    seen.append({n.attributes["n"]: (n.count, n.bucket_counts) for n in _points(reader.get_metrics_data())})
    provider.shutdown()
    # Of 0 to 2999 the even ones are the first's, the odd ones the second's; 1000 still fits the first bucket.
    for n, fit in ((0, 501), (1, 500)):
        points = [one[n] for one in seen if n in one]
        if temporality is AggregationTemporality.DELTA:
            counts = [*zip(*(buckets for _, buckets in points), strict=True)]
            assert (sum(count for count, _ in points), sum(counts[0])) == (4 * 1500, 4 * fit)
        else:
            assert max(points) == (4 * 1500, (4 * fit, 4 * (1500 - fit)))


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF])
def test_every_superstep_and_node_of_a_run_is_measured_whether_or_not_it_is_sampled(sampler):
    reader = InMemoryMetricReader()
    meters = LeanMeterProvider([reader], shutdown_on_exit=False)
    tracers = LeanTracerProvider(sampler=sampler, shutdown_on_exit=False)
    consumer = consumer_for_run(tracer_provider=tracers, meter_provider=meters)
    run = Run("run-1", "triage", context=copy_context())
    consumer.on_event(RunStarted(run, {}, False, 1))
    for step in range(1, 4):
        task = Task(run, "plan", step, id=f"task-{step}")
        consumer.on_event(SuperstepStarted(run, step, (task,), 10 * step))
        consumer.on_event(TaskStarted(task, 10 * step))
        consumer.on_event(TaskEnded(task, End.OK, None, {}, None, (), False, 10 * step + 2))
        consumer.on_event(SuperstepEnded(run, step, End.OK, frozenset(), 10 * step + 5))
    consumer.on_event(RunEnded(run, End.OK, {}, None, (), 3, 100))
    found = {
        metric.name: [(point.count, round(point.sum * 1e9)) for point in metric.data.data_points]
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name in ("graph.superstep.duration", "graph.node.duration")
    }
    assert found == {"graph.superstep.duration": [(3, 15)], "graph.node.duration": [(3, 6)]}
    for provider in (meters, tracers):
        provider.shutdown()


def test_what_is_an_exemplar_of_nothing_is_noted_only_where_traces_decide_that():
    exemplars = {"always": AlwaysOnExemplarFilter(), "traces": TraceBasedExemplarFilter()}
    providers = {
        name: LeanMeterProvider([InMemoryMetricReader()], exemplar_filter=one, shutdown_on_exit=False)
        for name, one in exemplars.items()
    }
    histograms = {
        name: one.get_meter(semconv.SCOPE).create_histogram("seconds") for name, one in providers.items()
    }
    assert {name: one.noting(FixedAttributes({})) is None for name, one in histograms.items()} == {
        "always": True,
        "traces": False,
    }
    for one in providers.values():
        one.shutdown()


def _record(histogram, amounts, attributes, context):
    """Record one after the other, or all of them at once where that can be done."""
    if isinstance(amounts, float):
        histogram.record(amounts, attributes, context)
    elif isinstance(histogram, LeanHistogram):
        histogram.record_nanoseconds(amounts, attributes, context)
    else:
        for duration in amounts:
            histogram.record(duration * 1e-9, attributes, context)


def _points(data):
    if data is None:
        return []
    return [
        p
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for p in metric.data.data_points
    ]


def _about(point):
    exemplars = {(e.value, e.trace_id) for e in point.exemplars}
    return dict(point.attributes), point.count, point.min, point.max, tuple(point.bucket_counts), exemplars


@pytest.mark.parametrize(("metadata", "sampled"), [({"graph.sampling.force": True}, True), ({}, False)])
def test_a_run_that_asks_for_its_trace_gets_it_whatever_the_sampler_says(metadata, sampled):
    provider = LeanTracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    consumer = consumer_for_run(tracer_provider=provider)
    run = Run("run-1", "triage", context=copy_context(), metadata=metadata)
    consumer.on_event(RunStarted(run, {}, False, 1))
    task = Task(run, "plan", 1, id="task-1")
    consumer.on_event(SuperstepStarted(run, 1, (task,), 2))
    consumer.on_event(RunEnded(run, End.OK, {}, None, (), 1, 3))
    names = [span.name for span in exporter.get_finished_spans()]
    assert names == (["superstep", "invoke_workflow triage"] if sampled else [])


def test_a_record_that_waits_keeps_nothing_of_the_context_it_was_emitted_in():
    class Thing:
        pass

    kept = []

    class Keeps(LogRecordProcessor):
        def on_emit(self, log_record):
            kept.append((log_record, type(log_record.log_record.context["thing"])))

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=30_000):
            return True

    provider = LeanLoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Keeps())
    thing = Thing()
    around = set_span_in_context(NonRecordingSpan(ELSEWHERE), Context({"thing": thing}))
    provider.get_logger(semconv.SCOPE).emit(context=around, body="x", event_name="y")
    gone = weakref.ref(thing)
    del thing, around
    gc.collect()
    assert gone() is None
    ((record, seen),) = kept
    assert (type(record).__mro__[1], seen) == (LeanLogRecord, Thing)
    assert (record.log_record.trace_id, record.log_record.body) == (ELSEWHERE.trace_id, "x")
