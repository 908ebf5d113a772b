"""The viewer's page in an application: all runs, while they run, for those who may see all of them.

What it shows comes by OTLP over HTTP, as a viewer's does, from this process and from others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_stream.web.access import Access
from otel_stream.web.problems import Problem
from otel_stream.web.runs import Hub

_logger = logging.getLogger(__name__)

#: Bytes that its store may take up.
_CAPACITY: Final = 2**30


class Page:
    """The page and its API, with a store in ``folder``; to be mounted at ``/view``.

    What it consists of is anybody's who may ask at all; the runs are for those who bear the token, and whom
    ``authorize`` lets ``view``; telemetry comes from those whom it lets ``export``.
    """

    def __init__(self, folder: Path, access: Access, hub: Hub) -> None:
        self._folder = folder
        self._access = access
        self._hub = hub
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store: Any = None
        self._claim: Any = None
        self._app: ASGIApp | None = None

    def routes(self) -> list[BaseRoute]:
        """Return where it is."""
        return [Route("/view", _with_slash), Mount("/view", self)]

    def begin(self) -> None:
        """Open the store in the running loop, if it is not open; who can't have it says so in its answers."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        from otel_stream.view.places import Claim, Taken

        try:
            self._claim = Claim(self._folder)
            self._open()
        except (Taken, OSError) as error:
            _logger.error("The page shows nothing: %s", error)  # noqa: TRY400 - it says all
            self._app = PlainTextResponse(f"The page shows nothing: {error}\n", 503)

    def _open(self) -> None:
        from otel_stream.view import api, ingest, kept

        self._store = store = kept.Kept(self._folder, _CAPACITY)
        answers = api.Answers(store.reader, store.feed, self._about)
        self._app = api.application(answers, ingest.Intake(store.writer))

    def _about(self, request: Request) -> dict[str, Any]:
        url, counts = request.url, self._store.writer.counts
        return {
            "http": f"{url.scheme}://{url.netloc}{request.scope['root_path']}",
            "grpc": None,
            "takes": True,
            "capacity": _CAPACITY,
            "unplaced": counts.unplaced,
            "deleted": counts.deleted,
            "damaged": 0,
            "file": None,
            "backend": "",
            "listeners": self._store.feed.listeners,
        }

    def stop(self) -> None:
        """End its streams."""
        if self._store is not None:
            self._store.feed.close()

    def close(self) -> None:
        """Write what has come, and close the store."""
        self.stop()
        store, self._store = self._store, None
        self._app = PlainTextResponse("The server is about to stop.\n", 503)
        if store is not None:
            store.close()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from otel_stream.view.guard import HEADERS

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        if scope["type"] != "http":
            return
        self._hub.begin()
        try:
            await self._ask(HTTPConnection(scope), scope["path"].removeprefix(scope["root_path"]))
        except Problem as problem:
            await PlainTextResponse(f"{problem.detail}\n", problem.status)(scope, receive, hardened)
            return
        assert self._app is not None
        with suppress(ClientDisconnect):  # before its request was whole
            await self._app(scope, receive, hardened)

    async def _ask(self, connection: HTTPConnection, path: str) -> None:
        exports, shows = path.startswith("/v1/"), path.startswith("/api/")
        self._access.check(connection, token=exports or shows)
        site = connection.headers.get("sec-fetch-site", "none")
        if exports and ("origin" in connection.headers or site != "none"):
            raise Problem(403, "Browsers may not send telemetry here.")
        if exports or shows:
            await self._access.ask(connection, "export" if exports else "view")


async def _with_slash(_: Request) -> Response:
    return RedirectResponse("view/")
