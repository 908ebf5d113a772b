"""The start of anybody's span, told where it is asked for."""

import json

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from otel_stream import configure, semconv
from otel_stream.sdk import SpanStartProcessor
from otel_stream.sdk.versions import InMemoryLogRecordExporter
from semconv.live_check import LiveCheck
from semconv.resolve import Registry


@pytest.fixture
def logs():
    return InMemoryLogRecordExporter()


@pytest.fixture
def tracers(logs):
    def make(sampler=ALWAYS_ON):
        loggers = LoggerProvider(shutdown_on_exit=False)
        loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
        tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        tracers.add_span_processor(SpanStartProcessor(loggers))
        return tracers

    return make


def test_a_span_is_told_while_it_is_open(tracers, logs):
    tracer = tracers().get_tracer("httpx")
    with tracer.start_as_current_span("outer") as outer:
        inner = tracer.start_span("GET \ud800", kind=trace.SpanKind.CLIENT, attributes={"secret": "canary"})
        told = [one.log_record for one in logs.get_finished_logs()]
        assert inner.is_recording()
    outer_id, inner_id = (f"{one.get_span_context().span_id:016x}" for one in (outer, inner))
    assert [(one.event_name, f"{one.span_id:016x}", dict(one.attributes)) for one in told] == [
        ("otel_stream.span_start", outer_id, {"otel_stream.scope.name": "httpx"}),
        ("otel_stream.span_start", inner_id, {"otel_stream.scope.name": "httpx"}),
    ]
    assert [json.loads(one.body) for one in told] == [
        {"spanId": outer_id, "name": "outer", "kind": 1},
        {"spanId": inner_id, "parentSpanId": outer_id, "name": "GET \ufffd", "kind": 3},
    ]
    assert [one.timestamp for one in told] == [outer.start_time, inner.start_time]
    assert [*LiveCheck(Registry()).logs(logs.get_finished_logs())] == []


def test_spans_of_graphs_and_those_that_are_not_sampled_are_left_out(tracers, logs):
    tracers().get_tracer(semconv.SCOPE).start_span("invoke_node plan")
    tracers(ALWAYS_OFF).get_tracer("httpx").start_span("GET")
    assert logs.get_finished_logs() == ()


def test_a_logger_that_fails_costs_the_program_nothing(caplog):
    class Broken(LoggerProvider):
        def get_logger(self, *args, **kwargs):
            raise RuntimeError("canary")

    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(processor := SpanStartProcessor(Broken(shutdown_on_exit=False)))
    for _ in range(2):
        tracers.get_tracer("httpx").start_span("GET").end()
    assert (processor.failures, len(caplog.records)) == (2, 1)


def test_configure_adds_it_where_everybodys_spans_are_asked_for(http_endpoint, otel_globals):
    handle = configure(endpoint=http_endpoint.url, starts="spans")
    with trace.get_tracer("httpx").start_as_current_span("GET"):
        assert handle.flush()
        assert [(one.event_name, len(http_endpoint.spans())) for one in http_endpoint.records()] == [
            ("otel_stream.span_start", 0)
        ]
    assert handle.shutdown()
