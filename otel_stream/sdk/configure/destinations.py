"""Where telemetry goes: the environment's word first, then the program's, then OTel's defaults.

Pure: nothing is imported, opened or connected here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

Signal = Literal["traces", "logs", "metrics"]
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "logs", "metrics")

_PROTOCOLS: Final = ("grpc", "http/protobuf")
_DEFAULT: Final = {"grpc": "http://localhost:4317", "http/protobuf": "http://localhost:4318"}


class Destination(msgspec.Struct, frozen=True):
    """One exporter of one signal.

    ``kind`` is ``otlp``, ``file``, ``console``, or the name of an exporter that some other package
    provides. ``endpoint`` is what to pass to an OTLP exporter, None if it finds it in the environment;
    ``shown`` is what to call the place in messages.
    """

    kind: str
    shown: str
    protocol: str | None = None
    endpoint: str | None = None
    path: str | None = None


def destinations(
    signal: Signal,
    environ: Mapping[str, str],
    *,
    protocol: str | None = None,
    endpoint: str | None = None,
    path: str | None = None,
) -> list[Destination]:
    """Return the exporters of ``signal``; an empty list if it is switched off.

    Raises:
        ValueError: a protocol that is not supported, or an endpoint that is no URL.
    """
    selected = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()
    if not selected:
        asked_for = _endpoint(signal, environ)[1] or endpoint
        if path is not None and not asked_for:
            return [Destination("file", path, path=path)]
        return [_otlp(signal, environ, protocol, endpoint)]
    found = []
    for word in selected.split(","):
        name = word.strip()
        if name == "none":
            continue
        if name in ("otlp", "otlp_proto_grpc", "otlp_proto_http"):
            forced = {"otlp_proto_grpc": "grpc", "otlp_proto_http": "http/protobuf"}.get(name)
            found.append(_otlp(signal, environ, protocol, endpoint, forced))
        else:
            found.append(Destination(name, name))
    return found


def _otlp(
    signal: Signal,
    environ: Mapping[str, str],
    protocol: str | None,
    endpoint: str | None,
    forced: str | None = None,
) -> Destination:
    field, value = _endpoint(signal, environ)
    from_environ = value is not None
    if value is None:
        field, value = "endpoint", endpoint
    spoken = forced or _protocol(signal, environ, protocol, value)
    if value is None:
        return Destination("otlp", f"{_DEFAULT[spoken]} ({spoken})", spoken)
    if "://" not in value and not (from_environ and spoken == "grpc"):
        raise ValueError(f"{field}={value!r} has no scheme: write http://{value} (or https://{value}).")
    shown = f"{value} ({spoken})"
    if from_environ:
        return Destination("otlp", shown, spoken)
    whole = f"{value.rstrip('/')}/v1/{signal}" if spoken == "http/protobuf" else value
    return Destination("otlp", shown, spoken, whole)


def _endpoint(signal: Signal, environ: Mapping[str, str]) -> tuple[str, str | None]:
    for field in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        value = environ.get(field, "").strip()
        if value:
            return field, value
    return "", None


def _protocol(signal: Signal, environ: Mapping[str, str], given: str | None, endpoint: str | None) -> str:
    for field, value in (
        (name, environ.get(name, ""))
        for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    ):
        if value.strip():
            return _known(field, value)
    if given is not None:
        return _known("protocol", given)
    # HTTP is OpenTelemetry's default, but 4317 is the port of gRPC: whoever writes it means that,
    # and HTTP would only get an error there that nobody understands.
    return "grpc" if endpoint is not None and _port(endpoint) == 4317 else "http/protobuf"


def _known(field: str, value: str) -> str:
    protocol = value.strip().lower()
    if protocol == "http":
        protocol = "http/protobuf"
    if protocol not in _PROTOCOLS:
        raise ValueError(f"{field}={value!r} is not supported: use one of {', '.join(_PROTOCOLS)}.")
    return protocol


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").port
    except ValueError:
        return None
