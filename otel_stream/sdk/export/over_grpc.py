"""OTLP over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

import grpc  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]

from otel_stream.sdk.configure.destinations import Destination
from otel_stream.sdk.export.answers import Answer, Sender, read_answer
from otel_stream.sdk.export.encoding import Encoding

#: OTLP specification, "Failures" over gRPC; RESOURCE_EXHAUSTED only if the receiver says when.
_AGAIN: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_OPTIONS: Final = (("grpc.primary_user_agent", "otel-stream"),)

#: What servers in Go (and C++, Node), Java and Rust say of a request that is too long, under several codes.
_TOO_LONG: Final = ("larger than max", "exceeds maximum size", "length too large")


class Certified(Protocol):
    """Names files of certificates: whom a connection trusts, and what it shows; "" is none."""

    @property
    def certificate(self) -> str: ...
    @property
    def client_certificate(self) -> str: ...
    @property
    def client_key(self) -> str: ...


class GrpcSender(Sender):
    """Calls ``Export`` of one receiver."""

    def __init__(self, place: Destination, encoding: Encoding) -> None:
        super().__init__(place, encoding)
        self._metadata = tuple((name.lower(), value) for name, value in place.headers.items())
        self._call: Any = None

    def _disconnect(self) -> None:
        super()._disconnect()
        self._call = None

    def _attempt(self, body: bytes, seconds: float) -> Answer:
        try:
            if self._call is None:
                self._open()
            call: Any = self._call
            said = call(body, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            return self._refusal(error)
        except Exception as error:  # noqa: BLE001 - a sender never raises; a closed channel is a ValueError
            return Answer(False, reason=self._place.without_secrets(f"{type(error).__name__}: {error}"))
        return read_answer(said, self._encoding.rejected)

    def _open(self) -> None:
        place = self._place
        compression = grpc.Compression.Gzip if place.compression == "gzip" else grpc.Compression.NoCompression
        target = place.endpoint or ""
        if place.insecure:
            self._connection = grpc.insecure_channel(target, _OPTIONS, compression)
        else:
            self._connection = grpc.secure_channel(target, credentials(place), _OPTIONS, compression)
        self._call = self._connection.unary_unary(
            self._encoding.method, response_deserializer=self._encoding.answer.FromString
        )

    def _refusal(self, error: Any) -> Answer:
        code, details = error.code(), self._place.without_secrets(error.details() or "")
        reason = f"The receiver answered {code.name}: {details[:300]}"
        if any(words in details for words in _TOO_LONG):
            return Answer(False, too_large=True, reason=reason)
        pause = _retry_delay(error)
        if code in _AGAIN or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and pause is not None):
            return Answer(False, again=pause or 0.0, reason=reason)
        return Answer(False, reason=reason)


def _retry_delay(error: Any) -> float | None:
    for name, value in error.trailing_metadata() or ():
        if name == "google.rpc.retryinfo-bin":
            delay = RetryInfo.FromString(value).retry_delay
            return float(delay.seconds + delay.nanos * 1e-9)
    return None


def credentials(place: Certified) -> Any:
    """Return what a channel trusts and shows."""

    def read(path: str) -> bytes | None:
        return Path(path).read_bytes() if path else None

    return grpc.ssl_channel_credentials(
        read(place.certificate), read(place.client_key), read(place.client_certificate)
    )
