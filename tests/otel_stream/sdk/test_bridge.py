"""The specification's event to span event bridge, clause by clause."""

import logging

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from otel_stream.sdk import EventToSpanEventBridge


class Pipeline:
    def __init__(self, bridge=None, sampler=None):
        self.bridge = bridge or EventToSpanEventBridge()
        self.exported = InMemoryLogRecordExporter()
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(self.bridge)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.exported))
        self.logger = self.loggers.get_logger("the program")
        self.tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("the program")

    def span(self):
        span = self.tracer.start_span("work", context=Context())
        return span, set_span_in_context(span)

    def events(self, span):
        return [(event.name, event.timestamp, dict(event.attributes)) for event in span.events]


@pytest.fixture
def pipeline():
    return Pipeline()


def test_an_event_is_added_once_with_its_name_its_time_and_all_of_its_attributes(pipeline):
    span, context = pipeline.span()
    about = {"n": 1, "list": ["a", "b"], "nested": {"x": None}}
    pipeline.logger.emit(
        event_name="cache.miss",
        timestamp=17,
        observed_timestamp=18,
        context=context,
        attributes=about,
        body="x",
    )
    assert pipeline.events(span) == [("cache.miss", 17, {"n": 1, "list": ("a", "b"), "nested": {"x": None}})]


def test_without_a_timestamp_the_time_of_its_observation_is_taken(pipeline):
    span, context = pipeline.span()
    pipeline.logger.emit(event_name="e", observed_timestamp=18, context=context)
    assert pipeline.events(span) == [("e", 18, {})]


def test_the_record_goes_on_through_the_pipeline(pipeline):
    _, context = pipeline.span()
    pipeline.logger.emit(event_name="e", context=context, attributes={"n": 1}, body={"k": 1})
    (exported,) = pipeline.exported.get_finished_logs()
    record = exported.log_record
    assert (record.event_name, dict(record.attributes), record.body) == ("e", {"n": 1}, {"k": 1})


def test_the_current_span_is_found_if_no_context_is_given(pipeline):
    span, _ = pipeline.span()
    with trace.use_span(span):
        pipeline.logger.emit(event_name="e", timestamp=1)
    assert pipeline.events(span) == [("e", 1, {})]


@pytest.mark.parametrize("name", [None, ""])
def test_a_record_without_an_event_name_is_left_alone(pipeline, name):
    span, context = pipeline.span()
    pipeline.logger.emit(event_name=name, context=context, body="just a line")
    assert pipeline.events(span) == []


def test_a_span_that_has_ended_or_was_never_sampled_is_left_alone(caplog):
    for pipeline in (Pipeline(), Pipeline(sampler=ALWAYS_OFF)):
        span, context = pipeline.span()
        span.end()
        pipeline.logger.emit(event_name="e", context=context)
        assert list(getattr(span, "events", ())) == []
        assert len(pipeline.exported.get_finished_logs()) == 1
    assert caplog.records == []


@pytest.mark.parametrize("which", ["trace_id", "span_id"])
def test_an_event_that_names_another_span_is_left_alone(pipeline, which):
    span, context = pipeline.span()
    record = LogRecord(event_name="e", context=context)
    setattr(record, which, 0xABC)
    pipeline.logger.emit(record)
    assert pipeline.events(span) == []


@pytest.mark.parametrize("context", [Context(), set_span_in_context(trace.INVALID_SPAN)])
def test_an_event_outside_of_any_span_is_left_alone(pipeline, context):
    pipeline.logger.emit(event_name="e", context=context)
    assert (len(pipeline.exported.get_finished_logs()), pipeline.bridge.failures) == (1, 0)


def test_a_remote_span_is_left_alone(pipeline):
    remote = NonRecordingSpan(SpanContext(0xA, 0xB, is_remote=True))
    pipeline.logger.emit(event_name="e", context=set_span_in_context(remote))
    assert pipeline.bridge.failures == 0


@pytest.mark.parametrize(
    ("body", "text"), [("text", "text"), ({"n": [1, None]}, '{"n":[1,null]}'), (None, None)]
)
def test_the_body_becomes_an_attribute_only_if_it_is_asked_for(body, text):
    pipeline = Pipeline(EventToSpanEventBridge(body_attribute="event.body"))
    span, context = pipeline.span()
    pipeline.logger.emit(event_name="e", timestamp=1, context=context, body=body, attributes={"n": 1})
    expected = {"n": 1} if text is None else {"n": 1, "event.body": text}
    assert pipeline.events(span) == [("e", 1, expected)]


def test_ids_that_are_equal_and_invalid_are_no_match(pipeline):
    added = []

    class Odd(NonRecordingSpan):
        def is_recording(self):
            return True

        def add_event(self, *_):
            added.append("called")

    pipeline.logger.emit(event_name="e", context=set_span_in_context(Odd(trace.INVALID_SPAN_CONTEXT)))
    assert added == []


def test_a_span_that_raises_never_reaches_who_logs_and_is_reported_once(pipeline, caplog):
    class Broken(NonRecordingSpan):
        def is_recording(self):
            return True

        def add_event(self, *_):
            raise OSError("no room")

    context = set_span_in_context(Broken(SpanContext(0xA, 0xB, is_remote=False)))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            pipeline.logger.emit(event_name="e", context=context)
    assert (pipeline.bridge.failures, len(pipeline.exported.get_finished_logs())) == (3, 3)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(
        "Adding a log event to its span failed; more failures are counted, not logged: OSError"
    )
    assert "no room" not in said


def test_it_wants_records_only_where_a_span_is_recording():
    bridge = EventToSpanEventBridge()
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(bridge)
    logger = loggers.get_logger("x")
    span, context = Pipeline().span()
    assert logger.enabled(context=context, event_name="e") is True
    span.end()
    assert logger.enabled(context=context, event_name="e") is False
    assert logger.enabled(event_name="e") is False
    assert bridge.force_flush() is True
    bridge.shutdown()
