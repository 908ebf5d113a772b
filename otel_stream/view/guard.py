"""Who may ask what: Host, Origin and token are looked at before anything else is.

- A page of another site can make a browser send requests here, and by rebinding its name even read the
  answers: so the Host must be ours, and a request that a browser sends for another origin is refused.
- Another user of the machine reaches loopback, too: so whatever answers with content asks for the token.
- Programs that export are no browsers and send no Origin; one that does is refused there.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Names of this machine for itself.
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
#: No script but the page's own, nothing from elsewhere, no text as markup.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'"
)
#: What every answer says.
HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Refused(Exception):
    """A request that is not answered: the status, and one sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Rules:
    """What is asked of a request.

    Args:
        token: what the API asks for.
        hosts: names under which the server is reached, besides those of loopback.
        exporters_too: whether programs that export need the token, too: not if only this machine reaches us.
        addresses: whether any address (not name) is taken as Host: a name alone can be rebound.
    """

    def __init__(
        self, token: str, hosts: Iterable[str] = (), *, exporters_too: bool = False, addresses: bool = False
    ) -> None:
        self._token = token.encode()
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}
        self.exporters_too = exporters_too
        self._addresses = addresses

    def host(self, host: str) -> None:
        """Refuse a Host that is not ours."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            name = ""
        if "@" not in host and (name in self._hosts or (self._addresses and _is_address(name))):
            return
        raise Refused(421, f"{host[:80]!r} is no name of this server; allow it with --allowed-host")

    def origin(self, headers: Headers) -> None:
        """Refuse what a browser sends for a page of another origin."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if site not in {"same-origin", "none"} or (
            origin is not None and _place(origin) != headers.get("host", "").lower()
        ):
            raise Refused(403, "requests of other origins are refused")

    def token(self, given: str) -> None:
        """Refuse an Authorization that does not bear the token."""
        scheme, _, token = given.partition(" ")
        right = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token)
        if scheme.lower() != "bearer" or not right:
            raise Refused(401, "open the page by the link that the program printed: it has the token")


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # no address at all
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Middleware that applies the rules, and says on every answer what a browser may do with it."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            self._ask(str(scope["path"]), Headers(scope=scope))
        except Refused as refused:
            answer = PlainTextResponse(f"{refused}\n", refused.status)
            await answer(scope, receive, hardened)
            return
        await self._app(scope, receive, hardened)

    def _ask(self, path: str, headers: Headers) -> None:
        rules = self._rules
        rules.host(headers.get("host", ""))
        if path.startswith("/v1/"):
            if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
                raise Refused(403, "browsers may not send telemetry here")
            if rules.exporters_too:
                rules.token(headers.get("authorization", ""))
        elif path.startswith("/api/"):
            rules.origin(headers)
            rules.token(headers.get("authorization", ""))
