"""What the Collector hands on to each pair of stores, seen by OTLP endpoints that stand in their place."""

import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from dashboards.collectors import COLLECTORS
from dashboards.stores import Stores
from dashboards.stores.both import BOTH
from tests.backends.collectors import Collector
from tests.backends.polling import eventually
from tests.backends.spans import of_protobuf
from tests.backends.tee import tee
from tests.otlp_servers import Endpoint, attributes, grpc_server, http_server

#: Where a store of log events takes OTLP, before /v1/logs.
PREFIXES = {"loki": "/otlp", "victorialogs": "/insert/opentelemetry"}


@pytest.fixture(params=BOTH, ids=lambda stores: stores.name)
def stores(request: Any) -> Stores:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def traces() -> Iterator[Endpoint]:
    with grpc_server() as endpoint:
        yield endpoint


@pytest.fixture
def logs(stores: Stores) -> Iterator[Endpoint]:
    with http_server(PREFIXES[stores.name.partition("-")[2]]) as endpoint:
        yield endpoint


@pytest.fixture(params=COLLECTORS)
def in_front(request: Any, stores: Stores, traces: Endpoint, logs: Endpoint, collector: Any) -> Collector:
    """Start the Collector that is in front of the stores."""
    store, store_of_logs = stores.name.upper().split("-")
    variables = {
        f"OTEL_STREAM_{store}": traces.url.removeprefix("http://"),
        f"OTEL_STREAM_{store_of_logs}": logs.url,
    }
    started: Collector = collector(f"{stores.name}/{request.param}", **variables).start()
    return started


def test_a_run_is_handed_on_as_it_was_sent(
    in_front: Collector, traces: Endpoint, logs: Endpoint, demo: Any
) -> None:
    with tee(in_front.endpoint) as passed:
        run = demo(passed.endpoint, "--limit", 3).finish()
    sent = passed.spans()
    assert run.exported == {"spans": len(sent), "logs": len(passed.logs())}
    eventually(traces.spans, lambda spans: len(spans) >= len(sent))
    assert sorted(span for request in traces.requests for span in of_protobuf(request)) == sent
    records = eventually(logs.records, lambda found: len(found) >= run.exported["logs"])
    told = [(one.time_unix_nano, one.event_name, one.span_id.hex(), one.body.string_value) for one in records]
    assert sorted(told) == passed.logs()


def test_each_store_of_log_events_gets_what_it_would_lose(
    stores: Stores, in_front: Collector, logs: Endpoint
) -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add(trace_id=uuid.uuid4().bytes)
    record.time_unix_nano, record.event_name = time.time_ns(), "graph.route"
    headers = {"Content-Type": "application/x-protobuf"}
    sending = urllib.request.Request(f"{in_front.endpoint}/v1/logs", request.SerializeToString(), headers)
    with urllib.request.urlopen(sending, timeout=10) as response:
        assert response.status == 200
    (got,) = eventually(logs.records)
    said = (attributes(got), got.body.string_value)
    assert (
        said
        == {
            "tempo-loki": ({"event.name": "graph.route"}, ""),
            "jaeger-victorialogs": ({}, "graph.route"),
        }[stores.name]
    )
