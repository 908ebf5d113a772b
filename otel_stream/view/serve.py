"""The viewer's server: the page, its questions, and OTLP over HTTP and gRPC, on one event loop."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import uvicorn

from otel_stream.view import ingest, otlp_json
from otel_stream.view.api import Answers, application
from otel_stream.view.feed import Feed
from otel_stream.view.guard import Rules
from otel_stream.view.kept import Kept
from otel_stream.view.patience import Patient
from otel_stream.view.places import Claim, Listening, announce, withdraw
from otel_stream.view.writer import Writer

HTTP_PORT: Final = 4318
GRPC_PORT: Final = 4317
#: Where a token may be given, which is otherwise made anew each time.
TOKEN: Final = "OTEL_STREAM_VIEW_TOKEN"  # noqa: S105 - its name
#: Seconds that open requests have when the viewer is stopped.
_GRACE: Final = 3
_LOOPBACK: Final = "127.0.0.1"


class CannotServe(Exception):
    """The viewer cannot be started as asked for; one sentence with a remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a viewer is asked for.

    Attributes:
        folder: of the store.
        host: address to listen on; anything but loopback asks exporters for the token, too.
        port: of HTTP; 4318 if it is free and any otherwise, if it is None.
        grpc_port: the same of gRPC, with 4317.
        capacity: bytes that the store may take up.
        hosts: further names under which the page is reached, behind a proxy above all.
        backend: address of a trace in another backend, with ``{trace_id}`` in it.
        file: OTLP JSON lines to show instead of what is in the store; then nothing is taken.
    """

    folder: Path
    host: str = _LOOPBACK
    port: int | None = None
    grpc_port: int | None = None
    capacity: int = 2**30
    hosts: tuple[str, ...] = ()
    backend: str = ""
    file: Path | None = None


class _Server(uvicorn.Server):
    """Ends the streams of news before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.close()
        await super().shutdown(sockets)


async def serve(options: Options, ready: Callable[[Listening], None]) -> None:
    """Serve until the program is told to stop; ``ready`` is called when everything listens.

    Raises:
        CannotServe: not like this.
        Taken: another viewer writes into the folder.
        OSError: the folder cannot be used, or the file cannot be read.
    """
    with _place(options) as folder:
        kept = Kept(folder, options.capacity)
        try:
            damaged = load(kept.writer, options.file) if options.file is not None else 0
            await _Viewer(options, kept, damaged).serve(ready)
        finally:
            kept.close()


class _Viewer:
    """What listens, and what it answers from."""

    def __init__(self, options: Options, kept: Kept, damaged: int) -> None:
        self._options = options
        self._kept = kept
        self._damaged = damaged
        reachable = not _is_loopback(options.host)
        self._token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
        self._rules = Rules(
            self._token, (options.host, *options.hosts), exporters_too=reachable, addresses=reachable
        )
        self._intake = ingest.Intake(kept.writer) if options.file is None else None

    async def serve(self, ready: Callable[[Listening], None]) -> None:
        """Serve until the program is told to stop."""
        options, intake = self._options, self._intake
        sockets, port = _listen(options.host, options.port, HTTP_PORT if intake is not None else 0)
        shown = f"[{options.host}]" if ":" in options.host else options.host
        grpc = ingest.grpc_server(intake, self._rules) if intake is not None else None
        grpc_address = None
        if grpc is not None:
            grpc_address = f"{shown}:{_add_port(grpc, options.host, options.grpc_port)}"
            await grpc.start()
        listening = Listening(
            f"http://{shown}:{port}", grpc_address, self._token, os.getpid(), intake is not None
        )
        server = _Server(self._config(listening), self._kept.feed)
        if intake is not None:
            announce(options.folder, listening)
        ready(listening)
        try:
            await server.serve(sockets=sockets)
        finally:
            if intake is not None:
                withdraw(options.folder)
            if grpc is not None:
                await grpc.stop(_GRACE)

    def _config(self, listening: Listening) -> uvicorn.Config:
        answers = Answers(self._kept.reader, self._kept.feed, lambda _: self._about(listening))
        return uvicorn.Config(
            application(answers, self._intake, self._rules),
            log_config=None,
            access_log=False,
            lifespan="off",
            http=Patient,
            loop="asyncio",
            ws="none",
            server_header=False,
            limit_concurrency=512,
            timeout_graceful_shutdown=_GRACE,
        )

    def _about(self, listening: Listening) -> dict[str, Any]:
        options, counts = self._options, self._kept.writer.counts
        return {
            "http": listening.http,
            "grpc": listening.grpc,
            "takes": listening.takes,
            "capacity": options.capacity,
            "unplaced": counts.unplaced,
            "deleted": counts.deleted,
            "damaged": self._damaged,
            "file": None if options.file is None else options.file.name,
            "backend": options.backend,
            "listeners": self._kept.feed.listeners,
        }


@contextmanager
def _place(options: Options) -> Iterator[Path]:
    """Yield the folder of the store: a temporary one for a file."""
    if options.file is not None:
        with TemporaryDirectory(prefix="otel-stream-view-") as folder:
            yield Path(folder)
        return
    claim = Claim(options.folder)
    try:
        yield options.folder
    finally:
        claim.release()


def load(writer: Writer, file: Path) -> int:
    """Write what a file of OTLP JSON lines has; return how many lines could not be read.

    Raises:
        CannotServe: it has nothing to show.
        OSError: it cannot be read.
    """
    damaged = 0
    with file.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                writer.write(otlp_json.line(line))
            except (ValueError, RecursionError):
                damaged += 1
    counts = writer.counts
    if not counts.spans and not counts.logs:
        raise CannotServe(f"{str(file)!r} has no spans or log events: give a file of OTLP JSON lines")
    return damaged


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _listen(host: str, wanted: int | None, usual: int) -> tuple[list[socket.socket], int]:
    """Return sockets that listen, and their port: of IPv4 and IPv6, as ``localhost`` may be either."""
    hosts = ["::1"] if host in {_LOOPBACK, "localhost"} else []
    try:
        first = _bound(_LOOPBACK if host == "localhost" else host, usual if wanted is None else wanted)
    except OSError as error:
        if wanted is not None:
            reason = (error.strerror or str(error)).lower()
            raise CannotServe(
                f"--port: {wanted} of {host!r} cannot be used ({reason}); give another"
            ) from None
        first = _bound(host, 0)
    port = int(first.getsockname()[1])
    sockets = [first]
    for other in hosts:
        with suppress(OSError):  # no IPv6 here, or that port of it is taken
            sockets.append(_bound(other, port))
    return sockets, port


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, as asyncio sends at once (TCP_NODELAY) only what it knows to be TCP: answers came 40 ms late.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would share a port with another server
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.listen(128)
    return bound


def _add_port(server: Any, host: str, wanted: int | None) -> int:
    """Let a gRPC server listen; return its port."""
    address = f"[{host}]" if ":" in host else host
    for port in (wanted,) if wanted is not None else (GRPC_PORT, 0):
        with suppress(RuntimeError):
            return int(server.add_insecure_port(f"{address}:{port}"))
    raise CannotServe(f"--grpc-port: {wanted} of {host!r} cannot be used; give another")


def may_open_browser() -> bool:
    """Say whether a browser may be opened: somebody sits before this machine, and not in a text browser."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("CI") or not sys.stdout.isatty():
        return False
    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
