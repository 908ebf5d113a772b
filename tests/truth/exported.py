"""Where telemetry goes to be read by an outsider: a file of OTLP JSON, or the bytes of protobuf requests."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_stream.sdk import configure
from otel_stream.sdk.configure import setup
from otel_stream.telemetry import TelemetryOptions, consumer_for_run, set_options
from tests.truth.rebuild import Document, document_of

MODES = ("values", "updates", "custom", "messages", "tasks", "graph.route")


class Counting(SpanProcessor):
    """Counts how often each span starts and ends."""

    def __init__(self) -> None:
        self.balance: Counter[int] = Counter()
        self.ends: Counter[int] = Counter()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.balance[span.get_span_context().span_id] += 1

    def on_end(self, span: ReadableSpan) -> None:
        about = span.get_span_context()
        assert about is not None
        self.balance[about.span_id] -= 1
        self.ends[about.span_id] += 1

    def unbalanced(self) -> list[str]:
        """Return the spans that did not end once, and forget all."""
        wrong = [f"{id:016x} is off by {count}" for id, count in self.balance.items() if count]
        wrong += [f"{id:016x} ended {count} times" for id, count in self.ends.items() if count > 1]
        self.balance.clear()
        self.ends.clear()
        return wrong


class Configured:
    """What ``configure()`` sets up, with a file."""

    def __init__(self, folder: Path, *, content: bool) -> None:
        self.path = folder / "telemetry.otlp.jsonl"
        os.environ["OTEL_STREAM_EXPORT_MESSAGES"] = "chunks"  # else a part stands for several
        self.handle = configure("truth", path=self.path, capture_content=content, modes=MODES)
        assert self.handle.owned
        self.tracer = trace.get_tracer("the program")
        self.counting = Counting()
        trace.get_tracer_provider().add_span_processor(self.counting)  # type: ignore[attr-defined]
        self._read = 0

    def consumer(self) -> Any:
        return consumer_for_run()

    def take(self) -> list[Document]:
        """Return what was exported since the last time."""
        assert self.handle.flush(30)
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        self._read += len(lines)
        return [json.loads(line) for line in lines.splitlines()]

    def close(self) -> None:
        self.handle.shutdown(5)
        os.environ.pop("OTEL_STREAM_EXPORT_MESSAGES", None)
        setup._State.handle = setup._State.arguments = None
        set_options(None)


class _Bytes(SpanExporter):
    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.requests.append(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


class _LogBytes(LogRecordExporter):
    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def export(self, batch: Any) -> LogRecordExportResult:
        self.requests.append(encode_logs(batch).SerializeToString())
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        return None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class Plain:
    """OpenTelemetry's own providers, each item exported by itself."""

    def __init__(self, *, content: bool) -> None:
        self.spans, self.logs = _Bytes(), _LogBytes()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.counting = Counting()
        self.tracers.add_span_processor(self.counting)
        self.tracer = self.tracers.get_tracer("the program")
        self.options = TelemetryOptions(
            modes=frozenset(MODES), span_content=content, event_content=content, messages="chunks"
        )

    def consumer(self) -> Any:
        return consumer_for_run(
            tracer_provider=self.tracers, logger_provider=self.loggers, options=self.options
        )

    def take(self) -> list[Document]:
        """Return what was exported since the last time."""
        spans, self.spans.requests = self.spans.requests, []
        logs, self.logs.requests = self.logs.requests, []
        return [
            *(document_of(ExportTraceServiceRequest.FromString(one)) for one in spans),
            *(document_of(ExportLogsServiceRequest.FromString(one)) for one in logs),
        ]

    def close(self) -> None:
        self.tracers.shutdown()
        self.loggers.shutdown()


@contextmanager
def pipeline(kind: str, folder: Path, *, content: bool) -> Iterator[Any]:
    made: Any = Configured(folder, content=content) if kind == "configured" else Plain(content=content)
    try:
        yield made
    finally:
        made.close()
