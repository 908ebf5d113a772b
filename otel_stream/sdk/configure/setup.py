"""``configure()``: OpenTelemetry for a program that has not set it up itself.

The only module, with its neighbours in ``otel_stream.sdk``, that imports the SDK; exporters are
imported when they are chosen (that of gRPC alone takes 200 ms).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from logging import getLogger
from threading import Lock
from typing import Any, Final

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk.resources import Resource

from otel_stream import semconv
from otel_stream.sdk.configure.arguments import checked
from otel_stream.sdk.configure.destinations import (
    SIGNALS,
    Destination,
    Signal,
    destinations,
    otlp_destination,
)
from otel_stream.sdk.configure.handle import SHUTDOWN_TIMEOUT, Handle
from otel_stream.sdk.configure.readable import readable
from otel_stream.sdk.export.accounting import quiet_exporters
from otel_stream.sdk.export.limits import MAX_REQUEST
from otel_stream.sdk.export.measured import show_exports
from otel_stream.sdk.export.repair import sound_attributes
from otel_stream.sdk.logs.python_logging import LogHandler
from otel_stream.sdk.pipelines import Builder
from otel_stream.sdk.sampling.tail_policies import PolicyLike
from otel_stream.telemetry.options import TelemetryOptions, resolve, set_options
from otel_stream.telemetry.redaction import Redaction
from otel_stream.telemetry.run import is_configured, version
from otel_stream.telemetry.variables import service_name_of, variable

_logger = getLogger("otel_stream.sdk")


#: Frames from a warning below ``_build`` up to who called ``configure``.
_CALLER: Final = 5


class _State:
    lock = Lock()
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
    redaction: Redaction | None = None,
    messages: str | None = None,
    starts: str | None = None,
    record_as: str | None = None,
    min_span_duration: float | None = None,
    model_spans: str | None = None,
    conversation_baggage: bool = False,
    run_attributes: str | Iterable[str] = (),
    tail: Sequence[PolicyLike] = (),
    langgraph: bool = False,
    max_request_bytes: int | None = None,
    logging: bool = False,
    shutdown_timeout: float = SHUTDOWN_TIMEOUT,
) -> Handle:
    """Set up tracing, log events and metrics, once, and return a handle to flush and shut them down.

    Every ``OTEL_*`` variable is honoured and wins over the arguments. Providers that the program
    has set already are used, and only the other signals are set up; ``handle.reason`` says so. If there
    are none, or ``OTEL_SDK_DISABLED`` is set, nothing is set up, and ``handle.owned`` is False. A second
    call returns the first one's handle, and warns if it asks for something else.

    Args:
        service_name: the ``service.name`` of the resource.
        protocol: ``"grpc"`` or ``"http/protobuf"``, the default unless the endpoint's port is 4317.
        endpoint: base URL of an OTLP endpoint, such as ``http://localhost:4318``.
        path: a file of OTLP JSON lines instead of an endpoint; an endpoint in the environment wins.
        capture_content: whether state, messages and exception texts are exported; by default not.
        modes: stream modes whose parts become log events, by default values, updates, custom, messages;
            ``"graph.route"`` adds what edges chose, ``"none"`` is no log events at all.
        max_body_bytes: longest body of a log event, in bytes of UTF-8; 64 KiB by default.
        redaction: what is masked or cut of the content that is exported.
        messages: ``"joined"``, one log event for a message, or ``"chunks"``, one for each chunk.
        starts: what is told as it begins: lasting ``"nodes"`` (default), ``"runs"``, ``"spans"``, ``"none"``.
        record_as: whether stream parts are ``"log_events"`` (the default), ``"span_events"``, or ``"both"``.
        min_span_duration: seconds; quicker nodes become events of their superstep. By default none do.
        model_spans: spans for calls of models and tools: ``"on"``, ``"off"``, ``"auto"`` if nobody else's.
        conversation_baggage: whether the services that nodes call are told the conversation, in baggage.
        run_attributes: keys of metadata on spans of runs and calls, as ``graph.run.metadata.<key>``.
        tail: policies that decide which ended traces are kept, such as ``KeepErrors()``; by default all.
        langgraph: whether runs of LangGraph's graphs are observed, too; needs ``otel-stream[langgraph]``.
        max_request_bytes: longest request to an OTLP receiver, before compression; 3.5 MiB by default.
        logging: whether records of Python's logging are exported, each on the span that is current there.
        shutdown_timeout: seconds that the shutdown at exit may take; 30 if all goes to a file.

    Raises:
        ImportError: ``langgraph`` is asked for, and what that needs is not installed.
        ValueError: an argument or a variable that cannot be meant; names it, and the remedy.
        ModuleNotFoundError: an exporter is not installed; names the extra that brings it.
        OSError: ``path`` cannot be opened for appending.
    """
    return _configure(checked(dict(locals())))


def _configure(arguments: dict[str, Any]) -> Handle:
    shutdown_timeout = arguments.pop("shutdown_timeout")
    if arguments.pop("langgraph"):
        _observe_langgraph()
    with _State.lock:
        if _State.handle is not None:
            arguments.pop("logging")
            _warn_of_differences(arguments)
            return _State.handle
        options = resolve(**{name: arguments[name] for name in _OPTIONS})
        with readable(os.environ):
            handle = _build(arguments, options, shutdown_timeout)
        set_options(options)
        bridged = arguments.pop("logging")
        if bridged and handle.owned:
            handler = LogHandler(_logs.get_logger_provider(), redaction=options.redaction)
            getLogger().addHandler(handler)
        _State.handle, _State.arguments = handle, arguments
        return handle


def _observe_langgraph() -> None:
    try:
        from otel_stream.adapters.langgraph import LangGraphInstrumentor
    except ImportError as error:
        raise ImportError(
            f"langgraph=True needs what is not installed: {error}. Install otel-stream[langgraph]."
        ) from error
    LangGraphInstrumentor().instrument()


def _new_lock() -> None:
    _State.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


#: Arguments that say what is exported; the others say where to.
_OPTIONS: Final = (
    "capture_content",
    "modes",
    "max_body_bytes",
    "redaction",
    "messages",
    "starts",
    "record_as",
    "min_span_duration",
    "model_spans",
    "conversation_baggage",
    "run_attributes",
)


def _warn_of_differences(arguments: dict[str, Any]) -> None:
    first = _State.arguments or {}
    ignored = [
        f"{name}={value!r}"
        for name, value in arguments.items()
        if value not in (None, (), False) and value != first.get(name)
    ]
    if ignored:
        message = (
            f"configure() was called before; {', '.join(ignored)} is ignored: configure once, at the start."
        )
        warnings.warn(message, stacklevel=_CALLER - 1)


def _build(arguments: dict[str, Any], options: TelemetryOptions, shutdown_timeout: float) -> Handle:
    reason = _nothing_to_do()
    if reason:
        return Handle(reason=reason)
    taken = _taken()
    if len(taken) == len(SIGNALS):
        _warn_of_ignored(arguments)
        return Handle(reason=_reason(taken))
    if "traces" in taken and arguments["tail"]:
        warnings.warn(
            "configure(): tail ignored: the program has set a tracer provider, which samples by itself.",
            stacklevel=_CALLER - 1,
        )
    chosen: dict[Signal, list[Destination]] = {
        signal: destinations(
            signal,
            os.environ,
            protocol=arguments["protocol"],
            endpoint=arguments["endpoint"],
            path=arguments["path"],
        )
        for signal in SIGNALS
        if signal not in taken
    }
    builder = Builder(
        _resource(arguments["service_name"]),
        options,
        arguments["tail"],
        arguments["max_request_bytes"] or MAX_REQUEST,
        lambda signal: otlp_destination(
            signal, os.environ, protocol=arguments["protocol"], endpoint=arguments["endpoint"]
        ),
    )
    pipelines = builder.build(chosen)
    if not pipelines:
        return Handle(reason="OTEL_{TRACES,LOGS,METRICS}_EXPORTER are all none.")
    if shutdown_timeout == SHUTDOWN_TIMEOUT and _all_local(chosen):
        shutdown_timeout = _LOCAL_TIMEOUT
    places = (builder.gone_to(place) for group in chosen.values() for place in group)
    handle = Handle(
        pipelines,
        reason=_reason(taken),
        destination=", ".join(dict.fromkeys(place.shown for place in places)),
        not_lean=builder.not_lean,
        shutdown_timeout=shutdown_timeout,
    )
    builder.handle = handle
    if builder.not_lean:
        _logger.debug("The SDK's own classes are used, which takes longer: %s", builder.not_lean)
    quiet_exporters()
    install: dict[str, Any] = {
        "traces": trace.set_tracer_provider,
        "logs": _logs.set_logger_provider,
        "metrics": metrics.set_meter_provider,
    }
    for pipe in pipelines:
        install[pipe.signal](pipe.provider)
        if pipe.signal == "metrics":
            show_exports(pipe.provider.get_meter(semconv.SCOPE, version(), semconv.SCHEMA_URL), handle)
    return handle


#: Seconds for what is written to a file: nobody is waited for there, it is only a matter of how much.
_LOCAL_TIMEOUT: Final = 30.0


def _all_local(chosen: dict[Signal, list[Destination]]) -> bool:
    return all(place.kind == "file" for places in chosen.values() for place in places)


def _nothing_to_do() -> str:
    if variable(os.environ, "OTEL_SDK_DISABLED").lower() == "true":
        return "OTEL_SDK_DISABLED is true."
    if variable(os.environ, "OTEL_CONFIG_FILE"):
        _logger.warning(
            "OTEL_CONFIG_FILE is not read by configure(): start the program with opentelemetry-instrument."
        )
    return ""


def _taken() -> dict[str, str]:
    """Return the signals that the program has set a provider for, and what that is called."""
    for kind in ("TRACER", "LOGGER", "METER"):
        if not os.environ.get(f"OTEL_PYTHON_{kind}_PROVIDER", "unset").strip():
            # The API would look for a provider of no name, and raise; empty is unset.
            del os.environ[f"OTEL_PYTHON_{kind}_PROVIDER"]
    found = {
        "traces": ("tracer", trace.get_tracer_provider()),
        "logs": ("logger", _logs.get_logger_provider()),
        "metrics": ("meter", metrics.get_meter_provider()),
    }
    return {signal: name for signal, (name, provider) in found.items() if is_configured(provider)}


def _reason(taken: dict[str, str]) -> str:
    if not taken:
        return ""
    return f"The program has set a {' and a '.join(taken.values())} provider already; they are used."


def _warn_of_ignored(arguments: dict[str, Any]) -> None:
    """Warn of what nothing can be done about: the program has set all providers by itself."""
    places = {name: arguments[name] for name in ("service_name", "protocol", "endpoint", "path")}
    ignored = [name for name, value in places.items() if value is not None]
    ignored += [name for name in ("tail", "max_request_bytes", "logging") if arguments[name]]
    if ignored:
        warnings.warn(
            f"configure(): {', '.join(ignored)} ignored: the program has set all providers already.",
            stacklevel=_CALLER,
        )


def _resource(service_name: str | None) -> Resource:
    """Return the resource: the name of the environment, ``OTEL_SERVICE_NAME`` first, then the program's."""
    resource = Resource.create()
    if service_name and not service_name_of(os.environ):
        resource = resource.merge(Resource({"service.name": service_name}))
    sound: Any = sound_attributes(resource.attributes)
    return resource if sound is resource.attributes else Resource(sound, resource.schema_url)
