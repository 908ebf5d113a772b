"""OTLP endpoints over gRPC and HTTP, in the test's own process: what was sent arrives as protobuf."""

import gzip
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

REQUESTS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
}


class Endpoint:
    """What arrived, by signal, as protobuf requests; ``status`` is what HTTP answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Any] = []
        self.status = 200

    def got(self, request: Any) -> None:
        self.requests.append(request)

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in getattr(request, "resource_spans", ())
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def records(self) -> list[Any]:
        return [
            record
            for request in self.requests
            for resource in getattr(request, "resource_logs", ())
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> set[str]:
        return {
            metric.name
            for request in self.requests
            for resource in getattr(request, "resource_metrics", ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def services(self) -> set[str]:
        return {
            attribute.value.string_value
            for request in self.requests
            for name in ("resource_spans", "resource_logs", "resource_metrics")
            for resource in getattr(request, name, ())
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of a span or log record as plain values."""
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in item.attributes}


@contextmanager
def http_server(prefix: str = "") -> Iterator[Endpoint]:
    """An OTLP endpoint that speaks HTTP with protobuf bodies; its paths begin with ``prefix``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                payload = gzip.decompress(payload)
            endpoint.got(REQUESTS[self.path.removeprefix(prefix)].FromString(payload))
            self.send_response(endpoint.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_server(answer: Callable[[str, Any, Any], Any] | None = None) -> Iterator[Endpoint]:
    """An OTLP endpoint that speaks gRPC; ``answer(path, request, context)`` may refuse, or say more."""
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    endpoint = Endpoint(f"http://127.0.0.1:{port}")

    def servicer(base: Any, response: Any) -> Any:
        class Servicer(base):  # type: ignore[misc]
            def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
                path = next(path for path, kind in REQUESTS.items() if isinstance(request, kind))
                said = answer and answer(path, request, context)
                endpoint.got(request)
                return said or response

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
    try:
        yield endpoint
    finally:
        server.stop(None).wait()
