"""Nodes in other processes: they note down by way of a socket, and export their spans to a file."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from tests.truth.build import Call, Notes, Noting
from tests.truth.rebuild import Document, document_of

#: Only this machine's processes of ours know the socket.
_KEY = b"truth"


class SharedNotes(Notes):
    """Notes that other processes add to, by way of a socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._connections: list[Connection] = []

    def __reduce__(self) -> Any:
        return (NotesElsewhere, (self._path,))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Take what is noted elsewhere."""
        with Listener(self._path, "AF_UNIX", authkey=_KEY) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                yield
            finally:
                for connection in self._connections:
                    _hang_up(connection)

    def _accept(self, listener: Listener) -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection = listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                name, args = connection.recv()
                connection.send(getattr(self, name)(*args))


def _hang_up(connection: Connection) -> None:
    """Let whoever receives from a connection come to its end."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


class NotesElsewhere(Noting):
    """What a worker has of ``SharedNotes``."""

    here = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._own = threading.local()

    def __reduce__(self) -> Any:
        return (NotesElsewhere, (self._path,))  # the worker of a worker

    def _note(self, name: str, *args: Any) -> Any:
        # Each thread has a connection: its answers are its own.
        if not hasattr(self._own, "connection"):
            self._own.connection = Client(self._path, "AF_UNIX", authkey=_KEY)
        self._own.connection.send((name, args))
        return self._own.connection.recv()

    def began(self, *about: Any) -> Call:
        noted: Call = self._note("began", *about)
        return noted

    def ended(self, *about: Any) -> None:
        self._note("ended", *about)

    def chose(self, *about: Any) -> None:
        self._note("chose", *about)

    def went(self, *about: Any) -> None:
        self._note("went", *about)

    def left(self, *about: Any) -> None:
        self._note("left", *about)

    def handled_by(self, *about: Any) -> None:
        self._note("handled_by", *about)


class TracerHere:
    """A tracer, which elsewhere is the one of the process there."""

    def __init__(self, tracer: Any) -> None:
        self.start_as_current_span = tracer.start_as_current_span

    def __reduce__(self) -> Any:
        return (_tracer_there, ())


def _tracer_there() -> TracerHere:
    return TracerHere(trace.get_tracer("the program"))


@dataclass(frozen=True)
class Exports:
    """What a worker calls first. Each span is a line of a file when it ends."""

    path: str

    def __call__(self) -> None:
        provider = TracerProvider(resource=Resource({"service.name": "elsewhere"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(_Lines(self.path)))
        trace.set_tracer_provider(provider)

    def take(self, read: int) -> tuple[list[Document], int]:
        """Return what is there from ``read`` bytes on, and how many there are."""
        path = Path(self.path)
        said = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in said[read:].splitlines()], len(said)


class _Lines(SpanExporter):
    def __init__(self, path: str) -> None:
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - as long as the process

    def export(self, spans: Any) -> SpanExportResult:
        self._file.write(json.dumps(document_of(encode_spans(spans))).encode() + b"\n")
        return SpanExportResult.SUCCESS
