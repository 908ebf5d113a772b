"""The providers of one configuration, each with what stands between it and its exporters.

tracer provider ─► [tail sampling] ─► batch ─► exporter
logger provider ─► [bridge to span events]
                └► what is sampled ─► [tail sampling] ─► batch ─► compaction ─► exporter
meter provider  ─► reader ─► exporter
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, SynchronousMultiSpanProcessor

from otel_stream import semconv
from otel_stream.sdk.configure.destinations import Destination, Signal, otlp_destination
from otel_stream.sdk.configure.handle import Handle, Pipeline
from otel_stream.sdk.conversations import ConversationLogProcessor, ConversationProcessor
from otel_stream.sdk.export.accounting import (
    Account,
    CountedLogExporter,
    CountedMetricExporter,
    CountedSpanExporter,
)
from otel_stream.sdk.export.batch import Batch, BatchLogs, BatchSpans, body_size, rank_of
from otel_stream.sdk.export.limits import MAX_REQUEST, batch_limits
from otel_stream.sdk.extras import needing
from otel_stream.sdk.lean import provider_kind
from otel_stream.sdk.logs.bridge import EventToSpanEventBridge
from otel_stream.sdk.logs.span_starts import SpanStartProcessor
from otel_stream.sdk.sampling.sampled_filter import SampledLogFilter
from otel_stream.sdk.sampling.samplers import ForcedSampler
from otel_stream.sdk.sampling.tail import TailSamplingProcessor
from otel_stream.sdk.versions import SynchronousMultiLogRecordProcessor
from otel_stream.telemetry.options import TelemetryOptions

_logger = logging.getLogger("otel_stream.sdk")


class Builder:
    """Builds the pipelines; they share the resource, the file, and who is told of losses.

    ``longest`` is the longest request, in bytes; ``otlp`` tells where OTLP of a signal goes if the exporter
    that the environment names is not there.
    """

    def __init__(
        self,
        resource: Resource,
        options: TelemetryOptions,
        tail: Sequence[Any],
        longest: int = MAX_REQUEST,
        otlp: Callable[[Signal], Destination] = lambda signal: otlp_destination(signal, os.environ),
    ) -> None:
        self._resource = resource
        self._options = options
        self._tail = tail
        self._longest = longest
        self._otlp = otlp
        self._files: dict[str, Any] = {}
        #: What the SDK's own classes make, and why.
        self.not_lean: dict[str, str] = {}
        #: What was chosen and is not installed -> where that telemetry goes instead.
        self._instead: dict[str, Destination] = {}
        #: Told of losses as soon as it exists.
        self.handle: Handle | None = None

    def build(self, chosen: dict[Signal, list[Destination]]) -> list[Pipeline]:
        """Return a pipeline for every signal that goes somewhere."""
        pipes: dict[Signal, Pipeline] = {}
        exporters = {
            signal: [self._exporter(signal, place) for place in places] for signal, places in chosen.items()
        }
        meters = None
        if exporters.get("metrics"):
            pipes["metrics"] = self._metrics(exporters["metrics"])
            meters = pipes["metrics"].provider
        spans = self._span_processors(pipes, exporters.get("traces", []))
        logs = self._log_processors(pipes, exporters.get("logs", []))
        if self._tail and spans:
            tail = TailSamplingProcessor(_one_span(spans), _one_log(logs), self._tail, meter_provider=meters)
            spans, logs = [tail], [tail.logs] if logs else []
        if spans:
            pipes["traces"].provider.add_span_processor(ConversationProcessor())
        for processor in spans:
            pipes["traces"].provider.add_span_processor(processor)
        if "logs" in pipes:
            provider = pipes["logs"].provider
            provider.add_log_record_processor(ConversationLogProcessor())
            if self._options.starts == "spans" and "traces" in pipes:
                pipes["traces"].provider.add_span_processor(SpanStartProcessor(provider))
            if self._options.record_as != "log_events":
                provider.add_log_record_processor(_bridge(self._options))
            for processor in logs:
                provider.add_log_record_processor(SampledLogFilter(processor))
        return [pipes[signal] for signal in chosen if signal in pipes]

    def _span_processors(self, pipes: dict[Signal, Pipeline], exporters: list[Any]) -> list[Any]:
        if not exporters:
            return []
        limits = batch_limits("OTEL_BSP", os.environ, 5000)
        provider = self._provider("spans")
        if "spans" in self.not_lean:
            provider.sampler = ForcedSampler(provider.sampler)
        pipe = pipes["traces"] = Pipeline("traces", provider)
        processors = []
        for exporter in exporters:
            account = Account(self._batch_lost)
            counted = CountedSpanExporter(exporter, account)
            pipe.add(counted, account)
            processors.append(BatchSpans(Batch(counted, account, limits, "spans")))
        return processors

    def _log_processors(self, pipes: dict[Signal, Pipeline], exporters: list[Any]) -> list[Any]:
        if not exporters:
            return []
        limits = batch_limits("OTEL_BLRP", os.environ, 1000)
        provider = self._provider("logs")
        pipe = pipes["logs"] = Pipeline("logs", provider)
        processors: list[Any] = []
        if self._options.record_as == "span_events":
            for exporter in exporters:
                exporter.shutdown()  # the bridge is all that listens
            return processors
        for exporter in exporters:
            account = Account(self._batch_lost)
            counted = CountedLogExporter(exporter, account)
            pipe.add(counted, account)
            processors.append(BatchLogs(Batch(counted, account, limits, "logs", body_size, rank_of)))
        return processors

    def _metrics(self, exporters: list[Any]) -> Pipeline:
        pipe = Pipeline("metrics", None)
        readers: list[MetricReader] = []
        for exporter in exporters:
            if isinstance(exporter, MetricReader):
                readers.append(exporter)  # one that is asked, such as Prometheus': nothing to count
                continue
            account = Account(self._batch_lost)
            counted = CountedMetricExporter(exporter, account)
            pipe.add(counted, account)
            readers.append(PeriodicExportingMetricReader(counted))
        pipe.provider = self._provider("metrics", readers)
        return pipe

    def _provider(self, room: str, *args: Any) -> Any:
        kind, why_not = provider_kind(room)
        if why_not:
            self.not_lean[room] = why_not
        return kind(*args, resource=self._resource, shutdown_on_exit=False)

    def _batch_lost(self, size: int, reason: str) -> None:
        if self.handle is not None:
            self.handle.batch_lost(size, reason)

    def gone_to(self, place: Destination) -> Destination:
        """Return where telemetry goes that was to go to ``place``, once it is built."""
        return self._instead.get(place.shown, place)

    def _exporter(self, signal: Signal, place: Destination) -> Any:
        if place.kind == "file":
            return self._file_exporter(signal, place.path or "")
        if place.kind == "otlp":
            return self._otlp_exporter(signal, place)
        made = _from_entry_point(signal, place.kind)
        if made is not None:
            return made
        instead = self._instead[place.shown] = self._otlp(signal)
        return self._otlp_exporter(signal, instead)

    def _otlp_exporter(self, signal: Signal, place: Destination) -> Any:
        return _otlp_exporter(signal, place.protocol)(place, self._longest)

    def _file_exporter(self, signal: Signal, path: str) -> Any:
        with needing("otlp", "A file of OTLP JSON lines"):
            from otel_stream.sdk.export import exporters

        file = self._files.get(path)
        if file is None:
            file = self._files[path] = exporters.OtlpJsonFile(path)
        kinds: dict[str, Any] = {
            "traces": exporters.OtlpJsonSpanExporter,
            "logs": exporters.OtlpJsonLogExporter,
            "metrics": exporters.OtlpJsonMetricExporter,
        }
        return kinds[signal](file)


#: Attributes of log events that are content.
_CONTENT: Final = (
    semconv.GRAPH_RUN_TAGS,
    semconv.GRAPH_VALUES_INTERRUPTS,
    semconv.GRAPH_MESSAGE_ID,
    semconv.EXCEPTION_MESSAGE,
    semconv.EXCEPTION_STACKTRACE,
)


def _bridge(options: TelemetryOptions) -> EventToSpanEventBridge:
    """Return the bridge that shows on spans what may be on spans."""
    if options.span_content:
        return EventToSpanEventBridge(body_attribute=semconv.GRAPH_STREAM_PAYLOAD)
    return EventToSpanEventBridge(without=_CONTENT)


def _otlp_exporter(signal: Signal, protocol: str | None) -> Callable[..., Any]:
    """Return what makes an exporter of OTLP, and says which extra is missing if it can't."""

    def make(place: Destination | None = None, longest: int = MAX_REQUEST) -> Any:
        over, extra = ("gRPC", "grpc") if protocol == "grpc" else ("HTTP", "otlp")
        with needing(extra, f"OTLP over {over}"):
            from otel_stream.sdk.export.otlp import OTLP_EXPORTERS

            return OTLP_EXPORTERS[signal](place, longest)

    return make


def _from_entry_point(signal: Signal, name: str) -> Any:
    """Make the exporter (or metric reader) that an installed package registered as ``name``, if one did."""
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        _logger.warning(
            "OTEL_%s_EXPORTER=%r is not installed and is ignored, telemetry goes out as OTLP: "
            "use otlp, console or none, or install the package that provides it.",
            signal.upper(),
            name,
        )
        return None
    return found[0].load()()


def _one_span(processors: list[SpanProcessor]) -> SpanProcessor:
    if len(processors) == 1:
        return processors[0]
    several = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    for processor in processors:
        several.add_span_processor(processor)
    return several


def _one_log(processors: list[LogRecordProcessor]) -> LogRecordProcessor:
    if len(processors) == 1:
        return processors[0]
    several = SynchronousMultiLogRecordProcessor()  # type: ignore[no-untyped-call]
    for processor in processors:
        several.add_log_record_processor(processor)
    return several
