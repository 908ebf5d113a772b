"""LangGraph's Agent Server: threads and run streams, as its Python and JavaScript clients ask for them.

Beyond it, and ignored by its clients: the trace's id in ``metadata``, a field ``traceparent`` on every event,
which names the span that it is from, and the event ``otel``, which tells a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_stream.config import MODES
from otel_stream.encoding import encode
from otel_stream.web.access import Access
from otel_stream.web.bodies import said
from otel_stream.web.following import events
from otel_stream.web.problems import Problem
from otel_stream.web.runs import GOING, Asked, Hub, LiveRun, Thread
from otel_stream.web.states import config_of, history_of, state_of
from otel_stream.web.wire import HEARTBEAT, event

_STRATEGIES: Final = ("enqueue", "reject", "interrupt", "rollback")
#: What clients may ask of a run that there is nothing for here.
_NOT_SERVED: Final = ("webhook", "after_seconds")
#: Of the Agent Server's modes, those that are called otherwise here.
_MODES: Final = {"messages-tuple": "messages"}


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """Return ``value``, whatever it is, as JSON; names of headers are written with ``_`` for ``-``."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(encode(value), status, named, "application/json")


def last_event(request: Request, default: int) -> int:
    """Return the number of the last event that a client has had; -1 is before the first one.

    Raises:
        Problem: it is no number.
    """
    given = request.headers.get("last-event-id", "").strip()
    try:
        return int(given) if given else default
    except ValueError:
        raise Problem(422, f"Last-Event-ID {given[:40]!r} is no number of an event.") from None


class AgentServer:
    """The routes."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub = hub
        self._may = access.ask

    @property
    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/ok", self.ok),
            ("GET", "/info", self.info),
            ("POST", "/assistants/search", self.assistants),
            ("GET", "/assistants/{assistant}", self.assistant),
            ("GET", "/assistants/{assistant}/graph", self.drawing),
            ("GET", "/assistants/{assistant}/schemas", self.schemas),
            ("POST", "/threads", self.create_thread),
            ("POST", "/threads/search", self.search),
            ("GET", "/threads/{thread}", self.read_thread),
            ("PATCH", "/threads/{thread}", self.update_thread),
            ("DELETE", "/threads/{thread}", self.delete_thread),
            ("GET", "/threads/{thread}/state", self.state),
            ("POST", "/threads/{thread}/state", self.update_state),
            ("POST", "/threads/{thread}/state/checkpoint", self.state_at),
            ("GET", "/threads/{thread}/state/{checkpoint}", self.state),
            ("POST", "/threads/{thread}/history", self.history),
            ("GET", "/threads/{thread}/history", self.history),
            ("GET", "/threads/{thread}/stream", self.join_thread),
            ("POST", "/threads/{thread}/runs/stream", self.stream),
            ("POST", "/threads/{thread}/runs/wait", self.wait),
            ("POST", "/threads/{thread}/runs", self.begin),
            ("GET", "/threads/{thread}/runs", self.runs),
            ("GET", "/threads/{thread}/runs/{run}", self.read_run),
            ("DELETE", "/threads/{thread}/runs/{run}", self.delete_run),
            ("GET", "/threads/{thread}/runs/{run}/stream", self.join),
            ("GET", "/threads/{thread}/runs/{run}/join", self.wait_for),
            ("POST", "/threads/{thread}/runs/{run}/cancel", self.cancel),
            ("POST", "/runs/stream", self.stream),
            ("POST", "/runs/wait", self.wait),
        ]
        return [Route(path, call, methods=[method]) for method, path, call in table]

    # -- what there is -----------------------------------------------------------------------------------

    async def ok(self, request: Request) -> Response:
        return answer({"ok": True})

    async def info(self, request: Request) -> Response:
        return answer({"version": "otel-stream", "flags": {"assistants": True, "crons": False}})

    async def assistants(self, request: Request) -> Response:
        await self._may(request, "search")
        asked = await said(request)
        found = [one.assistant() for one in self._hub.graphs.values()]
        wanted = asked.get("graph_id")
        return answer([one for one in found if wanted in {None, one["graph_id"]}])

    async def assistant(self, request: Request) -> Response:
        await self._may(request, "read")
        return answer(self._hub.graph(request.path_params["assistant"]).assistant())

    async def drawing(self, request: Request) -> Response:
        await self._may(request, "read")
        graph = self._hub.graph(request.path_params["assistant"]).graph
        asked = request.query_params.get("xray", "false").lower()
        xray: bool | int = int(asked) if asked.isdecimal() and len(asked) < 3 else asked == "true"
        return answer(graph.get_graph(xray=xray).to_json())

    async def schemas(self, request: Request) -> Response:
        await self._may(request, "read")
        served = self._hub.graph(request.path_params["assistant"])
        return answer(
            {"graph_id": served.name, "input_schema": None, "output_schema": None, "state_schema": None}
        )

    # -- threads -----------------------------------------------------------------------------------------

    async def _thread(self, request: Request, action: str, *, create: bool = False) -> Thread:
        id = str(request.path_params["thread"])
        await self._may(request, action, id, request.path_params.get("run"))
        return await self._hub.thread(id, create=create)

    async def create_thread(self, request: Request) -> Response:
        asked = await said(request)
        id = asked.get("thread_id")
        await self._may(request, "create", None if id is None else str(id))
        if id is not None and str(id) in self._hub.threads:
            if asked.get("if_exists") == "do_nothing":
                return answer(_told(self._hub.threads[str(id)]))
            raise Problem(409, "The thread exists: say if_exists='do_nothing', or choose another thread_id.")
        made = self._hub.create(id, asked.get("metadata"))
        return answer(_told(made))

    async def search(self, request: Request) -> Response:
        await self._may(request, "search")
        asked = await said(request)
        wanted, status = asked.get("metadata") or {}, asked.get("status")
        found = [
            thread
            for thread in reversed(self._hub.threads.values())
            if wanted.items() <= thread.metadata.items() and status in {None, thread.status}
        ]
        start, most = _number(asked, "offset", 0), _number(asked, "limit", 10)
        return answer([_told(one) for one in found[start : start + most]], x_pagination_total=str(len(found)))

    async def read_thread(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        state = await state_of(self._hub, thread, {})
        return answer({**_told(thread), "values": state["values"], "interrupts": _by_task(state)})

    async def update_thread(self, request: Request) -> Response:
        thread = await self._thread(request, "update")
        self._hub.describe(thread, (await said(request)).get("metadata"))
        return answer(_told(thread))

    async def delete_thread(self, request: Request) -> Response:
        thread = await self._thread(request, "delete")
        while going := thread.going:  # another one may begin meanwhile
            await going[0].cancel()
        served = self._hub.graph(thread.graph) if thread.graph else None
        if (
            served is not None
            and served.keeps_threads
            and hasattr(served.graph.checkpointer, "adelete_thread")
        ):
            await served.graph.checkpointer.adelete_thread(thread.id)
        self._hub.forget(thread)
        return Response(status_code=204)

    async def state(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        at = (
            {"checkpoint_id": request.path_params["checkpoint"]}
            if "checkpoint" in request.path_params
            else {}
        )
        return answer(await state_of(self._hub, thread, at))

    async def state_at(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        asked = await said(request)
        return answer(await state_of(self._hub, thread, asked.get("checkpoint") or {}))

    async def update_state(self, request: Request) -> Response:
        thread = await self._thread(request, "update")
        asked = await said(request)
        served = self._hub.graph(thread.graph)
        if not served.keeps_threads:
            raise Problem(409, "The graph has no checkpointer, so its threads have no state to update.")
        config = config_of(thread, asked.get("checkpoint") or {"checkpoint_id": asked.get("checkpoint_id")})
        try:
            made = await served.graph.aupdate_state(config, asked.get("values"), as_node=asked.get("as_node"))
        except Exception as error:  # noqa: BLE001 - whatever the graph says to values that make no sense
            raise Problem(422, f"The graph refuses the update ({type(error).__name__}).") from None
        return answer({"checkpoint": made["configurable"], **made})

    async def history(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        query = {name: request.query_params.get(name) for name in ("limit", "before")}
        asked = await said(request) if request.method == "POST" else query
        return answer(await history_of(self._hub, thread, asked))

    # -- runs --------------------------------------------------------------------------------------------

    async def _start(self, request: Request) -> tuple[LiveRun, dict[str, Any]]:
        body = await said(request)
        given = request.path_params.get("thread")
        if given is None:
            await self._may(request, "create_run")
            thread = self._hub.create()
        else:
            await self._may(request, "create_run", str(given))
            thread = await self._hub.thread(str(given), create=body.get("if_not_exists") == "create")
        served = self._hub.graph(body.get("assistant_id"))
        strategy = body.get("multitask_strategy") or "enqueue"
        if strategy not in _STRATEGIES:
            raise Problem(422, f"multitask_strategy={strategy!r} is not known: {', '.join(_STRATEGIES)}.")
        return await self._hub.start(thread, served, asked_of(body), strategy), body

    async def stream(self, request: Request) -> Response:
        self._hub.has_room()
        run, body = await self._start(request)
        chunks = events(self._hub, run, -1, None)
        if body.get("on_disconnect") == "cancel":
            chunks = _cancelling(chunks, run)
        place = f"{request.scope.get('root_path', '')}{run.place}"
        return self._hub.stream(chunks, {"location": f"{place}/stream", "content-location": place})

    async def join(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        run = self._hub.run(thread, request.path_params["run"])
        self._hub.has_room(run.feed)
        asked = ",".join(request.query_params.getlist("stream_mode")).split(",")
        modes = [mode for mode in asked if mode] or None
        live = run.feed.next - 1
        return self._hub.stream(events(self._hub, run, last_event(request, live), modes))

    async def join_thread(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        self._hub.has_room()
        return self._hub.stream(self._all_runs(thread))

    async def _all_runs(self, thread: Thread) -> AsyncIterator[bytes]:
        seen = {run.id for run in thread.runs.values() if run.status not in GOING}
        while not (self._hub.stopping.is_set() or thread.gone):
            news = thread.news
            for run in [run for run in thread.runs.values() if run.id not in seen]:
                seen.add(run.id)
                async for chunk in events(self._hub, run, -1, None):
                    yield chunk
                yield event("metadata", encode({"status": "run_done", "run_id": run.id}))
            try:
                async with asyncio.timeout(self._hub.limits.heartbeat):
                    await news.wait()
            except TimeoutError:
                yield HEARTBEAT
        if thread.gone:
            yield event("otel", b'{"end":"thread_gone"}')

    async def begin(self, request: Request) -> Response:
        run, _ = await self._start(request)
        return answer(run.to_json(), content_location=run.place)

    async def wait(self, request: Request) -> Response:
        run, _ = await self._start(request)
        return await self._end_of(run)

    async def wait_for(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        return await self._end_of(self._hub.run(thread, request.path_params["run"]))

    async def _end_of(self, run: LiveRun) -> Response:
        await run.ended.wait()
        if run.error is not None:
            return answer({"__error__": run.error})
        state = run.result if isinstance(run.result, Mapping) else {"output": run.result}
        shown = {**state, "__interrupt__": list(run.interrupts)} if run.interrupts else state
        return answer(shown, content_location=run.place)

    async def runs(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        return answer([run.to_json() for run in reversed(thread.runs.values())])

    async def read_run(self, request: Request) -> Response:
        thread = await self._thread(request, "read")
        return answer(self._hub.run(thread, request.path_params["run"]).to_json())

    async def delete_run(self, request: Request) -> Response:
        thread = await self._thread(request, "delete")
        run = self._hub.run(thread, request.path_params["run"])
        await run.cancel()
        thread.runs.pop(run.id, None)
        return Response(status_code=204)

    async def cancel(self, request: Request) -> Response:
        thread = await self._thread(request, "cancel")
        run = self._hub.run(thread, request.path_params["run"])
        run.stop()
        if request.query_params.get("wait", "0") in {"1", "true"}:
            await run.ended.wait()
        return answer({}, 202)


def asked_of(body: Mapping[str, Any]) -> Asked:
    """Return what a run's request asks for.

    Raises:
        Problem: a mode that there is not, or what is not served.
    """
    for name in _NOT_SERVED:
        if body.get(name):
            raise Problem(422, f"{name} is not served here.")
    given = body.get("stream_mode") or ["values"]
    modes = [given] if isinstance(given, str) else list(given)
    known = {*MODES, *_MODES, "events"}
    for mode in modes:
        if mode not in known:
            raise Problem(422, f"stream_mode={mode!r} is not known: {', '.join(sorted(known))}.")
    config, metadata = body.get("config") or {}, body.get("metadata") or {}
    point = body.get("checkpoint") or {"checkpoint_id": body.get("checkpoint_id")}
    at = {name: point[name] for name in ("checkpoint_id", "checkpoint_ns") if point.get(name)}
    known_configurable = {
        k: v for k, v in (config.get("configurable") or {}).items() if not k.startswith("__")
    }
    names = ("interrupt_before", "interrupt_after", "context", "durability")
    return Asked(
        input=body.get("input"),
        command=body.get("command"),
        config={**config, "configurable": {**known_configurable, **at}},
        modes=tuple(dict.fromkeys(_MODES.get(mode, mode) for mode in modes if mode != "events")),
        options={name: body[name] for name in names if body.get(name) is not None},
        metadata=metadata,
        subgraphs=bool(body.get("stream_subgraphs")),
        joined="messages" in modes and "messages-tuple" not in modes,
    )


async def _cancelling(chunks: AsyncIterator[bytes], run: LiveRun) -> AsyncIterator[bytes]:
    """Yield what ``chunks`` yields; who leaves before the end takes the run along."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if run.status in GOING:
            run.stop()


def _told(thread: Thread) -> dict[str, Any]:
    return {
        "thread_id": thread.id,
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "metadata": {**thread.metadata, **({"graph_id": thread.graph} if thread.graph else {})},
        "status": thread.status,
        "config": {},
        "values": None,
        "interrupts": {},
    }


def _by_task(state: Mapping[str, Any]) -> dict[str, Any]:
    return {task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]}


def _number(asked: Mapping[str, Any], name: str, default: int) -> int:
    value = asked.get(name, default)
    if not isinstance(value, int) or not 0 <= value <= 1000:
        raise Problem(422, f"{name}={value!r} is no number from 0 to 1000.")
    return value
