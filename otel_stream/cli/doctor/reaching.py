"""The way to an endpoint, step by step: its name, its port, its TLS."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

import msgspec

from otel_stream.cli.doctor.asking import ask, overruling, trust, within
from otel_stream.cli.doctor.findings import Verdict
from otel_stream.cli.doctor.targets import Target


def look_up(target: Target, seconds: float) -> Verdict:
    """Turn the host's name into addresses."""
    tried = f"look up {target.host}"
    try:
        found = within(seconds, lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
    except TimeoutError:
        return Verdict(
            "stop",
            tried,
            f"no answer within {seconds:g} s",
            f"The name server did not say in time where {target.host} is.",
            "Check this machine's network and DNS, or write an IP address into the endpoint.",
        )
    except (OSError, UnicodeError) as error:
        return Verdict(
            "stop",
            tried,
            error.args[-1] if error.args else str(error),
            f"There is no host {target.host} as seen from this machine.",
            f"Correct the name in {field(target)}; in a container, use the name of the Collector's service.",
        )
    return Verdict("ok", tried, ", ".join(dict.fromkeys(str(one[4][0]) for one in found)))


def connect(target: Target, seconds: float) -> Verdict:
    """Open a connection and close it."""
    tried = f"connect to {target.place}"
    try:
        within(seconds, lambda: socket.create_connection((target.host, target.port), seconds).close())
    except ConnectionRefusedError:
        return Verdict("stop", tried, "connection refused", *_refused(target))
    except TimeoutError:
        return Verdict(
            "stop",
            tried,
            f"no answer within {seconds:g} s",
            f"Nothing answers at {target.place}, not even to refuse; a firewall may swallow it.",
            f"Correct host and port in {field(target)}, or let the firewall pass port {target.port}.",
        )
    except OSError as error:
        return Verdict(
            "stop",
            tried,
            errno.errorcode.get(error.errno or 0, type(error).__name__),
            f"This machine has no way to {target.place} ({(error.strerror or str(error)).lower()}).",
            f"Correct the address in {field(target)}, or the network.",
        )
    return Verdict("ok", tried, "open")


def _refused(target: Target) -> tuple[str, str]:
    if target.on_this_machine:
        return (
            (
                f"Nothing listens on port {target.port} of this machine; in a "
                "container, that means the container."
            ),
            f"Start a Collector there (otel-stream backends up), or correct {field(target)}.",
        )
    return (
        f"{target.host} is there, but nothing listens on port {target.port}.",
        f"Start the Collector, or correct the port in {field(target)}: 4317 for gRPC, 4318 for HTTP.",
    )


def field(target: Target) -> str:
    """Return what the endpoint is to be corrected in."""
    return target.variable or "OTEL_EXPORTER_OTLP_ENDPOINT"


# -- TLS -------------------------------------------------------------------------------------------

_CERTIFICATE: Final = "OTEL_EXPORTER_OTLP_CERTIFICATE"

#: OpenSSL's codes -> what it means, what to change.
_UNTRUSTED: Final = {
    10: (
        "The certificate of {place} has expired.",
        "Renew it at the server, and check this machine's clock.",
    ),
    18: (
        "The certificate of {place} is signed by itself, and nothing here says to trust it.",
        f"Set {_CERTIFICATE} to a file with that certificate.",
    ),
    19: (
        "The certificate of {place} comes from an authority that is not trusted here.",
        f"Set {_CERTIFICATE} to a file with the certificate of that authority.",
    ),
    20: (
        "The certificate of {place} comes from an authority that is not trusted here.",
        f"Set {_CERTIFICATE} to a file with the certificate of that authority.",
    ),
    62: (
        "The certificate of {place} is for another name.",
        "Write the name that is in the certificate into the endpoint, or have it issued for {host}.",
    ),
    64: (
        "The certificate of {place} is not for this IP address.",
        "Write the name that is in the certificate into the endpoint, or have it issued for {host}.",
    ),
}

_OVERRULED: Final = (
    f"{_CERTIFICATE} is not heeded, for {{variable}} wins over it, and does not trust {{place}}.",
    "Unset {variable} for this program, or add the certificate to the file that it names.",
)


def handshake(target: Target, seconds: float) -> Verdict:
    """Agree on TLS as the exporters would, trusting whom they trust."""
    tried = f"TLS with {target.place}"
    try:
        context = trust(target)
    except (OSError, ValueError) as error:
        return Verdict(
            "stop",
            tried,
            type(error).__name__,
            "A file of certificates can't be read, or holds none.",
            f"Correct {_certificates(target)}.",
        )
    try:
        version = within(seconds, lambda: _shake_hands(target, context, seconds))
    except ssl.SSLCertVerificationError as error:
        means, change = _UNTRUSTED.get(
            error.verify_code,
            ("The certificate of {place} is not accepted.", f"Check it, or set {_CERTIFICATE}."),
        )
        fill = {"place": target.place, "host": target.host}
        if target.certificate and overruling(target) and error.verify_code in {18, 19, 20}:
            means, change = _OVERRULED
            fill["variable"] = overruling(target)
        return Verdict("stop", tried, error.verify_message, means.format(**fill), change.format(**fill))
    except OSError as error:
        return Verdict("stop", tried, _reason(error), *_no_tls(target, seconds))
    return Verdict("ok", tried, version)


def _certificates(target: Target) -> str:
    given = {
        overruling(target) or _CERTIFICATE: os.environ.get(overruling(target)) or target.certificate,
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": target.client_certificate,
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": target.client_key,
    }
    return ", ".join(f"{name}={path!r}" for name, path in given.items() if path) or "SSL_CERT_FILE"


def _shake_hands(target: Target, context: ssl.SSLContext, seconds: float, *, listen: bool = False) -> str:
    with (
        socket.create_connection((target.host, target.port), seconds) as plain,
        context.wrap_socket(plain, server_hostname=target.host) as secure,
    ):
        if listen:
            secure.recv(1)
        return secure.version() or "TLS"


def _reason(error: OSError) -> str:
    return (
        (getattr(error, "reason", None) or error.strerror or type(error).__name__).lower().replace("_", " ")
    )


def _no_tls(target: Target, seconds: float) -> tuple[str, str]:
    plain = _changed(target, tls=False, headers={})
    if ask(_changed(plain, protocol="http/protobuf"), seconds).kind == "http" or _answers_grpc(
        plain, seconds
    ):
        return (
            f"{target.place} speaks no TLS, and {_asked_for_tls(target)}.",
            f"Write http://{target.place} into {field(target)}.",
        )
    return (
        f"{target.place} did not agree on TLS.",
        f"Is it the port of an OTLP endpoint? Correct {field(target)}, or the server's TLS.",
    )


def _asked_for_tls(target: Target) -> str:
    return (
        "the endpoint says https"
        if target.scheme == "https"
        else "gRPC uses it unless the endpoint says http://"
    )


# -- what else it may speak ------------------------------------------------------------------------


def other_language(target: Target, seconds: float) -> tuple[str, str] | None:
    """Find out why an endpoint that takes connections does not answer; None if nothing explains it.

    Credentials are not shown to what may be something else.
    """
    given = field(target)
    if not target.tls and _speaks_tls(target, seconds):
        return (
            f"{target.place} expects TLS, and is spoken to without.",
            f"Write https://{target.place} into {given}.",
        )
    if target.tls and _wants_certificate(target, seconds):
        return (
            f"{target.place} wants to see a certificate of the client.",
            "Set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY to files with one.",
        )
    plain = _changed(target, headers={})
    if target.protocol != "grpc" and _answers_grpc(plain, seconds):
        return (
            f"{target.place} speaks gRPC, and is spoken to over HTTP.",
            f"Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or write the port for HTTP into {given}, usually 4318.",
        )
    path = f"/v1/{target.signal}"
    if (
        target.protocol == "grpc"
        and ask(_changed(plain, protocol="http/protobuf", path=path), seconds).kind == "http"
    ):
        return (
            f"{target.place} speaks HTTP, and is spoken to over gRPC.",
            (
                "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, "
                f"or write the port for gRPC into {given}, usually 4317."
            ),
        )
    return None


def _changed(target: Target, **fields: object) -> Target:
    return msgspec.structs.replace(target, **fields)


def _answers_grpc(target: Target, seconds: float) -> bool:
    """Tell whether gRPC is spoken, whatever it answers; a failed connection has these codes, too."""
    answer = ask(_changed(target, protocol="grpc"), seconds)
    return answer.kind == "grpc" and answer.code not in {
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "INTERNAL",
        "UNKNOWN",
    }


def _wants_certificate(target: Target, seconds: float) -> bool:
    """Tell whether the server breaks off because no client's certificate was shown, or not the right one.

    With TLS 1.3 it says so after the handshake, and who sends meanwhile may not hear it.
    """
    try:
        within(seconds, lambda: _shake_hands(target, trust(target), seconds, listen=True))
    except ssl.SSLError as error:
        return "CERTIFICATE" in (error.reason or "")
    except OSError:
        return False
    return False


def _speaks_tls(target: Target, seconds: float) -> bool:
    """Tell whether TLS is spoken, by anybody: nothing is sent, so nobody need be trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        within(seconds, lambda: _shake_hands(target, context, seconds))
    except (OSError, ValueError):
        return False
    return True
