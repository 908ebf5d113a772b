"""Where telemetry goes, and how: the environment's word first, then the program's, then OTel's defaults.

Pure: nothing is imported, opened or connected here. What the environment says and can't be meant is told
and ignored, as the specification of its variables has it; what the program says is an error.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec

from otel_stream.telemetry.variables import number, variable, warn_once

Signal = Literal["traces", "logs", "metrics"]
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "logs", "metrics")

_PROTOCOLS: Final = ("grpc", "http/protobuf")
_DEFAULT: Final = {"grpc": "http://localhost:4317", "http/protobuf": "http://localhost:4318"}
_COMPRESSIONS: Final = {"grpc": ("none", "gzip"), "http/protobuf": ("none", "gzip", "deflate")}
#: Seconds that one request may take, its repetitions included.
_TIMEOUT: Final = 10.0
_HIDDEN: Final = "***"

_logger = logging.getLogger("otel_stream.sdk")


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One exporter of one signal.

    ``kind`` is ``otlp``, ``file``, ``console``, or the name of an exporter that some other package
    provides; ``shown`` is what to call the place in messages, without secrets. Of ``otlp``, ``endpoint``
    is the whole address: what HTTP posts to, or host and port for gRPC.
    """

    kind: str
    shown: str
    protocol: str | None = None
    endpoint: str | None = None
    path: str | None = None
    headers: dict[str, str] = {}
    timeout: float = _TIMEOUT
    compression: str = "none"
    insecure: bool = True
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""
    #: What of the address nobody should read: its password and its query.
    secrets: tuple[str, ...] = ()
    #: Where the address comes from: a variable of the environment, "endpoint", or "".
    source: str = ""

    def __repr__(self) -> str:
        return f"Destination({self.kind!r}, {self.shown!r})"

    def without_secrets(self, text: str) -> str:
        """Return ``text``, which may quote the endpoint or a header, without what nobody should read."""
        for secret in (*self.headers.values(), *self.secrets):
            if len(secret) > 3:
                text = text.replace(secret, _HIDDEN)
        return text


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
        ValueError: the program's protocol is not supported, or an endpoint is no URL.
    """
    selected = variable(environ, f"OTEL_{signal.upper()}_EXPORTER") or ""
    if not selected.strip(", "):
        asked_for = _given(signal, environ)[1] or endpoint
        if path is not None and not asked_for:
            return [Destination(kind="file", shown=path, path=path)]
        return [_otlp(signal, environ, protocol, endpoint)]
    found = []
    for word in selected.split(","):
        name = word.strip().lower()
        if name in ("none", ""):
            continue
        if name in ("otlp", "otlp_proto_grpc", "otlp_proto_http"):
            forced = {"otlp_proto_grpc": "grpc", "otlp_proto_http": "http/protobuf"}.get(name)
            found.append(_otlp(signal, environ, protocol, endpoint, forced))
        else:
            # Names of entry points are whatever a package has chosen.
            found.append(Destination(kind=name if name == "console" else word.strip(), shown=word.strip()))
    return found


def otlp_destination(
    signal: Signal,
    environ: Mapping[str, str],
    *,
    protocol: str | None = None,
    endpoint: str | None = None,
) -> Destination:
    """Return where OTLP goes, whichever exporters are selected.

    Raises:
        ValueError: as for :func:`destinations`.
    """
    return _otlp(signal, environ, protocol, endpoint)


def _otlp(
    signal: Signal,
    environ: Mapping[str, str],
    protocol: str | None,
    endpoint: str | None,
    forced: str | None = None,
) -> Destination:
    field, value, is_base = _address(signal, environ, endpoint)
    spoken = forced or _protocol(signal, environ, protocol, value)
    if value is None:
        value = _DEFAULT[spoken]
    elif "://" not in value and not (spoken == "grpc" and field.startswith("OTEL")):
        shown = urlsplit(f"//{_without_user(value)}").netloc or _HIDDEN
        raise ValueError(f"{field}={shown!r} has no scheme: write http://{shown} (or https://{shown}).")
    parts = urlsplit(value if "://" in value else f"//{value}")
    _require_sound(field, parts)

    def setting(name: str) -> str:
        own = variable(environ, f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}")
        return own or variable(environ, f"OTEL_EXPORTER_OTLP_{name}")

    return Destination(
        kind="otlp",
        shown=f"{shown_address(value)} ({spoken})",
        protocol=spoken,
        endpoint=_without_user(parts.netloc)
        if spoken == "grpc"
        else _url(field, parts, signal, is_base=is_base),
        headers=_headers(setting("HEADERS"), parts),
        timeout=_timeout(signal, environ),
        compression=_compression(setting("COMPRESSION"), spoken),
        insecure=_is_insecure(setting("INSECURE"), parts),
        certificate=setting("CERTIFICATE"),
        client_certificate=setting("CLIENT_CERTIFICATE"),
        client_key=setting("CLIENT_KEY"),
        secrets=(unquote(parts.password or ""), parts.password or "", parts.query),
        source=field,
    )


def _given(signal: Signal, environ: Mapping[str, str]) -> tuple[str, str | None]:
    for field in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        value = variable(environ, field)
        if value:
            return field, value
    return "", None


def _address(
    signal: Signal, environ: Mapping[str, str], endpoint: str | None
) -> tuple[str, str | None, bool]:
    """Return the field that names the endpoint, the endpoint, and whether it is the base of all signals'."""
    field, value = _given(signal, environ)
    if value is None and endpoint is not None:
        return "endpoint", endpoint.strip(), True
    return field, value, field == "OTEL_EXPORTER_OTLP_ENDPOINT" or not field


def _url(field: str, parts: SplitResult, signal: Signal, *, is_base: bool) -> str:
    """Return what HTTP posts to; the address of one signal is used as it is."""
    path = parts.path
    if is_base:
        base = path.rstrip("/")
        for one in SIGNALS:
            if base.endswith(f"/v1/{one}"):
                # Nobody's endpoint is at /v1/traces/v1/traces.
                base = base.removesuffix(f"/v1/{one}")
                if signal == one:
                    _logger.warning(
                        "%s ends with /v1/%s: it is taken for the address of all signals without that.",
                        field,
                        one,
                    )
        path = f"{base}/v1/{signal}"
    return urlunsplit((parts.scheme, _without_user(parts.netloc), path or "/", parts.query, ""))


def _require_sound(field: str, parts: SplitResult) -> None:
    """Refuse an address whose port is no number: mostly, it is a password with a ``/`` or the like in it."""
    try:
        _ = parts.port
    except ValueError:
        # Not even the cause is shown: it quotes the port.
        raise ValueError(
            f"{field} is no address, for its port is no number: write / ? # of a password as %2F %3F %23."
        ) from None


def _without_user(address: str) -> str:
    return address.rpartition("@")[2]


def shown_address(address: str) -> str:
    """Return an address as it may be printed: without user, password, query and fragment."""
    scheme, separator, rest = address.partition("://") if "://" in address else ("", "", address)
    # A password may have a slash or a question mark in it, though it must not.
    user, _, place = rest.rpartition("@")
    parts = urlsplit(f"//{place}")
    query = f"?{_HIDDEN}" if parts.query else ""
    return f"{scheme}{separator}{f'{_HIDDEN}@' if user else ''}{parts.netloc}{parts.path}{query}"


def _headers(given: str, parts: SplitResult) -> dict[str, str]:
    headers: dict[str, str] = {}
    for place, one in enumerate(filter(None, (item.strip() for item in given.split(","))), 1):
        name, equals, value = one.partition("=")
        if equals and name.strip():
            headers[unquote(name).strip().lower()] = unquote(value).strip()
        else:  # what it says may be the secret itself
            warn_once(_logger, "OTEL_EXPORTER_OTLP_HEADERS: number %d is ignored: write name=value.", place)
    if parts.username is not None and "authorization" not in headers:
        both = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
    return headers


def _timeout(signal: Signal, environ: Mapping[str, str]) -> float:
    field = f"OTEL_EXPORTER_OTLP_{signal.upper()}_TIMEOUT"
    if not variable(environ, field):
        field = "OTEL_EXPORTER_OTLP_TIMEOUT"
    return number(environ, field, _TIMEOUT)


def _compression(given: str, protocol: str) -> str:
    wish = given.lower() or "none"
    known = _COMPRESSIONS[protocol]
    if wish not in known:
        _ignored("OTEL_EXPORTER_OTLP_COMPRESSION", given, known)
    return wish if wish in known else "none"


def _is_insecure(given: str, parts: SplitResult) -> bool:
    """Tell whether gRPC goes without TLS; a scheme that says it wins."""
    if parts.scheme in ("http", "https"):
        return parts.scheme == "http"
    return given.lower() == "true"


def _protocol(signal: Signal, environ: Mapping[str, str], given: str | None, endpoint: str | None) -> str:
    for field in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        value = variable(environ, field)
        known = _known(value) if value else None
        if known is not None:
            return known
        if value:
            _ignored(field, value, _PROTOCOLS)
    if given is not None:
        known = _known(given)
        if known is None:
            raise ValueError(f"protocol={given!r} is not supported: use one of {', '.join(_PROTOCOLS)}.")
        return known
    # HTTP is OpenTelemetry's default, but 4317 is the port of gRPC: whoever writes it means that,
    # and HTTP would only get an error there that nobody understands.
    return "grpc" if endpoint is not None and _port(endpoint) == 4317 else "http/protobuf"


def _known(protocol: str) -> str | None:
    word = protocol.strip().lower()
    word = "http/protobuf" if word == "http" else word
    return word if word in _PROTOCOLS else None


def _ignored(field: str, value: str, known: tuple[str, ...]) -> None:
    shown = ", ".join(known)
    warn_once(_logger, "%s=%r is not supported and is ignored: use one of %s.", field, value, shown)


def _port(endpoint: str) -> int | None:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").port
    except ValueError:
        return None
