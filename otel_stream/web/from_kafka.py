"""Runs of any worker over HTTP: what its ``KafkaSink`` sends, for browsers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from otel_stream.web.access import Access, Authorize, Guard, Identify, who
from otel_stream.web.agent_server import last_event
from otel_stream.web.limits import Limits
from otel_stream.web.problems import Problem
from otel_stream.web.wire import sse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from otel_stream.config import StreamConfig


def watch_app(
    topic: str,
    config: StreamConfig | None = None,
    *,
    stream: str = "",
    servers: str | list[str] = "127.0.0.1:9092",
    client: Mapping[str, Any] | None = None,
    token: str | None = None,
    authorize: Authorize | None = None,
    identify: Identify = who,
    allowed_hosts: Collection[str] | None = None,
    allowed_origins: Collection[str] = (),
    limits: Limits | None = None,
) -> Starlette:
    """Return an ASGI application that serves the runs in a topic, whichever worker runs them.

    ``GET /runs/{run_id}/stream`` sends a run's parts as server-sent events, from the first that the topic
    has, each under its mode and with its ``seq`` as id: a browser that comes back with ``Last-Event-ID``
    goes on behind it. The stream ends with the run. It can be mounted anywhere.

    ``topic``, ``config``, ``stream``, ``servers`` and ``client`` are those of ``remote_stream``, the others
    those of ``create_app``; ``authorize`` is asked for ``read`` with the id of the run, at each reconnect.

    Raises:
        ImportError: aiokafka is not installed: the extra ``kafka`` brings it.
        ValueError: ``*`` among the origins.
    """
    from otel_stream.kafka import remote_stream

    bounds = limits or Limits()
    access = Access(token, authorize, identify, allowed_hosts, allowed_origins)
    readers = _Readers(bounds.subscribers)

    async def watch(request: Request) -> Response:
        run_id = request.path_params["run_id"]
        await access.ask(request, "read", None, run_id)
        last = last_event(request, -1)
        readers.check()
        from_seq = last + 1 if last >= 0 else None
        receiver = remote_stream(
            topic, config, run_id=run_id, stream=stream, from_seq=from_seq, servers=servers, client=client
        )
        return _Watched(sse(receiver, bounds), readers)

    return Starlette(
        routes=[Route("/runs/{run_id}/stream", watch)],
        middleware=[Middleware(Guard, access=access, limits=bounds, begin=lambda: None)],
        exception_handlers={Problem: _refused},
    )


class _Readers:
    """How many read, and may."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.reading = 0

    def check(self) -> None:
        if self.reading >= self._most:
            raise Problem(503, f"There are {self._most} readers, as many as there may be.")


class _Watched(Response):
    """A response that counts as a reader as long as it lasts."""

    def __init__(self, response: Response, readers: _Readers) -> None:
        self._response = response
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._readers.reading += 1
        try:
            await self._response(scope, receive, send)
        finally:
            self._readers.reading -= 1


async def _refused(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return JSONResponse({"detail": problem.detail}, problem.status)
