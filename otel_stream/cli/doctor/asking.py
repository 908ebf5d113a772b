"""An empty export, sent as the exporters send theirs, and what came back."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from otel_stream.cli.doctor.targets import Target

if TYPE_CHECKING:
    from otel_stream.sdk.configure.destinations import Signal

T = TypeVar("T")

#: What is read of an answer, at most.
_MOST: Final = 64 * 1024


class Answer(msgspec.Struct, frozen=True):
    """What came back: a status of HTTP, a code of gRPC, or why there was neither.

    ``kind`` is ``http``, ``grpc`` or ``none``; ``code`` is a number or a name, such as ``UNAVAILABLE``.
    """

    kind: str
    code: int | str = ""
    text: str = ""
    content_type: str = ""
    #: The server's clock, as HTTP tells it.
    date: str = ""
    location: str = ""
    #: What the answer says about telemetry that it took only in part.
    partial: str = ""

    @property
    def taken(self) -> bool:
        """Tell whether an OTLP endpoint took the request."""
        if self.kind == "grpc":
            return self.code == "OK"
        return self.kind == "http" and str(self.code).startswith("2") and "text/html" not in self.content_type


def harmless(text: str, secrets: Iterable[str], most: int = 200) -> str:
    """Return the first line of what a server said, without what could hurt a terminal or tell a secret.

    Some servers repeat what they were sent, headers included.
    """
    line = "".join(letter for letter in text.strip().partition("\n")[0][:4096] if letter.isprintable())
    for secret in secrets:
        for word in (secret, *secret.split()):
            if len(word) > 3:
                line = line.replace(word, "***")
    return line[:most]


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises, within ``seconds``.

    A call that takes longer is left to itself: looking up a name has no timeout of its own, and a
    timeout of a socket begins anew with every byte.

    Raises:
        TimeoutError: it took longer.
    """
    outcome: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            raised.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return outcome[0]


def _heard(target: Target, text: str) -> str:
    return harmless(text, target.headers.values())


def ask(target: Target, seconds: float) -> Answer:
    """Send an empty export of the target's signal, in the target's protocol."""
    speak = _over_grpc if target.protocol == "grpc" else _over_http
    try:
        return within(seconds, lambda: speak(target, seconds))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer("none", type(error).__name__, _heard(target, str(error)))


def trust(target: Target) -> ssl.SSLContext:
    """Return what a connection trusts and shows, as the exporters have it.

    Raises:
        OSError: a file of certificates can't be read, or holds none (``ssl.SSLError``).
    """
    trusted = os.environ.get(overruling(target)) or target.certificate or _roots(target)
    folder = Path(trusted).is_dir()
    context = ssl.create_default_context(
        cafile=None if folder else trusted, capath=trusted if folder else None
    )
    if target.client_certificate:
        context.load_cert_chain(target.client_certificate, target.client_key or None)
    if target.protocol == "grpc":
        context.set_alpn_protocols(["h2"])
    return context


def overruling(target: Target) -> str:
    """Return the variable that wins over ``OTEL_EXPORTER_OTLP_CERTIFICATE``, or "".

    requests, on which the exporter for HTTP stands, heeds these before what a session was told.
    """
    names = () if target.protocol == "grpc" else ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((name for name in names if os.environ.get(name)), "")


def _roots(target: Target) -> str:
    import certifi  # of requests, too

    given = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH") if target.protocol == "grpc" else ""
    return given or certifi.where()


# -- HTTP ------------------------------------------------------------------------------------------


def _over_http(target: Target, seconds: float) -> Answer:
    connection = (
        http.client.HTTPSConnection(target.host, target.port, timeout=seconds, context=trust(target))
        if target.tls
        else http.client.HTTPConnection(target.host, target.port, timeout=seconds)
    )
    try:
        headers = {"Content-Type": "application/x-protobuf", **target.headers}
        connection.request("POST", target.path, b"", headers)
        got = connection.getresponse()
        body = got.read(_MOST)
    finally:
        connection.close()
    content_type = got.getheader("Content-Type", "")
    partial = _partial(target.signal, body) if "protobuf" in content_type and got.status == 200 else ""
    text = body.decode("utf-8", "replace") if "protobuf" not in content_type else ""
    return Answer(
        "http",
        got.status,
        _heard(target, text),
        content_type,
        got.getheader("Date", ""),
        _heard(target, got.getheader("Location", "").partition("?")[0]),
        _heard(target, partial),
    )


# -- gRPC ------------------------------------------------------------------------------------------


def _over_grpc(target: Target, seconds: float) -> Answer:
    # Its core would tell the terminal of every handshake that fails; what failed is in the answer.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc  # type: ignore[import-untyped]

    from otel_stream.sdk.export.encoding import ENCODINGS
    from otel_stream.sdk.export.over_grpc import credentials

    channel = (
        grpc.secure_channel(target.place, credentials(target))
        if target.tls
        else grpc.insecure_channel(target.place)
    )
    try:
        call = channel.unary_unary(ENCODINGS[target.signal].method)
        body = call(b"", metadata=tuple(target.headers.items()), timeout=seconds)
    except grpc.RpcError as error:
        return Answer("grpc", error.code().name, _heard(target, error.details() or ""))
    finally:
        channel.close()
    return Answer("grpc", "OK", partial=_heard(target, _partial(target.signal, body)))


def _partial(signal: Signal, body: bytes) -> str:
    """Return what an answer in OTLP says about a partial success, or ""."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from otel_stream.sdk.export.encoding import ENCODINGS

    try:
        return str(ENCODINGS[signal].answer.FromString(body).partial_success.error_message)
    except DecodeError:
        return ""
