"""An OTLP endpoint that keeps what it is sent, and says how long it was."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


@dataclass(slots=True)
class Received:
    """The requests of some time, as bytes, by their path."""

    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def bytes(self, path: str) -> int:
        """Return how long the requests of one signal were together."""
        return sum(len(body) for where, body in self.requests if where == path)

    def spans(self) -> list[Any]:
        """Return the spans in the order in which they started."""
        found = [
            span
            for request in self._read("/v1/traces")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: (span.start_time_unix_nano, span.end_time_unix_nano))

    def records(self) -> list[Any]:
        """Return the log records as they came."""
        return [
            record
            for request in self._read("/v1/logs")
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def lengths(self) -> dict[str, int]:
        """Return how long the log records are together, by the name of their event."""
        found: dict[str, int] = {}
        for record in self.records():
            found[record.event_name] = found.get(record.event_name, 0) + record.ByteSize()
        return found

    def metrics(self) -> list[str]:
        """Return the names of the metrics."""
        found = {
            metric.name
            for request in self._read("/v1/metrics")
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        return sorted(found)

    def mention(self, text: str) -> bool:
        """Say whether a text stands anywhere in what was exported."""
        return any(text.encode() in body for _, body in self.requests)

    def _read(self, path: str) -> list[Any]:
        return [KINDS[path].FromString(body) for where, body in self.requests if where == path]


class Sink:
    """The endpoint; used as a context manager."""

    def __init__(self) -> None:
        self._received = Received()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink._received.requests.append((self.path, body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def taken(self) -> Received:
        """Return what came since the last time."""
        received, self._received = self._received, Received()
        return received
