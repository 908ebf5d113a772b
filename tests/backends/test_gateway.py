"""A run under gateway.yaml: the same in its stores as it was sent, and no less of it."""

import time
import urllib.request
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.backends import spans
from tests.backends.conftest import Demo
from tests.backends.polling import eventually
from tests.backends.stores import Logged, Stack
from tests.backends.tee import Passed, tee


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    (root / "a.py").write_text("import os\n\ndef f(a=[]):\n    os.system(a)\n")
    (root / "b.py").write_text("def one(): return 1\n\ndef two(): return 2\n")
    (root / "broken.py").write_text("def f(:\n")
    return root


@pytest.fixture
def passed(stack: Stack) -> Iterator[Passed]:
    with tee(stack.endpoint) as through:
        yield through


@pytest.fixture
def service() -> str:
    """A name by which the metrics of one run can be told from those of another."""
    return f"audit-{uuid.uuid4()}"


@pytest.fixture
def run(passed: Passed, demo: Any, source: Path, service: str) -> Demo:
    """A run with attempts that failed, and were repeated."""
    return demo(passed.endpoint, source, "--chaos", 0.4, "--seed", 7, OTEL_SERVICE_NAME=service).finish()


def test_a_run_is_the_same_in_its_stores_as_it_was_sent_and_as_it_says(
    run: Demo, passed: Passed, stack: Stack
) -> None:
    sent, logged = passed.spans(), passed.logs()
    assert run.lost == {"spans": 0, "logs": 0}
    assert run.exported == {"spans": len(sent), "logs": len(logged)}
    assert {span.trace_id for span in sent} == {run.trace_id}
    assert {span.status for span in sent} == {0, 2}
    assert any(span.links for span in sent)

    assert eventually(lambda: stack.traces(run.trace_id), lambda got: len(got) == len(sent)) == sent
    assert eventually(lambda: stack.logs(run.trace_id), lambda got: len(got) == len(logged)) == logged


def test_exemplars_lead_to_spans_that_the_store_has(
    run: Demo, passed: Passed, stack: Stack, service: str
) -> None:
    by_histogram = {
        name: eventually(partial(stack.exemplars, f'{name}{{service_name="{service}"}}'))
        for name in (
            "gen_ai_invoke_workflow_duration_seconds_bucket",
            "graph_superstep_duration_seconds_bucket",
            "graph_node_duration_seconds_bucket",
            "traces_span_metrics_duration_seconds_bucket",
        )
    }
    sent = passed.spans()
    kept = eventually(lambda: stack.traces(run.trace_id), lambda got: len(got) == len(sent))
    there = {(span.trace_id, span.span_id) for span in kept}
    assert [name for name, ids in by_histogram.items() if not ids] == []
    assert {name: ids - there for name, ids in by_histogram.items() if ids - there} == {}


def test_metrics_count_what_the_trace_shows(run: Demo, passed: Passed, stack: Stack, service: str) -> None:
    sent = passed.spans()
    expected = {
        "traces_span_metrics_calls_total": len(sent),
        "traces_span_metrics_duration_seconds_count": len(sent),
        "graph_superstep_duration_seconds_count": sum(span.name == "superstep" for span in sent),
        "graph_node_duration_seconds_count": sum(span.name.startswith("invoke_node ") for span in sent),
        "graph_node_retries_total": sum(span.name == "attempt" and span.status == 2 for span in sent),
        "graph_run_active": 0,
    }
    assert expected["graph_node_retries_total"] > 0

    def counted() -> dict[str, float]:
        mine = f'{{service_name="{service}"}}'
        return {name: stack.prometheus(f"sum({name}{mine})") for name in expected}

    assert eventually(counted, lambda got: got == expected) == expected


def test_links_events_and_texts_pass_unchanged_and_credentials_do_not(stack: Stack) -> None:
    trace_id, other = bytes.fromhex("5b" * 15 + "01"), bytes.fromhex("5b" * 15 + "02")
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    service = resource.resource.attributes.add(key="service.name")
    service.value.string_value = "links"
    scope = resource.scope_spans.add()
    root = scope.spans.add(trace_id=trace_id, span_id=b"\1" * 8, name="invoke_workflow w", kind=1)
    child = scope.spans.add(trace_id=trace_id, span_id=b"\2" * 8, parent_span_id=b"\1" * 8, name="n", kind=1)
    for number, span in enumerate((root, child)):
        span.start_time_unix_nano = 1_700_000_000_000_000_000 + number
        span.end_time_unix_nano = 1_700_000_001_000_000_000 - number
    child.links.add(trace_id=other, span_id=b"\3" * 8)
    child.links.add(trace_id=trace_id, span_id=b"\1" * 8)
    child.status.code, child.status.message = 2, "no such file"
    sent = spans.of_protobuf(request)
    leaked = root.attributes.add(key="note")
    leaked.value.string_value = "key sk-abcdefghijklmnopqrstuvwx is bad"

    post(stack, "/v1/traces", request)
    got = eventually(lambda: stack.traces(trace_id.hex()), lambda spans: len(spans) == 2)
    notes = dict(got[0].attributes)
    assert notes["note"] == "key **** is bad"
    assert [span._replace(attributes=()) for span in got] == sent


def test_a_log_event_without_a_body_has_its_name_and_a_message_if_the_store_wants_one(stack: Stack) -> None:
    trace_id, now = uuid.uuid4().bytes, time.time_ns()
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "bare"
    record = resource.scope_logs.add().log_records.add(
        trace_id=trace_id, span_id=b"\1" * 8, time_unix_nano=now
    )
    record.event_name = "graph.route"
    post(stack, "/v1/logs", request)
    message = {"victorialogs": "graph.route", "loki": ""}[stack.logs_in]
    got = eventually(lambda: stack.logs(trace_id.hex()))
    assert got == [Logged(now, "graph.route", "01" * 8, message)]


def post(stack: Stack, path: str, request: Any) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    sending = urllib.request.Request(stack.endpoint + path, request.SerializeToString(), headers)
    with urllib.request.urlopen(sending, timeout=10) as response:
        assert response.status == 200
