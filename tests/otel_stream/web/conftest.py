"""A server of the graph that clients drive, over real sockets; and a way to it that is cut once."""

import re
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from itertools import islice

import pytest
import uvicorn
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_stream.web import create_app
from tests.otel_stream.web import graphs


class Server(uvicorn.Server):
    """Runs in a thread of its own until it is told to stop."""

    def __init__(self, app):
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5)
        super().__init__(config)
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self.run)

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self._begun.set()

    def __enter__(self):
        self._thread.start()
        assert self._begun.wait(30)
        self.port = self.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def serving(otel_globals):
    """Serve what is given, the graph of ours unless told otherwise; texts of errors are shown."""

    @contextmanager
    def serve(graph=None, **options):
        app = create_app(graphs.ours() if graph is None else graph, **{"show_errors": True, **options})
        with Server(app) as server:
            server.app = app
            try:
                yield server
            finally:
                app.state.hub.end_streams()

    return serve


@pytest.fixture
def traced(otel_globals):
    """Runs have traces."""
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))


#: An event of a protocol that numbers them, and of one that does not.
PLAIN = re.compile(rb"data: [^\n]*\n\n")
EVENT = re.compile(rb"\r\nid: \d+\r\n(?:traceparent: \S+\r\n)?\r\n")


class Cutting(socketserver.ThreadingTCPServer):
    """A way to a server; the first stream that comes back is cut behind its ``after``-th event."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port, after, event):
        super().__init__(("127.0.0.1", 0), Pipe)
        self.to, self.after, self.event = port, after, event
        self.cut = threading.Event()
        #: The first line and Last-Event-ID of every request.
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Pipe(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:
            threading.Thread(target=self.forth, args=(there,), daemon=True).start()
            with suppress(OSError):
                self.back(there)

    def forth(self, there):
        with suppress(OSError):
            while got := self.request.recv(65536):
                if re.match(rb"[A-Z]+ /", got):
                    last = re.search(rb"(?i)last-event-id: *([-\d]+)", got)
                    self.server.asked.append((got.split(b" HTTP")[0].decode(), last and int(last[1])))
                there.sendall(got)
            there.shutdown(socket.SHUT_WR)

    def back(self, there):
        text, sent = b"", 0
        while got := there.recv(65536):
            text += got
            ends = (
                ()
                if self.server.cut.is_set() or b"text/event-stream" not in text
                else self.server.event.finditer(text)
            )
            at = next(islice((end.end() for end in ends), self.server.after - 1, None), None)
            if at is not None:
                self.server.cut.set()
            self.request.sendall(text[sent:at])
            if at is not None:
                self.request.shutdown(socket.SHUT_RDWR)
                return
            sent = len(text)


@pytest.fixture
def cutting():
    made = []

    def make(server, after, event=EVENT):
        made.append(Cutting(server.port, after, event))
        threading.Thread(target=made[-1].serve_forever, daemon=True).start()
        return made[-1]

    yield make
    for one in made:
        one.shutdown()
        one.server_close()
