"""OTLP endpoints over gRPC and HTTP in the test's own process, and a program that is observed."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from otel_stream import events as e
from otel_stream.events import End, Run, Task
from otel_stream.modes import StreamPart
from otel_stream.sdk import setup
from otel_stream.telemetry import consumer_for_run, set_options

REQUESTS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}


@pytest.fixture(autouse=True)
def _fresh(otel_globals):
    yield
    if setup._State.handle is not None:
        setup._State.handle.shutdown(1)
    setup._State.handle = setup._State.arguments = None
    set_options(None)


class Endpoint:
    """What arrived, by signal, as protobuf requests; ``status`` is what HTTP answers."""

    def __init__(self, url):
        self.url = url
        self.requests = []
        self.status = 200

    def got(self, request):
        self.requests.append(request)

    def spans(self):
        return [
            span
            for request in self.requests
            for resource in getattr(request, "resource_spans", ())
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def records(self):
        return [
            record
            for request in self.requests
            for resource in getattr(request, "resource_logs", ())
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self):
        return {
            metric.name
            for request in self.requests
            for resource in getattr(request, "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def services(self):
        return {
            attribute.value.string_value
            for request in self.requests
            for name in ("resource_spans", "resource_logs", "resource_metrics")
            for resource in getattr(request, name, ())
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


@pytest.fixture
def http_endpoint():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            payload = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.got(REQUESTS[self.path].FromString(payload))
            self.send_response(endpoint.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield endpoint
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def grpc_endpoint():
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    endpoint = Endpoint(f"http://127.0.0.1:{port}")

    def servicer(base, response):
        class Servicer(base):
            def Export(self, request, context):  # noqa: N802 - gRPC's name
                endpoint.got(request)
                return response

        return Servicer()

    logs, metrics, traces = logs_service_pb2, metrics_service_pb2, trace_service_pb2
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        servicer(logs_service_pb2_grpc.LogsServiceServicer, logs.ExportLogsServiceResponse()), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        servicer(metrics_service_pb2_grpc.MetricsServiceServicer, metrics.ExportMetricsServiceResponse()),
        server,
    )
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        servicer(trace_service_pb2_grpc.TraceServiceServicer, traces.ExportTraceServiceResponse()), server
    )
    server.start()
    yield endpoint
    server.stop(None).wait()


@pytest.fixture
def nobody():
    """An address that refuses connections: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def observed_run(nodes=1):
    """One run of ``nodes`` nodes in one superstep: 2 + ``nodes`` spans, ``nodes`` log events."""
    consumer = consumer_for_run()
    run = Run("run-1", "triage", context=copy_context())
    now = 1_700_000_000_000_000_000
    consumer.on_event(e.RunStarted(run, {}, False, now))
    tasks = tuple(Task(run, f"n{i}", 1, id=f"task-{i}") for i in range(nodes))
    consumer.on_event(e.SuperstepStarted(run, 1, tasks, now))
    for number, task in enumerate(tasks):
        consumer.on_event(e.TaskStarted(task, now))
        event = e.TaskEnded(task, End.OK, {"x": 1}, {"x": 1}, None, (), False, now)
        consumer.on_event(event)
        part = StreamPart("updates", (), {task.node: {"x": 1}}, number, now, "run-1", "triage", 1)
        if "updates" in consumer.modes:
            consumer.on_part(part, event)
    consumer.on_event(e.SuperstepEnded(run, 1, End.OK, frozenset(), now))
    consumer.on_event(e.RunEnded(run, End.OK, {}, None, (), 1, now))


@pytest.fixture
def run_something():
    return observed_run


@pytest.fixture
def http_and_grpc(http_endpoint, grpc_endpoint):
    return {"http/protobuf": http_endpoint, "grpc": grpc_endpoint}
