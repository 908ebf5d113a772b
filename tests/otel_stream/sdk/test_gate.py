"""Log records follow the sampling of their span."""

import logging
import os

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from otel_stream.sdk import SampledLogFilter


class RecordOnly(Sampler):
    def should_sample(self, *_, **__):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


def in_span(sampler):
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("x")
    return set_span_in_context(tracer.start_span("s", context=Context()))


NO_SPAN = set_span_in_context(INVALID_SPAN)


class Pipeline:
    def __init__(self, next=None, **settings):
        self.exported = InMemoryLogRecordExporter()
        self.gate = SampledLogFilter(next or SimpleLogRecordProcessor(self.exported), **settings)
        loggers = LoggerProvider(shutdown_on_exit=False)
        loggers.add_log_record_processor(self.gate)
        self.logger = loggers.get_logger("x")

    def bodies(self):
        return [log.log_record.body for log in self.exported.get_finished_logs()]


@pytest.mark.parametrize(
    ("sampler", "passes"), [(ALWAYS_ON, True), (ALWAYS_OFF, False), (RecordOnly(), False)]
)
def test_a_record_passes_if_its_span_is_sampled(sampler, passes):
    pipeline = Pipeline()
    context = in_span(sampler)
    assert pipeline.logger.enabled(context=context) is passes
    pipeline.logger.emit(body="a", context=context)
    pipeline.logger.emit(body="b", context=context)
    assert pipeline.bodies() == (["a", "b"] if passes else [])
    assert pipeline.gate.held_back == (0 if passes else 2)


@pytest.mark.parametrize("keep", [True, False])
def test_a_record_without_a_span_passes_if_that_is_wanted(keep):
    pipeline = Pipeline(keep_without_span=keep)
    assert pipeline.logger.enabled(context=NO_SPAN) is keep
    assert pipeline.logger.enabled() is keep
    pipeline.logger.emit(body="a", context=NO_SPAN)
    assert (pipeline.bodies(), pipeline.gate.held_back) == ((["a"], 0) if keep else ([], 1))


def test_the_current_span_counts_if_no_context_is_given():
    pipeline = Pipeline()
    with trace.use_span(trace.get_current_span(in_span(ALWAYS_OFF))):
        assert pipeline.logger.enabled() is False
        pipeline.logger.emit(body="a")
    assert pipeline.gate.held_back == 1


class Next(LogRecordProcessor):
    def __init__(self):
        self.said = []

    def on_emit(self, log_record):
        raise OSError("disk")

    def enabled(self, **about):
        self.said.append(about)
        return False

    def shutdown(self):
        self.said.append("shutdown")

    def force_flush(self, timeout_millis=30_000):
        self.said.append(("flush", timeout_millis))
        return False


def test_the_next_processor_is_asked_only_about_what_would_pass():
    pipeline = Pipeline(Next())
    assert pipeline.logger.enabled(context=in_span(ALWAYS_OFF), event_name="e") is False
    assert pipeline.gate._next.said == []
    context = in_span(ALWAYS_ON)
    assert pipeline.logger.enabled(context=context, event_name="e") is False
    (asked,) = pipeline.gate._next.said
    assert (asked["context"], asked["event_name"]) == (context, "e")


def test_it_flushes_and_shuts_down_what_is_behind_it():
    pipeline = Pipeline(Next())
    assert pipeline.gate.force_flush(7) is False
    pipeline.gate.shutdown()
    assert pipeline.gate._next.said == [("flush", 7), "shutdown"]


def test_a_next_processor_that_raises_never_reaches_who_logs(caplog):
    pipeline = Pipeline(Next())
    with caplog.at_level(logging.WARNING):
        pipeline.logger.emit(body="a", context=NO_SPAN)
        pipeline.logger.emit(body="b", context=NO_SPAN)
    assert pipeline.gate.failures == 2
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Next.on_emit failed; more failures are counted, not logged: OSError in on_emit (")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_counts_leaves_the_child_free():
    pipeline = Pipeline()
    context = in_span(ALWAYS_OFF)
    pipeline.logger.emit(context=context)
    with pipeline.gate._lock:  # as another thread would hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            pipeline.logger.emit(context=context)
            os._exit(0 if pipeline.gate.held_back == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pipeline.gate.held_back == 1
