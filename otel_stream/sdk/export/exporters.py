"""Exporters to a file of OTLP JSON lines, the format of the Collector's ``otlpjsonfile`` receiver.

One line is one export request (``resourceSpans``, ``resourceLogs`` or ``resourceMetrics``) in
OTLP's JSON encoding, which is protobuf's JSON with two differences: ids are hexadecimal instead of
base64, and enums are numbers.
"""

from __future__ import annotations

import base64
import errno
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stream.forking import in_child
from otel_stream.sdk.configure.destinations import Signal
from otel_stream.sdk.export.answers import Answer
from otel_stream.sdk.export.delivery import Delivery
from otel_stream.sdk.export.encoding import ENCODINGS
from otel_stream.sdk.export.points import points
from otel_stream.sdk.versions import LogRecordExporter, LogRecordExportResult, ReadableLogRecord

_logger = logging.getLogger("otel_stream.sdk")

#: Seconds to wait for another process that writes to the same file: it may have been stopped.
PATIENCE: Final = 1.0
#: Locks of files, where the system has them.
_LOCKS: Final[Any] = import_module("fcntl") if find_spec("fcntl") is not None else None
#: Fields that protobuf holds as bytes and OTLP's JSON writes in hexadecimal. They occur in spans,
#: links, log records and exemplars, and nowhere else under these names: an attribute's key is the
#: value of a field ``key``, not a field.
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class OtlpJsonFile:
    """A file that several exporters append whole lines to, from any thread.

    Folders on the way to ``path`` are made; what the file already contains stays.

    Raises:
        OSError: the file cannot be opened for appending.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._start_anew()
        in_child(self._start_anew)
        # Unbuffered: one line is one write to a file in append mode, so that the lines of several
        # processes do not mix, and nothing is left behind in a buffer when the process is killed.
        # Readable, so that the end of the last line can be seen; a pipe and a device have none.
        self._is_file = self.path.is_file() or not self.path.exists()
        how = "a+b" if self._is_file else "ab"
        # It may hold content: a file that is made here is for its owner.
        self._file = open(self.path, how, buffering=0, opener=_for_the_owner)  # noqa: SIM115 - closed by detach
        self._users = 0

    def _start_anew(self) -> None:
        self._lock = Lock()

    def attach(self) -> None:
        """Register one more exporter; the last one to leave closes the file."""
        with self._lock:
            self._users += 1

    def detach(self) -> None:
        """Close the file if no other exporter uses it."""
        with self._lock:
            self._users -= 1
            if self._users <= 0:
                self._file.close()

    def append(self, line: bytes) -> None:
        """Write ``line`` and its end; first that of a half line, which a full disk or a crash left.

        Raises:
            OSError: the disk is full, or the like; a part of the line may have been written. The next one
                begins a new line, so that only this one is lost.
            ValueError: the file is closed.
        """
        with self._lock, self._alone() as alone:
            rest = memoryview((b"\n" if alone and self._ends_in_half_a_line() else b"") + line + b"\n")
            while rest:
                rest = rest[self._file.write(rest) :]

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the file against other processes; False: another writes, half of its line is no accident."""
        held = self._hold()
        try:
            yield held is not False
        finally:
            if held:
                _LOCKS.lockf(self._file, _LOCKS.LOCK_UN)

    def _hold(self) -> bool | None:
        """Return whether the file is ours for now; None where nobody can know."""
        if _LOCKS is None or not self._is_file:
            return None
        until = monotonic() + PATIENCE
        while True:
            try:
                _LOCKS.lockf(self._file, _LOCKS.LOCK_EX | _LOCKS.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EACCES, errno.EAGAIN}:  # a file system without locks
                    return None
                if monotonic() >= until:
                    return False
                sleep(0.001)
            else:
                return True

    def _ends_in_half_a_line(self) -> bool:
        size = os.fstat(self._file.fileno()).st_size if self._is_file else 0
        return size > 0 and self._byte(size - 1) != b"\n"

    def _byte(self, at: int) -> bytes:
        if hasattr(os, "pread"):  # where there is a fork: parent and child have one position in the file
            return os.pread(self._file.fileno(), 1, at)
        self._file.seek(at)
        found: bytes = self._file.read(1)
        return found


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def to_otlp_json(request: Message) -> bytes:
    """Return an OTLP export request as one line of OTLP JSON, without its end.

    Each item is turned into text by itself: of a whole batch there would be thousands of objects at once.
    """
    fields = request.ListFields()
    if not any(field.name in _MANY for field, _ in fields):
        data = MessageToDict(request, use_integers_for_enums=True)
        _hex_ids(data)
        return msgspec.json.encode(data)
    return msgspec.json.encode({field.json_name: _value(field, value) for field, value in fields})


#: The fields of a request that lead to its items, and those of its items.
_MANY: Final = frozenset(
    {"resource_spans", "scope_spans", "spans", "resource_logs", "scope_logs", "log_records"}
    | {"resource_metrics", "scope_metrics", "metrics"}
)


def _value(field: Any, value: Any) -> Any:
    if field.name in _MANY:
        return [msgspec.Raw(to_otlp_json(one)) for one in value]
    return value if field.message_type is None else MessageToDict(value, use_integers_for_enums=True)


def _hex_ids(node: Any) -> None:
    if isinstance(node, dict):
        for name in _IDS:
            value = node.get(name)
            if isinstance(value, str):
                node[name] = base64.b64decode(value).hex()
        for value in node.values():
            if isinstance(value, dict | list):
                _hex_ids(value)
    else:
        for value in node:
            if isinstance(value, dict | list):
                _hex_ids(value)


class _Line:
    """The sender that writes requests as lines, until it is closed."""

    retrying = False

    def __init__(self, file: OtlpJsonFile) -> None:
        self._file = file
        self._closed = False
        file.attach()

    def send(self, request: Message) -> Answer:
        if self._closed:
            return Answer(False, reason="The exporter is shut down.")
        try:
            self._file.append(to_otlp_json(request))
        except (OSError, ValueError) as error:
            return Answer(False, reason=f"Could not write to {self._file.path}: {error}")
        return Answer(True)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._file.detach()


def _delivery(signal: Signal, file: OtlpJsonFile) -> Delivery:
    delivery = Delivery(ENCODINGS[signal], _Line(file), None)
    delivery.book = _report
    return delivery


def _report(_: int, lost: int, reason: str) -> None:
    """Say what was lost, as long as there is no account to book it."""
    if lost:
        _logger.warning("Telemetry is lost: %s", reason)


class OtlpJsonSpanExporter(SpanExporter):
    """Appends spans to ``file``."""

    def __init__(self, file: OtlpJsonFile) -> None:
        self.delivery = _delivery("traces", file)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        written = self.delivery.deliver(spans)
        return SpanExportResult.SUCCESS if written else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.delivery.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class OtlpJsonLogExporter(LogRecordExporter):
    """Appends log records to ``file``."""

    def __init__(self, file: OtlpJsonFile) -> None:
        self.delivery = _delivery("logs", file)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        written = self.delivery.deliver(batch)
        return LogRecordExportResult.SUCCESS if written else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        self.delivery.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class OtlpJsonMetricExporter(MetricExporter):
    """Appends metrics to ``file``."""

    def __init__(self, file: OtlpJsonFile) -> None:
        super().__init__()
        self.delivery = _delivery("metrics", file)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        written = self.delivery.deliver(points(metrics_data))
        return MetricExportResult.SUCCESS if written else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.delivery.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True
