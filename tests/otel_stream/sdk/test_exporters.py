"""OTLP JSON lines: what is written can be read back by protobuf's own rules, ids apart."""

import base64
import json
from threading import Thread

import pytest
from google.protobuf import json_format
from opentelemetry import trace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_stream.sdk import Counts, OtlpJsonFile, OtlpJsonSpanExporter, configure

KINDS = {
    "resourceSpans": ExportTraceServiceRequest,
    "resourceLogs": ExportLogsServiceRequest,
    "resourceMetrics": ExportMetricsServiceRequest,
}
IDS = ("traceId", "spanId", "parentSpanId")


def _read(path):
    """{kind: [request]}: every line parsed as OTLP JSON, that is, after turning its ids into base64."""
    found = {}
    for line in path.read_text().splitlines():
        data = json.loads(line)
        (kind,) = data
        _base64_ids(data)
        found.setdefault(kind, []).append(json_format.ParseDict(data, KINDS[kind]()))
    return found


def _base64_ids(node):
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in IDS:
            assert len(value) in (0, 16, 32)
            node[key] = base64.b64encode(bytes.fromhex(value)).decode()
        elif isinstance(value, dict | list):
            _base64_ids(value)


def test_a_run_is_written_to_a_file_that_otlp_readers_understand(tmp_path, run_something):
    path = tmp_path / "new" / "telemetry.jsonl"
    handle = configure("triage", path=path)
    run_something(nodes=2)
    assert handle.shutdown() is True
    found = _read(path)
    spans = [s for r in found["resourceSpans"] for x in r.resource_spans[0].scope_spans for s in x.spans]
    (workflow,) = [span for span in spans if span.name == "invoke_workflow triage"]
    (superstep,) = [span for span in spans if span.name == "superstep"]
    records = [x for r in found["resourceLogs"] for x in r.resource_logs[0].scope_logs[0].log_records]
    (metrics,) = found["resourceMetrics"]
    exemplars = [
        exemplar.trace_id
        for metric in metrics.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.histogram.data_points
        for exemplar in point.exemplars
    ]
    assert sorted(span.name for span in spans) == [
        "invoke_node n0",
        "invoke_node n1",
        "invoke_workflow triage",
        "superstep",
    ]
    assert superstep.parent_span_id == workflow.span_id
    assert {record.trace_id for record in records} | set(exemplars) == {workflow.trace_id}
    assert [record.event_name for record in records] == [
        "graph.run_start",
        "graph.updates",
        "graph.updates",
        "graph.run_end",
    ]
    assert handle.destination == str(path)


def test_ids_are_hexadecimal_and_enums_are_numbers(tmp_path, run_something):
    path = tmp_path / "telemetry.jsonl"
    configure(path=path)
    parent = trace.get_tracer("x").start_span("parent")
    link = trace.Link(parent.get_span_context())
    context = trace.set_span_in_context(parent)
    attributes = {"traceId": "AAECAwQFBgcICQoLDA0ODw=="}  # a user's attribute is no id
    trace.get_tracer("x").start_span("child", context, links=[link], attributes=attributes).end()
    configure().shutdown()
    (line,) = [line for line in path.read_text().splitlines() if "resourceSpans" in line]
    (span,) = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    ids = parent.get_span_context()
    trace_id, span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"
    assert (span["traceId"], span["parentSpanId"], span["kind"]) == (trace_id, span_id, 1)
    assert (span["links"][0]["traceId"], span["links"][0]["spanId"]) == (trace_id, span_id)
    assert span["attributes"] == [{"key": "traceId", "value": {"stringValue": attributes["traceId"]}}]


def test_lines_of_many_threads_stay_whole_and_old_ones_stay(tmp_path):
    path = tmp_path / "lines"
    path.write_text("old\n")
    file = OtlpJsonFile(path)
    lines = [str(number).encode() * 5_000 for number in range(8)]
    threads = [Thread(target=lambda line=line: [file.append(line) for _ in range(20)]) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.attach()
    file.detach()
    written = path.read_bytes().splitlines()
    assert written[0] == b"old"
    assert sorted(written[1:]) == sorted(lines * 20)


def test_the_file_is_closed_when_its_last_exporter_is(tmp_path):
    file = OtlpJsonFile(tmp_path / "x")
    first, second = OtlpJsonSpanExporter(file), OtlpJsonSpanExporter(file)
    for _ in range(2):
        first.shutdown()
    spans = [TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("one")]
    results = first.export(spans), second.export(spans)
    second.shutdown()
    assert results == (SpanExportResult.FAILURE, SpanExportResult.SUCCESS)
    assert file._file.closed


def test_a_disk_that_is_full_loses_telemetry_and_nothing_else(tmp_path, run_something, caplog, monkeypatch):
    handle = configure(path=tmp_path / "x")

    def full(self, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OtlpJsonFile, "append", full)
    run_something()
    assert handle.flush() is False
    assert handle.counts()["spans"] == Counts(3, 0, 3, 0)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "No space left on device" in said


def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path):
    with pytest.raises(OSError):
        configure(path=tmp_path)
