"""Where the exporters of ``configure()`` will send each signal, taken apart so that it can be tried.

Pure: what a destination says, in the words of sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec

from otel_stream.cli.options import UsageError

if TYPE_CHECKING:
    from otel_stream.sdk.configure.destinations import Destination, Signal

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Target(msgspec.Struct, frozen=True):
    """One exporter of one signal.

    ``path`` is what HTTP posts to, with its query; ``headers`` hold secrets and are never shown.
    ``variable`` is what the endpoint comes from: a variable of the environment, "ENDPOINT", or "".
    """

    signal: Signal
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


def target(signal: Signal, place: Destination) -> Target:
    """Return where ``place`` sends ``signal``.

    Raises:
        UsageError: the endpoint has no host or port, or a scheme that HTTP does not have.
    """
    protocol = place.protocol or "http/protobuf"
    field = "ENDPOINT" if place.source == "endpoint" else place.source
    parts, port = _split(field or "the endpoint", place.endpoint or "", protocol)
    # Of gRPC, the address that was given is only in what is shown of it.
    said = urlsplit(place.shown) if "://" in place.shown else parts
    return Target(
        signal=signal,
        protocol=protocol,
        host=parts.hostname or "",
        port=port,
        tls=not place.insecure if protocol == "grpc" else parts.scheme == "https",
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=place.headers,
        variable=field,
        scheme=said.scheme,
        certificate=place.certificate,
        client_certificate=place.client_certificate,
        client_key=place.client_key,
    )


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
