"""A traced run with the program's own providers, and with ``configure()``; whichever OpenTelemetry it is."""

import json

import pytest

from tests.otlp_servers import grpc_server, http_server
from tests.versions.programs import GRAPH, OWN, run

SPANS = {
    "invoke_workflow triage": None,
    "superstep": "invoke_workflow triage",
    "invoke_node first": "superstep",
    "invoke_node second": "superstep",
}
LOGS = [
    ["graph.run_start", "invoke_workflow triage"],
    ["graph.values", "invoke_workflow triage"],
    ["graph.structure", "invoke_workflow triage"],
    ["graph.custom", "invoke_node first"],
    ["graph.updates", "invoke_node first"],
    ["graph.values", "invoke_workflow triage"],
    ["graph.updates", "invoke_node second"],
    ["graph.values", "invoke_workflow triage"],
    ["graph.run_end", "invoke_workflow triage"],
]
METRICS = {"gen_ai.invoke_workflow.duration", "graph.node.duration", "graph.run.active"}


def test_a_run_is_traced_by_the_programs_own_providers(tmp_path):
    seen = run(
        GRAPH,
        OWN,
        """
        trace.set_tracer_provider(tracers := TracerProvider(resource=resource))
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        _logs.set_logger_provider(loggers := LoggerProvider(resource=resource))
        loggers.add_log_record_processor(export.SimpleLogRecordProcessor(logs))
        metrics.set_meter_provider(MeterProvider([reader], resource=resource))
        graph.invoke({"x": 1})
        show()
        """,
        cwd=tmp_path,
    )
    assert seen["spans"] == SPANS
    assert seen["logs"] == LOGS
    assert set(seen["metrics"]) >= METRICS


def test_processors_stand_between_the_programs_own_providers_and_exporters(tmp_path):
    seen = run(
        GRAPH,
        OWN,
        """
        from otel_stream import OverflowPolicy, StreamConfig
        from otel_stream.sdk import (
            EventToSpanEventBridge, KeepErrors, SampledLogFilter, StreamLogProcessor, TailSamplingProcessor,
        )
        again = StreamLogProcessor()
        receiver = again.subscribe(StreamConfig(modes="custom"))
        tail = TailSamplingProcessor(
            SimpleSpanProcessor(spans), export.SimpleLogRecordProcessor(logs), [KeepErrors()]
        )
        trace.set_tracer_provider(tracers := TracerProvider())
        tracers.add_span_processor(tail)
        _logs.set_logger_provider(loggers := LoggerProvider())
        for processor in (EventToSpanEventBridge(), again, SampledLogFilter(tail.logs)):
            loggers.add_log_record_processor(processor)
        graph.invoke({"x": 1})
        try:
            graph.invoke({"x": 10})
        except KeyError:
            pass
        tracers.force_flush(); loggers.force_flush()
        assert receiver.statistics().offered == 2
        show()
        """,
        cwd=tmp_path,
        env={"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"},
    )
    assert seen["spans"] == SPANS
    assert ["graph.custom", "invoke_node first"] in seen["logs"]
    assert [name for name, _ in seen["logs"]].count("graph.run_end") == 1
    assert "graph.custom" in seen["span_events"]


def test_a_run_that_is_not_sampled_exports_neither_spans_nor_log_events(tmp_path):
    seen = run(
        GRAPH,
        OWN,
        """
        from otel_stream.sdk import SampledLogFilter
        trace.set_tracer_provider(tracers := TracerProvider(sampler=ALWAYS_OFF))
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        _logs.set_logger_provider(loggers := LoggerProvider())
        loggers.add_log_record_processor(SampledLogFilter(export.SimpleLogRecordProcessor(logs)))
        metrics.set_meter_provider(MeterProvider([reader]))
        graph.invoke({"x": 1})
        show()
        """,
        cwd=tmp_path,
    )
    assert (seen["spans"], seen["logs"]) == ({}, [])
    assert set(seen["metrics"]) >= METRICS


@pytest.mark.parametrize(("protocol", "server"), [("http/protobuf", http_server), ("grpc", grpc_server)])
def test_a_run_arrives_whole_where_configure_sends_it(tmp_path, protocol, server):
    with server() as endpoint:
        told = run(
            GRAPH,
            f"""
            from otel_stream import configure
            handle = configure("triage", endpoint={endpoint.url!r}, protocol={protocol!r})
            graph.invoke({{"x": 1}})
            arrived = handle.shutdown()
            print(json.dumps([handle.owned, arrived, {{k: c.lost for k, c in handle.counts().items()}}]))
            """,
            cwd=tmp_path,
        )
        assert told == [True, True, {"spans": 0, "logs": 0, "metrics": 0}]
        names = {span.span_id: span.name for span in endpoint.spans()}
        assert {span.name: names.get(span.parent_span_id) for span in endpoint.spans()} == SPANS
        assert [[one.event_name, names.get(one.span_id)] for one in endpoint.records()] == LOGS
        assert endpoint.metrics() >= METRICS


def test_states_are_rebuilt_from_the_file_that_configure_writes(tmp_path):
    told = run(
        GRAPH,
        """
        from otel_stream import configure
        from otel_stream.replay import replay
        handle = configure("triage", path="t.jsonl", capture_content=True)
        for _ in range(5):
            graph.invoke({"x": 1})
        handle.shutdown()
        found = replay("t.jsonl")
        print(json.dumps([[part.data for part in one.parts if part.type == "values"] for one in found.runs]))
        """,
        cwd=tmp_path,
    )
    assert told == [[{"x": 1}, {"x": 2}, {"x": 4}]] * 5
    kinds = {next(iter(json.loads(line))) for line in (tmp_path / "t.jsonl").read_text().splitlines()}
    assert kinds == {"resourceSpans", "resourceLogs", "resourceMetrics"}
