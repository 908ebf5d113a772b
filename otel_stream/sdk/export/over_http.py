"""OTLP over HTTP with protobuf bodies, and what an answer of HTTP says."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from otel_stream.encoding import decode
from otel_stream.sdk.configure.destinations import Destination
from otel_stream.sdk.export.answers import Answer, Sender, read_answer
from otel_stream.sdk.export.encoding import Encoding

if TYPE_CHECKING:
    import requests

#: Longest answer that is read, in bytes: OTLP's are some dozens.
MAX_ANSWER: Final = 64 * 1024

#: OTLP specification, "Retryable Response Codes".
_AGAIN: Final = frozenset({429, 502, 503, 504})
_TOO_LARGE: Final = 413


class HttpSender(Sender):
    """Posts requests to one URL."""

    def __init__(self, place: Destination, encoding: Encoding) -> None:
        super().__init__(place, encoding)
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": "otel-stream",
            **place.headers,
        }
        if place.compression != "none":
            self._headers["content-encoding"] = place.compression

    def _body(self, request: Message) -> bytes:
        return _compressed(super()._body(request), self._place.compression)

    def _attempt(self, body: bytes, seconds: float) -> Answer:
        import requests

        if self._connection is None:
            self._connection = self._new_session()
        try:
            with self._connection.post(
                self._place.endpoint or "",
                data=body,
                headers=self._headers,
                timeout=seconds,
                stream=True,
                allow_redirects=False,  # headers, which may be secrets, are for this receiver alone
            ) as response:
                return self._read(response, time.monotonic() + seconds)
        except requests.exceptions.SSLError as error:
            return Answer(False, reason=self._place.without_secrets(_cause(error)))
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            return Answer(False, again=0.0, reason=self._place.without_secrets(_cause(error)))
        except Exception as error:  # noqa: BLE001 - a sender never raises
            return Answer(False, reason=self._place.without_secrets(_cause(error)))

    def _new_session(self) -> requests.Session:
        import requests

        session = requests.Session()
        place = self._place
        session.verify = place.certificate or True
        if "authorization" in place.headers:
            session.auth = _as_it_is  # else what ~/.netrc says would take its place
        if place.client_certificate:
            both = place.client_certificate, place.client_key
            session.cert = both if place.client_key else place.client_certificate
        return session

    def _read(self, response: requests.Response, deadline: float) -> Answer:
        status, headers = response.status_code, response.headers
        if 200 <= status < 300:
            body, whole = _body(response, deadline)
            return self._success(headers, body) if whole else _no_otlp("its answer is too long")
        said = f"The receiver answered {status} {response.reason or ''}".rstrip()
        if 300 <= status < 400:
            return Answer(False, reason=f"{said}, a redirect, which is not followed: name the last address.")
        if status == _TOO_LARGE:
            return Answer(False, too_large=True, reason=f"{said}.")
        if status in _AGAIN:
            return Answer(False, again=retry_after(headers), reason=f"{said}.")
        return Answer(False, reason=f"{said}.")

    def _success(self, headers: Mapping[str, str], body: bytes) -> Answer:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not body.strip():
            return Answer(True)
        if kind == "application/json":
            return _json_answer(self._encoding, body)
        if kind == "text/html" or body.lstrip()[:1] == b"<":
            return _no_otlp("it answered with a web page")
        if kind not in ("application/x-protobuf", ""):
            return Answer(True)  # a word such as "OK", from who has nothing to say about items
        try:
            return read_answer(self._encoding.answer.FromString(body), self._encoding.rejected)
        except DecodeError:
            return _no_otlp("its answer can't be read")


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _json_answer(encoding: Encoding, body: bytes) -> Answer:
    try:
        said = ParseDict(decode(body), encoding.answer(), ignore_unknown_fields=True)
    except Exception:  # noqa: BLE001 - whatever was sent as JSON
        return _no_otlp("its answer can't be read")
    return read_answer(said, encoding.rejected)


def _no_otlp(why: str) -> Answer:
    return Answer(False, reason=f"What answered is no OTLP receiver: {why}.")


def _body(response: requests.Response, deadline: float) -> tuple[bytes, bool]:
    """Return the beginning of the answer, and whether that is all of it."""
    body = b""
    for piece in response.iter_content(8192):
        body += piece
        if len(body) > MAX_ANSWER or time.monotonic() > deadline:
            return body, False
    return body, True


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that ``Retry-After`` asks for, 0 if it does not say."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, min(float(value), 3600.0))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _compressed(body: bytes, how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(body, compresslevel=6, mtime=0)
    return zlib.compress(body) if how == "deflate" else body


def _cause(error: BaseException) -> str:
    """Name the innermost cause; what is around it quotes the address with all that is in it."""
    cause: Any = error
    seen = 0
    while seen < 8:
        inner = getattr(cause, "reason", None) or next(
            (one for one in getattr(cause, "args", ()) if isinstance(one, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        cause, seen = inner, seen + 1
    text = str(cause)
    # urllib3 begins with the connection as Python shows it.
    return f"{type(cause).__name__}: {text.rpartition('>: ')[2] or text}"[:300]
