"""Who may ask what: Host, Origin and token first, and ``authorize`` at every join and reconnect.

- A page of another site can make a browser send requests here, and by rebinding its name even read the
  answers: without a token the Host must be ours, and a request for a page of another origin is refused.
- What is reachable from elsewhere asks for a token, or for ``authorize``.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import ipaddress
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_stream.web.limits import Limits
from otel_stream.web.problems import Problem

#: ``authorize(identity, action, thread_id, run_id)``: whether it may. Actions are ``create``, ``read``,
#: ``update``, ``delete``, ``search``, ``create_run`` and ``cancel``; of the page ``view``, all runs, and
#: ``export``, to send telemetry; ids are None where it is about none.
Authorize = Callable[[Any, str, str | None, str | None], bool | Awaitable[bool]]
#: Says who asks: what ``authorize`` is given first.
Identify = Callable[[HTTPConnection], Any]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
#: What a page of an origin that is allowed may see, and send.
_EXPOSED: Final = "content-location, location, x-pagination-total, x-vercel-ai-ui-message-stream"
_ALLOWED: Final = "authorization, content-type, last-event-id, x-api-key, traceparent"


def who(connection: HTTPConnection) -> Any:
    """Return the user that a middleware has found, or the token that was given; None for nobody."""
    if "user" in connection.scope:
        return connection.user
    return token_of(connection) or None


def token_of(connection: HTTPConnection) -> str:
    """Return the token of a request: a bearer's, or an API key, which is how LangGraph's clients say it."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else connection.headers.get("x-api-key", "")


class Access:
    """What is asked of requests.

    Args:
        token: what every request must bear; None: nothing, and then only this machine is answered, unless
            there is an ``authorize``.
        authorize: asked whenever something is read or done.
        identify: says who asks.
        hosts: names under which the server may be asked for, besides those of this machine; None: any, if
            there is a token or an ``authorize``.
        origins: origins whose pages may ask, besides the server's own.
    """

    def __init__(
        self,
        token: str | None,
        authorize: Authorize | None,
        identify: Identify,
        hosts: Collection[str] | None,
        origins: Collection[str],
    ) -> None:
        if "*" in origins:
            raise ValueError("allowed_origins has '*': name the origins whose pages may ask.")
        if token == "":
            raise ValueError("token='' is none: give a secret of some length, or None.")
        self._token = None if token is None else token.encode()
        self._authorize = authorize
        self._identify = identify
        self._closed = token is not None or authorize is not None
        self._hosts = None if hosts is None and self._closed else _LOOPBACK | {h.lower() for h in hosts or ()}
        self.origins = frozenset(one.rstrip("/").lower() for one in origins)

    def check(self, connection: HTTPConnection, *, token: bool = True) -> None:
        """Refuse a request by what is known of it before it is read; ``token`` says that it must bear it.

        Raises:
            Problem: it is refused.
        """
        host = connection.headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Problem(421, "The Host is no name of this server: add it to allowed_hosts.")
        origin = connection.headers.get("origin")
        if origin is not None and not self.is_allowed(origin, host):
            raise Problem(403, "Pages of this origin may not ask: add it to allowed_origins.")
        if origin is None and connection.headers.get("sec-fetch-site") == "cross-site":
            raise Problem(403, "Pages of other sites may not ask.")
        if not self._closed and not _is_local(connection):
            raise Problem(403, "Only this machine is answered: create_app needs a token, or authorize.")
        if (
            token
            and self._token is not None
            and not hmac.compare_digest(token_of(connection).encode("utf-8", "replace"), self._token)
        ):
            raise Problem(401, "The token is missing or wrong.")

    def is_allowed(self, origin: str, host: str) -> bool:
        """Whether a page of ``origin`` may ask."""
        try:
            own = urlsplit(origin).netloc.lower() == host.lower() and host != ""
        except ValueError:  # no address at all
            return False
        return own or origin.rstrip("/").lower() in self.origins

    async def ask(
        self, connection: HTTPConnection, action: str, thread_id: str | None = None, run_id: str | None = None
    ) -> None:
        """Ask ``authorize``.

        Raises:
            Problem: it said no.
        """
        if self._authorize is None:
            return
        answer = self._authorize(self._identify(connection), action, thread_id, run_id)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not True:
            # What may not be seen is not said to exist.
            raise Problem(404 if thread_id is not None and action == "read" else 403, "This is not allowed.")


def _name(host: str) -> str:
    try:
        return "" if "@" in host else (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_local(connection: HTTPConnection) -> bool:
    client = connection.client
    if client is None:
        return True  # a socket of this machine's own
    try:
        return ipaddress.ip_address(client.host).is_loopback
    except ValueError:
        return client.host in {"testclient", ""}


class Guard:
    """Middleware that refuses, reads no more than it must, and says what a browser may do with the answer."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, begin: Callable[[], None]) -> None:
        self._app = app
        self._begin = begin
        self._access = access
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        self._begin()  # mounted in another application, it has no lifespan to begin with
        request = Request(scope)
        shared = self._headers(request)

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *shared]
            await send(message)

        try:
            if request.method == "OPTIONS" and "origin" in request.headers:
                await self._preflight(request)(scope, receive, hardened)
                return
            self._access.check(request)
            self._check_length(request.headers.get("content-length", "0"))
        except Problem as problem:
            await JSONResponse({"detail": problem.detail}, problem.status)(scope, receive, hardened)
            return
        with suppress(ClientDisconnect):  # before its request was whole
            await self._app(scope, self._bounded(receive), hardened)

    def _check_length(self, length: str) -> None:
        if len(length) > 18 or not length.isascii() or not length.isdigit():
            raise Problem(400, "Content-Length is no number.")
        if int(length) > self._limits.request_bytes:
            raise Problem(413, f"The request has more than {self._limits.request_bytes} bytes.")

    def _bounded(self, receive: Receive) -> Receive:
        taken, whole, limits = 0, False, self._limits
        until = monotonic() + limits.request_seconds

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), until - monotonic())
            except TimeoutError:
                raise Problem(
                    408, f"The request took longer than {limits.request_seconds:g} seconds."
                ) from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > limits.request_bytes:
                raise Problem(413, f"The request has more than {limits.request_bytes} bytes.")
            return message

        return bounded

    def _headers(self, request: Request) -> list[tuple[bytes, bytes]]:
        origin = request.headers.get("origin", "")
        said = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "vary": "origin"}
        if origin.rstrip("/").lower() in self._access.origins:
            said |= {"access-control-allow-origin": origin, "access-control-expose-headers": _EXPOSED}
        return [(name.encode(), value.encode("latin-1", "replace")) for name, value in said.items()]

    def _preflight(self, request: Request) -> Response:
        if not self._access.is_allowed(request.headers["origin"], request.headers.get("host", "")):
            raise Problem(403, "Pages of this origin may not ask: add it to allowed_origins.")
        methods = "GET, POST, PATCH, DELETE"
        return Response(
            status_code=204,
            headers={"access-control-allow-methods": methods, "access-control-allow-headers": _ALLOWED},
        )
