"""What the page, ``tail`` and ``show`` ask: everything is read, nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from otel_stream.encoding import decode, joined
from otel_stream.view import ingest
from otel_stream.view.feed import Crowded, Feed
from otel_stream.view.guard import Guard, Rules
from otel_stream.view.items import LARGEST
from otel_stream.view.messages import conversation
from otel_stream.view.reading import NotThere, Reader
from otel_stream.view.states import States

_STATIC: Final = Path(__file__).parent / "static"
#: What the page consists of; nothing else is served.
_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/layout.js": ("layout.js", "text/javascript"),
    "/app.css": ("app.css", "text/css"),
}
#: Longest query, in characters.
_LONGEST: Final = 1_000
#: Digits of a number in a path.
_DIGITS: Final = 18


class Answers:
    """The routes below ``/api``."""

    def __init__(self, reader: Reader, feed: Feed, about: Callable[[Request], dict[str, Any]]) -> None:
        self._reader = reader
        self._states = States(reader)
        self._feed = feed
        self._about = about

    def routes(self) -> list[BaseRoute]:
        """Return them."""
        run = "/api/runs/{key}"
        return [
            Route("/api/about", self.about),
            Route("/api/live", self.live),
            Route("/api/runs", self.runs),
            Route(run, self.run),
            Route(f"{run}/spans/{{id}}", self.span),
            Route(f"{run}/parts", self.parts),
            Route(f"{run}/parts/{{number}}", self.body),
            Route(f"{run}/states", self.states),
            Route(f"{run}/states/{{seq}}", self.state),
            Route(f"{run}/states/{{seq}}/value", self.value),
            Route(f"{run}/states/{{seq}}/json", self.whole),
            Route(f"{run}/messages", self.messages),
            Route(f"{run}/logs", self.logs),
            Route(f"{run}/account", self.account),
            Route("/api/structures/{digest}", self.structure),
        ]

    def about(self, request: Request) -> Response:
        """Where it listens, what is in the store, how the last hour was."""
        return _json({**self._about(request), **self._reader.totals()})

    def runs(self, request: Request) -> Response:
        """The list: ``q``, ``limit``, ``before`` (milliseconds), ``failed`` first."""
        asked = request.query_params
        before = _number(asked.get("before"))
        rows = self._reader.runs(
            _text(asked.get("q", "")),
            int(_number(asked.get("limit")) or 100),
            None if before is None else _nanoseconds(before),
            failed_first="failed" in asked,
        )
        return _json({"runs": rows})

    async def live(self, request: Request) -> Response:
        """News of the list, or of ``run``, from version ``after`` on."""
        after = int(_number(request.query_params.get("after")) or 0)
        try:
            events = self._feed.listen(request.query_params.get("run"), after)
        except Crowded as error:
            raise HTTPException(503, str(error)) from None
        return StreamingResponse(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def run(self, request: Request) -> Response:
        """A run with what came of it after version ``after``."""
        after = int(_number(request.query_params.get("after")) or 0)
        return _json(self._reader.run(request.path_params["key"], after))

    def span(self, request: Request) -> Response:
        """All of a span."""
        return _json(self._reader.span(request.path_params["key"], request.path_params["id"]))

    def parts(self, request: Request) -> Response:
        """Log events after ``after`` of ``modes``, as far as they are short."""
        asked = request.query_params
        after = _number(asked.get("after"))
        modes = [mode for mode in _text(asked.get("modes", "")).split(",") if mode]
        limit = int(_number(asked.get("limit")) or 200)
        found = self._reader.parts(
            request.path_params["key"], -1 if after is None else int(after), modes, limit
        )
        return _json(found)

    def body(self, request: Request) -> Response:
        """The whole body of a log event, as text."""
        return PlainTextResponse(
            self._reader.body(request.path_params["key"], _whole(request, "number")),
            headers={"Cache-Control": "no-store"},
        )

    def states(self, request: Request) -> Response:
        """Which states there are."""
        return _json(self._states.index(request.path_params["key"]))

    def state(self, request: Request) -> Response:
        """The outline of a state, and what changed."""
        return _json(self._states.outline(request.path_params["key"], _whole(request, "seq")))

    def value(self, request: Request) -> Response:
        """What is at ``path``, a list as JSON, in a state; its items from ``start`` on."""
        try:
            path = decode(_text(request.query_params.get("path", "[]")))
        except ValueError:
            path = None
        if not isinstance(path, list) or not all(isinstance(one, str | int) for one in path):
            raise HTTPException(400, "path: give a list of keys and numbers, as JSON")
        start = max(0, int(_number(request.query_params.get("start")) or 0))
        return _json(self._states.value(request.path_params["key"], _whole(request, "seq"), path, start))

    def whole(self, request: Request) -> Response:
        """A state as JSON, to be kept."""
        content = self._states.whole(request.path_params["key"], _whole(request, "seq"))
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})

    def messages(self, request: Request) -> Response:
        """The conversation."""
        return _json(conversation(self._states.run(request.path_params["key"])))

    def logs(self, request: Request) -> Response:
        """Log records that are no stream parts."""
        return _json({"logs": self._reader.logs(request.path_params["key"])})

    def account(self, request: Request) -> Response:
        """Sums about the receivers of the run's graph."""
        return _json({"points": self._reader.account(request.path_params["key"])})

    def structure(self, request: Request) -> Response:
        """What a graph was declared to be."""
        content = self._reader.structure(request.path_params["digest"])
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


def application(answers: Answers, intake: ingest.Intake | None, rules: Rules | None = None) -> Starlette:
    """Return the whole application; without ``intake`` it takes no telemetry.

    Without ``rules`` whoever mounts it asks who may.
    """
    routes: list[BaseRoute] = [*answers.routes(), *(ingest.routes(intake) if intake is not None else ())]
    routes += [_file(path, *file) for path, file in _FILES.items()]
    return Starlette(
        routes=routes,
        middleware=[] if rules is None else [Middleware(Guard, rules=rules)],
        exception_handlers={NotThere: _not_there},
    )


def _file(path: str, name: str, kind: str) -> Route:
    async def serve(_: Request) -> Response:
        return FileResponse(_STATIC / name, media_type=kind, headers={"Cache-Control": "no-cache"})

    return Route(path, serve)


def _not_there(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error.args[0]}\n", 404)


def _json(value: Any) -> Response:
    return Response(joined(value), media_type="application/json", headers={"Cache-Control": "no-store"})


def _whole(request: Request, name: str) -> int:
    text = str(request.path_params[name])
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise NotThere(f"{text[:40]!r} is no number of ours")
    return int(text)


def _nanoseconds(milliseconds: float) -> int:
    """Return a time as the store has it, no later than it can be there."""
    return max(-LARGEST, min(int(milliseconds * 1e6), LARGEST))


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -(2**53) < value < 2**53:
        raise HTTPException(400, f"{text[:40]!r} is no number of ours")
    return value


def _text(text: str) -> str:
    if len(text) > _LONGEST:
        raise HTTPException(400, f"a query may have {_LONGEST} characters")
    return text
