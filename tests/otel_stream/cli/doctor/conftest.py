"""Endpoints that answer in all the wrong ways, in the test's own process, and a doctor to send to them."""

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from otel_stream.cli.doctor import following
from otel_stream.cli.doctor.examination import Options, examine
from otel_stream.cli.doctor.findings import Report
from otel_stream.sdk.configure import setup
from otel_stream.telemetry import set_options
from tests.otlp_servers import grpc_server, http_server


@pytest.fixture(autouse=True)
def _fresh(otel_globals: None) -> Iterator[None]:
    yield
    if setup._State.handle is not None:
        setup._State.handle.shutdown(1)
    setup._State.handle = setup._State.arguments = None
    set_options(None)


@pytest.fixture(autouse=True)
def _no_ambient_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def http_endpoint() -> Iterator[Any]:
    with http_server() as endpoint:
        yield endpoint


@pytest.fixture
def grpc_endpoint() -> Iterator[Any]:
    with grpc_server() as endpoint:
        yield endpoint


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


@pytest.fixture(autouse=True)
def default_urls(monkeypatch: pytest.MonkeyPatch, refusing: int) -> dict[str, str]:
    """Backends that this machine may really have are none of a test's business: nothing answers there."""
    urls = {backend.name: f"http://127.0.0.1:{refusing}" for backend in following.BACKENDS}
    monkeypatch.setattr(following, "default_urls", lambda: urls)
    return urls


class Reply:
    """What an HTTP server answers: to all paths, or by ``paths``; ``headers`` it was sent are kept."""

    def __init__(self) -> None:
        self.status = 200
        self.paths: dict[str, int] = {}
        self.text = b""
        self.content_type = "application/x-protobuf"
        self.date = ""
        self.location = ""
        self.got: list[tuple[str, dict[str, str]]] = []
        self.url = ""
        self.port = 0


@contextmanager
def replying(context: ssl.SSLContext | None = None) -> Iterator[Reply]:
    reply = Reply()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response_only(reply.paths.get(self.path.partition("?")[0], reply.status))
            for name in ("content_type", "date", "location"):
                if getattr(reply, name):
                    self.send_header(name.replace("_", "-"), getattr(reply, name))
            self.send_header("Content-Length", str(len(reply.text)))
            self.end_headers()
            self.wfile.write(reply.text)

        do_POST = do_GET = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that breaks off a handshake is what some tests are about

        def finish_request(self, request: Any, client_address: Any) -> None:
            # Here, in the connection's own thread: one that sends nothing must not keep others waiting.
            if context is not None:
                request = context.wrap_socket(request, server_side=True)
            try:
                super().finish_request(request, client_address)
            finally:
                request.close()

    server = Server(("127.0.0.1", 0), Handler)
    reply.port = server.server_port
    reply.url = f"{'http' if context is None else 'https'}://127.0.0.1:{reply.port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield reply
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def replies() -> Iterator[Callable[..., Reply]]:
    """Start HTTP servers that answer what they are told to."""
    with ExitStack() as stack:
        yield lambda context=None: stack.enter_context(replying(context))


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    return context


@contextmanager
def traces_over_grpc(
    code: grpc.StatusCode | None = None, credentials: grpc.ServerCredentials | None = None
) -> Iterator[str]:
    """A gRPC server with the service for traces alone, which fails with ``code``."""

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            if code is not None:
                context.abort(code, "as told")
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def diagnose(tmp_path: Path) -> Callable[..., Report]:
    """Examine an endpoint, or what the environment says."""

    def run(endpoint: str | None = None, wait: float = 0, patience: float = 5, **backends: str) -> Report:
        options = Options(endpoint, backends, wait, patience, folder=tmp_path)
        return examine(options, lambda _: None)

    return run


def said(report: Report) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Return what is not all right: (check, state, signals, message)."""
    return [
        (one.check, one.verdict.state, one.signals, one.verdict.message)
        for one in report.findings
        if one.verdict.state in {"stop", "note"}
    ]
