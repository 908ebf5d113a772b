"""An OTLP endpoint that keeps what passes: the truth that backends are compared with."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.backends import spans
from tests.backends.spans import Seen
from tests.backends.stores import Logged
from tests.otlp_servers import REQUESTS


class Passed:
    """What went through, as it was sent."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.requests: list[Any] = []

    def spans(self) -> list[Seen]:
        return sorted(
            span
            for request in self.requests
            if hasattr(request, "resource_spans")
            for span in spans.of_protobuf(request)
        )

    def logs(self) -> list[Logged]:
        return sorted(
            Logged(record.time_unix_nano, record.event_name, record.span_id.hex(), record.body.string_value)
            for request in self.requests
            for resource in getattr(request, "resource_logs", ())
            for scope in resource.scope_logs
            for record in scope.log_records
        )


@contextmanager
def tee(target: str) -> Iterator[Passed]:
    """Hand everything on to ``target``, and answer what it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers["Content-Length"]))
            request = urllib.request.Request(
                target + self.path, payload, {"Content-Type": "application/x-protobuf"}
            )
            with urllib.request.urlopen(request, timeout=10) as response:
                status, answer = response.status, response.read()
            passed.requests.append(REQUESTS[self.path].FromString(payload))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    passed = Passed(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield passed
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
