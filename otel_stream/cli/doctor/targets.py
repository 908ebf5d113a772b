"""Where the exporters of ``configure()`` will send each signal, taken apart so that it can be tried.

Pure; a test compares it with the exporters themselves.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec
from opentelemetry.util.re import parse_env_headers

from otel_stream.cli.options import UsageError

if TYPE_CHECKING:
    from otel_stream.sdk.configure.destinations import Destination

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Target(msgspec.Struct, frozen=True):
    """One exporter of one signal.

    ``path`` is what HTTP posts to, with its query; ``headers`` hold secrets and are never shown.
    ``variable`` is what the endpoint comes from: a variable of the environment, "ENDPOINT", or "".
    """

    signal: str
    protocol: str
    host: str
    port: int
    tls: bool
    path: str
    headers: dict[str, str]
    variable: str = ""
    #: Whether the endpoint says http:// or https:// at all; gRPC takes one that doesn't for https.
    scheme: str = ""
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""

    @property
    def place(self) -> str:
        """Return host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return what is tried, without user, password and query."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.place}{urlsplit(self.path).path if self.protocol != 'grpc' else ''}"

    @property
    def on_this_machine(self) -> bool:
        """Tell whether it is on loopback."""
        return self.host.lower() in _LOOPBACK or self.host.startswith("127.")


def target(signal: str, place: Destination, environ: Mapping[str, str]) -> Target:
    """Return where ``place`` sends ``signal``.

    Raises:
        UsageError: the endpoint has no host or port, or a scheme that HTTP does not have.
    """
    protocol = place.protocol or "http/protobuf"
    variable, address = _address(signal, place, protocol, environ)
    parts, port = _split(variable or "the endpoint", address, protocol)
    secure = _is_secure(signal, parts, protocol, environ)

    def setting(name: str) -> str:
        own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
        return own or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")

    headers = dict(parse_env_headers(setting("HEADERS"), liberal=True))
    if parts.username is not None and protocol != "grpc" and "authorization" not in headers:
        basic = base64.b64encode(f"{parts.username}:{parts.password or ''}".encode()).decode()
        headers["authorization"] = f"Basic {basic}"
    certificate = setting("CERTIFICATE")
    # The exporter for gRPC looks for a client's certificate only beside one of its own to trust.
    client = protocol != "grpc" or bool(certificate)
    return Target(
        signal=signal,
        protocol=protocol,
        host=parts.hostname or "",
        port=port,
        tls=secure,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=headers,
        variable=variable,
        scheme=parts.scheme,
        certificate=certificate,
        client_certificate=setting("CLIENT_CERTIFICATE") if client else "",
        client_key=setting("CLIENT_KEY") if client else "",
    )


def _address(signal: str, place: Destination, protocol: str, environ: Mapping[str, str]) -> tuple[str, str]:
    if place.endpoint is not None:
        return "ENDPOINT", place.endpoint
    own, general = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    if environ.get(own):
        return own, environ[own].strip()
    base = environ.get(general, "").strip()
    if protocol == "grpc":
        return (general if base else ""), base or "http://localhost:4317"
    return (general if base else ""), f"{(base or 'http://localhost:4318').removesuffix('/')}/v1/{signal}"


def _split(field: str, address: str, protocol: str) -> tuple[SplitResult, int]:
    parts = urlsplit(address if "://" in address else f"//{address}")
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else parts.netloc
    if not parts.hostname:
        raise UsageError(f"{field}: {shown!r} names no host; write http://HOST:4318")
    if protocol != "grpc" and parts.scheme not in {"http", "https"}:
        raise UsageError(f"{field}: {shown!r} is no address of HTTP; write http://HOST:4318 or https://HOST")
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"{field}: {shown!r} has no usable port; write a number, such as 4318") from None
    # Without a port, gRPC goes to that of HTTPS whatever the scheme says.
    return parts, port or (443 if protocol == "grpc" or parts.scheme == "https" else 80)


def _is_secure(signal: str, parts: SplitResult, protocol: str, environ: Mapping[str, str]) -> bool:
    if protocol != "grpc":
        return parts.scheme == "https"
    if parts.scheme == "https":
        return True
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"):
        if name in environ:
            return environ[name].lower() != "true"
    return parts.scheme != "http"
