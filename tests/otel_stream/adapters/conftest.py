"""A fake of the model services: it speaks their protocol of server-sent events, on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class FakeService:
    """Answers every POST with ``events``: mappings, or text to be sent as it is.

    It says that it is a fake: in the header ``Server``.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        #: Go on with the last event until whoever asked hangs up.
        self.endless = False
        self.hung_up = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            server_version = "fake-model-service"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                try:
                    for event in service.script():
                        self.wfile.write(event)
                        self.wfile.flush()
                except OSError:
                    service.hung_up.set()

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def script(self) -> Iterator[bytes]:
        for event in self.events:
            yield encoded(event)
        while self.endless:
            yield encoded(self.events[-1])

    def close(self) -> None:
        self.endless = False
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def encoded(event: Any) -> bytes:
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


@pytest.fixture
def anyio_backend() -> str:
    # LangChain knows no other; and on trio the model clients leave generators behind even when used alone.
    return "asyncio"


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.close()
