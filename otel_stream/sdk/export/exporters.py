"""Exporters to a file of OTLP JSON lines, the format of the Collector's ``otlpjsonfile`` receiver.

One line is one export request (``resourceSpans``, ``resourceLogs`` or ``resourceMetrics``) in
OTLP's JSON encoding, which is protobuf's JSON with two differences: ids are hexadecimal instead of
base64, and enums are numbers.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stream.sdk.versions import LogRecordExporter, LogRecordExportResult, ReadableLogRecord

_logger = logging.getLogger(__name__)

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
        self._lock = Lock()
        # Unbuffered: one line is one write to a file in append mode, so that the lines of several
        # processes do not mix, and nothing is left behind in a buffer when the process is killed.
        self._file = self.path.open("ab", buffering=0)
        self._users = 0

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
        """Write ``line`` and its end.

        Raises:
            OSError: the disk is full, or the like; a part of the line may have been written.
            ValueError: the file is closed.
        """
        rest = memoryview(line + b"\n")
        with self._lock:
            while rest:
                rest = rest[self._file.write(rest) :]


def to_otlp_json(request: Message) -> bytes:
    """Return an OTLP export request as one line of OTLP JSON, without its end."""
    data = MessageToDict(request, use_integers_for_enums=True)
    _hex_ids(data)
    return msgspec.json.encode(data)


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


class _Lines:
    """What the three exporters have in common: they write lines until they are shut down."""

    def __init__(self, file: OtlpJsonFile) -> None:
        self._lines = file
        self._closed = False
        file.attach()

    def write(self, request: Message) -> bool:
        if self._closed:
            return False
        try:
            self._lines.append(to_otlp_json(request))
        except (OSError, ValueError) as error:
            _logger.warning("Could not write telemetry to %s: %s", self._lines.path, error)
            return False
        return True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._lines.detach()


class OtlpJsonSpanExporter(SpanExporter):
    """Appends spans to ``file``."""

    def __init__(self, file: OtlpJsonFile) -> None:
        self._lines = _Lines(file)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        written = self._lines.write(encode_spans(spans))
        return SpanExportResult.SUCCESS if written else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._lines.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class OtlpJsonLogExporter(LogRecordExporter):
    """Appends log records to ``file``."""

    def __init__(self, file: OtlpJsonFile) -> None:
        self._lines = _Lines(file)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        written = self._lines.write(encode_logs(batch))
        return LogRecordExportResult.SUCCESS if written else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        self._lines.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class OtlpJsonMetricExporter(MetricExporter):
    """Appends metrics to ``file``."""

    def __init__(self, file: OtlpJsonFile) -> None:
        super().__init__()
        self._lines = _Lines(file)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        written = self._lines.write(encode_metrics(metrics_data))
        return MetricExportResult.SUCCESS if written else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._lines.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True
