"""The application: guarded, with every protocol's routes, to be run by itself or mounted in another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from otel_stream.web.access import Access, Authorize, Guard, Identify, who
from otel_stream.web.ag_ui import AgUi
from otel_stream.web.agent_server import AgentServer
from otel_stream.web.graphs import is_engine, served
from otel_stream.web.limits import Limits
from otel_stream.web.page import Page
from otel_stream.web.problems import Problem
from otel_stream.web.runs import Hub
from otel_stream.web.stopping import when_told_to_stop
from otel_stream.web.threads import Threads
from otel_stream.web.ui_messages import UiMessages
from otel_stream.web.watching import Watching


def create_app(
    graphs: Any,
    *,
    engine: Any = None,
    token: str | None = None,
    authorize: Authorize | None = None,
    identify: Identify = who,
    allowed_hosts: Collection[str] | None = None,
    allowed_origins: Collection[str] = (),
    limits: Limits | None = None,
    show_errors: bool = False,
    page: str | Path | None = None,
) -> Starlette:
    """Return an ASGI application that serves graphs to the clients that there are.

    Those of LangGraph's Agent Server (``langgraph-sdk``, ``RemoteGraph``, ``useStream``), of AG-UI and of
    Vercel's AI SDK work with it unchanged. It can be mounted anywhere. ``app.state.hub.aclose()`` ends
    its streams with a reason and waits for its runs: it does so itself as it shuts down; mounted, it is told.

    Args:
        graphs: a compiled graph, ours or LangGraph's, several, or a mapping of names to graphs. Or an
            ``ExecutionEngine``, whose runs are followed, and none is started.
        engine: an ``ExecutionEngine``: its receivers and sinks see the runs that clients start, and clients
            follow those that the program starts in it. Its graphs are ours.
        token: what every request must bear, as bearer or ``x-api-key``. Without it, and without
            ``authorize``, only this machine is answered, by its own names.
        authorize: ``authorize(identity, action, thread_id, run_id)`` says whether somebody may do something;
            it is asked at every request, so at every join and reconnect, and may be a coroutine function.
        identify: who asks, of a request; by default the user that a middleware has found, or the token.
        allowed_hosts: names the server is asked for by, besides those of this machine.
        allowed_origins: origins of pages that may ask, besides its own; none is ``*``.
        limits: of requests, readers, runs and time.
        show_errors: whether clients are told the text of an exception, which may be content, or its type.
        page: a folder for what the viewer's page keeps, which is then at ``/view/`` (extra ``view``).

    Raises:
        ImportError: ``page``, and the viewer is not installed.
        ValueError: no graph, two of one name, one of LangGraph's with ``engine``, or ``*`` among the origins.
    """
    bounds = limits or Limits()
    if is_engine(graphs):
        graphs, engine = {}, graphs
    hub = Hub(served(graphs, engine), bounds, texts=show_errors)
    if engine is not None:
        hub.beside.append(Watching(hub, engine))
    access = Access(token, authorize, identify, allowed_hosts, allowed_origins)
    app = _application(hub, access, None if page is None else _page(Path(page), access, hub))
    app.state.hub = hub
    return app


def _application(hub: Hub, access: Access, page: Page | None) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        hub.begin()
        with when_told_to_stop(hub.end_streams):
            yield
        await hub.aclose()

    app = Starlette(
        routes=[
            *AgentServer(hub, access).routes,
            *Threads(hub, access).routes,
            *AgUi(hub, access).routes,
            *UiMessages(hub, access).routes,
        ],
        middleware=[Middleware(Guard, access=access, limits=hub.limits, begin=hub.begin)],
        exception_handlers={Problem: _refused},
        lifespan=lifespan,
    )
    return app if page is None else Starlette(routes=[*page.routes(), Mount("/", app)], lifespan=lifespan)


def _page(folder: Path, access: Access, hub: Hub) -> Page:
    try:
        import otel_stream.view.api  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"page needs {error.name}, which is not there: install otel-stream[view]."
        ) from None
    page = Page(folder, access, hub)
    hub.beside.append(page)
    return page


async def _refused(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return JSONResponse({"detail": problem.detail}, problem.status)
