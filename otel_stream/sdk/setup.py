"""``configure()``: OpenTelemetry for a program that has not set it up itself.

The only module, with its neighbours in ``otel_stream.sdk``, that imports the SDK; exporters are
imported when they are chosen (that of gRPC alone takes 200 ms).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable
from importlib.metadata import entry_points
from threading import Lock
from typing import Any, Final

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_stream.sdk.accounting import (
    Account,
    CountedLogExporter,
    CountedMetricExporter,
    CountedSpanExporter,
    quiet_exporters,
)
from otel_stream.sdk.batch import Batch, BatchLogs, BatchSpans
from otel_stream.sdk.destinations import SIGNALS, Destination, Signal, destinations
from otel_stream.sdk.handle import SHUTDOWN_TIMEOUT, Handle, Pipeline
from otel_stream.sdk.lean import LeanLoggerProvider, LeanMeterProvider, LeanTracerProvider
from otel_stream.sdk.limits import batch_limits
from otel_stream.telemetry.consumer import is_configured
from otel_stream.telemetry.options import resolve, set_options

_logger = logging.getLogger("otel_stream.sdk")


class _State:
    lock: Final = Lock()
    handle: Handle | None = None
    arguments: dict[str, Any] | None = None


def configure(
    service_name: str | None = None,
    *,
    protocol: str | None = None,
    endpoint: str | None = None,
    path: str | os.PathLike[str] | None = None,
    capture_content: bool | None = None,
    modes: str | Iterable[str] | None = None,
    max_body_bytes: int | None = None,
    shutdown_timeout: float = SHUTDOWN_TIMEOUT,
) -> Handle:
    """Set up tracing, log events and metrics, once, and return a handle to flush and shut them down.

    Every ``OTEL_*`` variable is honoured and wins over the arguments. If the program has set a
    provider already, or ``OTEL_SDK_DISABLED`` is set, nothing is set up: ``handle.owned`` is
    False and ``handle.reason`` says why; the providers that exist are used. A second call returns
    the first one's handle, and warns if it asks for something else.

    Args:
        service_name: the ``service.name`` of the resource.
        protocol: ``"grpc"`` or ``"http/protobuf"``; by default the latter, unless the endpoint's
            port is 4317.
        endpoint: base URL of an OTLP endpoint, such as ``http://localhost:4318``.
        path: a file of OTLP JSON lines instead of an endpoint; an endpoint in the environment wins.
        capture_content: whether state, messages and exception texts are exported; by default not.
        modes: stream modes whose parts become log events; by default values, updates, custom and
            messages; ``"none"`` for no log events. Comma-separated or a collection.
        max_body_bytes: longest body of a log event, in bytes of UTF-8; 64 KiB by default.
        shutdown_timeout: seconds that the shutdown at exit may take.

    Raises:
        ValueError: an argument or a variable that cannot be meant; names it, and the remedy.
        OSError: ``path`` cannot be opened for appending.
    """
    if endpoint is not None and path is not None:
        raise ValueError(f"endpoint={endpoint!r} and path={os.fspath(path)!r} exclude each other: give one.")
    chosen = None if modes is None or isinstance(modes, str) else tuple(modes)
    arguments: dict[str, Any] = {
        "service_name": service_name,
        "protocol": protocol,
        "endpoint": endpoint,
        "path": None if path is None else os.fspath(path),
        "capture_content": capture_content,
        "modes": modes if chosen is None else chosen,
        "max_body_bytes": max_body_bytes,
    }
    with _State.lock:
        if _State.handle is not None:
            _warn_of_differences(arguments)
            return _State.handle
        options = resolve(
            capture_content=capture_content, modes=arguments["modes"], max_body_bytes=max_body_bytes
        )
        handle = _build(service_name, protocol, endpoint, arguments["path"], shutdown_timeout)
        set_options(options)
        _State.handle, _State.arguments = handle, arguments
        return handle


def _warn_of_differences(arguments: dict[str, Any]) -> None:
    first = _State.arguments or {}
    ignored = [
        f"{name}={value!r}"
        for name, value in arguments.items()
        if value is not None and value != first.get(name)
    ]
    if ignored:
        message = (
            f"configure() was called before; {', '.join(ignored)} is ignored: configure once, at the start."
        )
        warnings.warn(message, stacklevel=3)


def _build(
    service_name: str | None,
    protocol: str | None,
    endpoint: str | None,
    path: str | None,
    shutdown_timeout: float,
) -> Handle:
    reason = _nothing_to_do()
    if reason:
        return Handle(reason=reason)
    chosen: dict[Signal, list[Destination]] = {
        signal: destinations(signal, os.environ, protocol=protocol, endpoint=endpoint, path=path)
        for signal in SIGNALS
    }
    builder = _Builder(_resource(service_name))
    pipelines = [builder.build(signal, places) for signal, places in chosen.items() if places]
    if not pipelines:
        return Handle(reason="OTEL_{TRACES,LOGS,METRICS}_EXPORTER are all none.")
    shown = dict.fromkeys(place.shown for places in chosen.values() for place in places)
    handle = Handle(pipelines, destination=", ".join(shown), shutdown_timeout=shutdown_timeout)
    builder.handle = handle
    quiet_exporters()
    install: dict[str, Any] = {
        "traces": trace.set_tracer_provider,
        "logs": _logs.set_logger_provider,
        "metrics": metrics.set_meter_provider,
    }
    for pipe in pipelines:
        install[pipe.signal](pipe.provider)
    return handle


def _nothing_to_do() -> str:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "OTEL_SDK_DISABLED is true."
    if os.environ.get("OTEL_CONFIG_FILE"):
        _logger.warning(
            "OTEL_CONFIG_FILE is not read by configure(): start the program with opentelemetry-instrument."
        )
    found = [
        name
        for name, provider in (
            ("tracer", trace.get_tracer_provider()),
            ("logger", _logs.get_logger_provider()),
            ("meter", metrics.get_meter_provider()),
        )
        if is_configured(provider)
    ]
    return f"The program has set a {' and a '.join(found)} provider already; they are used." if found else ""


def _resource(service_name: str | None) -> Resource:
    in_environ = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    # What is passed here would win over the environment, so it is not passed.
    return Resource.create({"service.name": service_name} if service_name and not in_environ else None)


class _Builder:
    """Builds the providers of one configuration; they share its resource and its file."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._files: dict[str, Any] = {}
        #: Told of losses as soon as it exists.
        self.handle: Handle | None = None

    def build(self, signal: Signal, places: list[Destination]) -> Pipeline:
        """Return the provider of ``signal`` with an exporter for each of ``places``."""
        exporters = [self._exporter(signal, place) for place in places]
        if signal == "traces":
            return self._traces(exporters)
        return self._logs(exporters) if signal == "logs" else self._metrics(exporters)

    def _traces(self, exporters: list[Any]) -> Pipeline:
        limits = batch_limits("OTEL_BSP", os.environ, 5000)
        pipe = Pipeline("traces", LeanTracerProvider(resource=self._resource, shutdown_on_exit=False))
        for exporter in exporters:
            account = Account(self._batch_lost)
            counted = CountedSpanExporter(exporter, account)
            pipe.add(counted, account)
            pipe.provider.add_span_processor(BatchSpans(Batch(counted, account, limits, "spans")))
        return pipe

    def _logs(self, exporters: list[Any]) -> Pipeline:
        limits = batch_limits("OTEL_BLRP", os.environ, 1000)
        pipe = Pipeline("logs", LeanLoggerProvider(resource=self._resource, shutdown_on_exit=False))
        for exporter in exporters:
            account = Account(self._batch_lost)
            counted = CountedLogExporter(exporter, account)
            pipe.add(counted, account)
            pipe.provider.add_log_record_processor(BatchLogs(Batch(counted, account, limits, "logs")))
        return pipe

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
        pipe.provider = LeanMeterProvider(readers, resource=self._resource, shutdown_on_exit=False)
        return pipe

    def _batch_lost(self, size: int, reason: str) -> None:
        if self.handle is not None:
            self.handle.batch_lost(size, reason)

    def _exporter(self, signal: Signal, place: Destination) -> Any:
        if place.kind == "file":
            return self._file_exporter(signal, place.path or "")
        if place.kind != "otlp":
            return _from_entry_point(signal, place.kind)
        kind = _otlp_exporter(signal, place.protocol or "")
        return kind() if place.endpoint is None else kind(endpoint=place.endpoint)

    def _file_exporter(self, signal: Signal, path: str) -> Any:
        from otel_stream.sdk import exporters

        file = self._files.get(path)
        if file is None:
            file = self._files[path] = exporters.OtlpJsonFile(path)
        kinds: dict[str, Any] = {
            "traces": exporters.OtlpJsonSpanExporter,
            "logs": exporters.OtlpJsonLogExporter,
            "metrics": exporters.OtlpJsonMetricExporter,
        }
        return kinds[signal](file)


def _otlp_exporter(signal: Signal, protocol: str) -> Any:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter, metric_exporter, trace_exporter
    else:
        from opentelemetry.exporter.otlp.proto.http import (  # type: ignore[no-redef]
            _log_exporter,
            metric_exporter,
            trace_exporter,
        )
    kinds: dict[str, Any] = {
        "traces": trace_exporter.OTLPSpanExporter,
        "logs": _log_exporter.OTLPLogExporter,
        "metrics": metric_exporter.OTLPMetricExporter,
    }
    return kinds[signal]


def _from_entry_point(signal: Signal, name: str) -> Any:
    """Make the exporter (or metric reader) that an installed package registered as ``name``."""
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        raise ValueError(
            f"OTEL_{signal.upper()}_EXPORTER={name!r} is not installed: "
            "use otlp, console or none, or install the package that provides it."
        )
    return found[0].load()()
