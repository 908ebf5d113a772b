"""Two gateways that balance load by trace id: traces are kept or dropped whole, and all of them counted."""

import random
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backends.ports import free
from tests.backends.collectors import Collector
from tests.backends.polling import eventually
from tests.backends.stores import Stack
from tests.otlp_servers import Endpoint, grpc_server

TRACES, SPANS, SECOND = 10_000, 3, 1_000_000_000
#: Keeps a tenth.
SHARE = "e6666666666666"
#: Standard deviations of a binomial. One run in 15,000 is further out by chance, but the ids never change.
SIGMAS = 4


class Traffic:
    """Traces of a root, a superstep and a node: one in a hundred failed, five in a hundred were slow."""

    def __init__(self) -> None:
        chance = random.Random(6)
        self.service = f"sampled-{uuid.uuid4()}"
        self.ids = [chance.randbytes(16) for _ in range(TRACES)]
        kinds = ["error"] * (TRACES // 100) + ["slow"] * (TRACES // 20)
        self.kinds = kinds + ["plain"] * (TRACES - len(kinds))
        chance.shuffle(self.kinds)
        self.start = time.time_ns() - 10 * SECOND

    def request(self, first: int, number: int, parts: range) -> ExportTraceServiceRequest:
        """Return some spans of some traces: part 0 is the root, 1 the superstep, 2 the node."""
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = self.service
        scope = resource.scope_spans.add()
        for index in range(first, first + number):
            seconds = 3 if self.kinds[index] == "slow" else 1
            for part in parts:
                span = scope.spans.add(trace_id=self.ids[index], span_id=bytes([part + 1] * 8), kind=1)
                span.name = ("invoke_workflow agent", "superstep", "invoke_node model")[part]
                span.parent_span_id = bytes([part] * 8) if part else b""
                span.start_time_unix_nano = self.start
                span.end_time_unix_nano = self.start + seconds * SECOND
                if part == 2 and self.kinds[index] == "error":
                    span.status.code = 2
        return request

    def log_events(self, number: int) -> ExportLogsServiceRequest:
        """Return a log event of each of the first traces."""
        request = ExportLogsServiceRequest()
        resource = request.resource_logs.add()
        resource.resource.attributes.add(key="service.name").value.string_value = self.service
        scope = resource.scope_logs.add()
        for trace_id in self.ids[:number]:
            record = scope.log_records.add(trace_id=trace_id, span_id=b"\1" * 8, event_name="graph.updates")
            record.time_unix_nano = self.start
            record.body.string_value = "{}"
        return request

    def in_share(self, trace_id: bytes) -> bool:
        return trace_id.hex()[18:] >= SHARE

    def expected(self) -> set[bytes]:
        return {
            trace_id
            for trace_id, kind in zip(self.ids, self.kinds, strict=True)
            if kind != "plain" or self.in_share(trace_id)
        }


@pytest.fixture
def kept() -> Iterator[Endpoint]:
    with grpc_server() as endpoint:
        yield endpoint


@pytest.fixture
def gateways(stack: Stack, collector: Any, kept: Endpoint) -> list[Collector]:
    ports = [free(), free()]
    shards = ", ".join(f"127.0.0.1:{one['shard']}" for one in ports)
    environment = {
        "OTEL_STREAM_SHARDS": f"[{shards}]",
        "OTEL_STREAM_KEEP_FROM": SHARE,
        "OTEL_STREAM_KEEP_LOGS_FROM": SHARE,
        "OTEL_STREAM_SLOW_MS": "2000",
        "OTEL_STREAM_DECISION_WAIT": "60s",
        "OTEL_STREAM_DECISION_WAIT_AFTER_ROOT": "6s",
        **stack.variables,
        f"OTEL_STREAM_{stack.traces_in.upper()}": kept.url.removeprefix("http://"),
    }
    return [
        collector(
            f"{stack.name}/gateway", one, OTEL_STREAM_GATEWAY_NAME=f"gateway-{number}", **environment
        ).start()
        for number, one in enumerate(ports)
    ]


def post(gateway: Collector, path: str, request: Any) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    sending = urllib.request.Request(gateway.endpoint + path, request.SerializeToString(), headers)
    with urllib.request.urlopen(sending, timeout=30) as response:
        assert response.status == 200


def test_what_matters_is_kept_whole_and_the_rest_by_its_share_and_all_is_counted(
    stack: Stack, gateways: list[Collector], kept: Endpoint
) -> None:
    traffic, step = Traffic(), 500
    for first in range(0, TRACES, step):
        # The spans of one trace reach different gateways, its root last, as it ends last.
        one, other = gateways if first % (2 * step) else reversed(gateways)
        post(one, "/v1/traces", traffic.request(first, step, range(1, SPANS)))
        post(other, "/v1/traces", traffic.request(first, step, range(1)))
    expected = traffic.expected()
    eventually(kept.spans, lambda spans: len(spans) >= SPANS * len(expected))

    arrived = Counter(span.trace_id for span in kept.spans())
    assert arrived.keys() == expected
    assert set(arrived.values()) == {SPANS}
    plain = [i for i, kind in zip(traffic.ids, traffic.kinds, strict=True) if kind == "plain"]
    deviation = (len(plain) * 0.1 * 0.9) ** 0.5
    assert abs(sum(i in arrived for i in plain) - len(plain) * 0.1) < SIGMAS * deviation

    calls = f'traces_span_metrics_calls_total{{service_name="{traffic.service}"}}'
    wanted = TRACES * SPANS
    assert eventually(lambda: stack.prometheus(f"sum({calls})"), lambda got: got == wanted) == wanted
    assert stack.prometheus(f"count(count by (service_instance_id) ({calls}))") == len(gateways)


def test_log_events_are_kept_by_the_same_share_whichever_gateway_sees_them(
    stack: Stack, gateways: list[Collector]
) -> None:
    traffic, number = Traffic(), 1000
    post(gateways[0], "/v1/logs", traffic.log_events(number))
    wanted = sorted(i.hex() for i in traffic.ids[:number] if traffic.in_share(i))
    assert 0 < len(wanted) < number
    got = eventually(lambda: stack.log_traces(traffic.service), lambda ids: len(ids) >= len(wanted))
    assert got == wanted
