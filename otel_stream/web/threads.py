"""LangGraph's thread-centric protocol: commands to a thread, and one stream of all that happens in it.

It is what ``@langchain/react`` and ``client.threads.stream`` speak. Events are numbered in their thread, over
all of its runs; who comes back is told them from the beginning, or behind the number ``since``, and knows by
their ids what it has had. ``params.traceparent`` names the span that an event is from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from time import time
from typing import Any, Final, NamedTuple
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_stream.encoding import encode
from otel_stream.parts import INTERRUPT, StreamPart, v1_payload
from otel_stream.web import chat
from otel_stream.web.access import Access
from otel_stream.web.agent_server import answer
from otel_stream.web.bodies import said
from otel_stream.web.feed import Entry, Feed
from otel_stream.web.following import helpings
from otel_stream.web.graphs import LIFE
from otel_stream.web.problems import Problem
from otel_stream.web.runs import Asked, Hub, LiveRun, Teller, Thread
from otel_stream.web.wire import HEARTBEAT, event, traceparent_of

#: Modes that are made into events.
_MODES: Final = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "tools")
#: What is not done here, of the commands that there are.
_NOT_SERVED: Final = frozenset(
    {"agent.getTree", "input.inject", "state.fork", "subscription.subscribe", "subscription.reconnect"}
)
_ENDS: Final = {"success": "completed", "error": "failed", "interrupted": "interrupted"}


class Threads:
    """The routes: ``/threads/{thread}/commands`` and ``/threads/{thread}/stream/events``."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub = hub
        self._may = access.ask

    @property
    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [
            Route("/threads/{thread}/commands", self.command, methods=["POST"]),
            Route("/threads/{thread}/stream/events", self.stream, methods=["POST"]),
        ]

    async def command(self, request: Request) -> Response:
        body = await said(request)
        method, given = body.get("method"), body.get("params") or {}
        if not isinstance(given, dict):
            raise Problem(422, "params is no mapping.")
        commands: dict[Any, Callable[[Request, dict[str, Any]], Any]] = {
            "run.start": self._start,
            "input.respond": self._respond,
        }
        if isinstance(method, str) and method in commands:
            thread_events = self._applied(str(request.path_params["thread"]))
            run: LiveRun = await commands[method](request, given)
            result = {"run_id": run.id}
            meta = {"applied_through_seq": thread_events}
            return answer({"type": "success", "id": body.get("id"), "result": result, "meta": meta})
        error = "not_supported" if str(method) in _NOT_SERVED else "unknown_command"
        about = f"There is no {str(method)[:80]!r} here: {', '.join(commands)}."
        return answer({"type": "error", "id": body.get("id"), "error": error, "message": about})

    def _applied(self, id: str) -> int:
        thread = self._hub.threads.get(id)
        return 0 if thread is None or thread.told is None else thread.told.feed.next

    async def _start(self, request: Request, given: dict[str, Any]) -> LiveRun:
        return await self._begin(request, given, input=given.get("input"))

    async def _respond(self, request: Request, given: dict[str, Any]) -> LiveRun:
        responses = given.get("responses") or [given]
        known = isinstance(responses, list) and all(isinstance(one, dict) for one in responses)
        if not known or not all(isinstance(one.get("interrupt_id"), str) for one in responses):
            raise Problem(422, "responses is no list of mappings that have an interrupt_id.")
        resume = {one["interrupt_id"]: one.get("response") for one in responses}
        more: dict[str, Any] = {name: given[name] for name in ("update", "goto") if name in given}
        return await self._begin(request, given, command={"resume": resume, **more})

    async def _begin(self, request: Request, given: dict[str, Any], **what: Any) -> LiveRun:
        id = str(request.path_params["thread"])
        await self._may(request, "create_run", id)
        config, metadata = given.get("config") or {}, given.get("metadata") or {}
        configurable = config.get("configurable") or {} if isinstance(config, dict) else None
        if not isinstance(configurable, dict) or not isinstance(metadata, dict):
            raise Problem(422, "config and metadata are mappings.")
        thread = await self._hub.thread(id, create=True)
        served = self._hub.graph(given.get("assistant_id") or thread.graph)
        public = {name: value for name, value in configurable.items() if not name.startswith("__")}
        asked = Asked(
            **what, config={**config, "configurable": public}, modes=_MODES, metadata=metadata, subgraphs=True
        )
        self._told(thread)
        return await self._hub.start(thread, served, asked)

    def _told(self, thread: Thread) -> Teller:
        if thread.told is None:
            limits = self._hub.limits
            thread.told = Told(Feed(limits.events, limits.event_bytes, self._hub.pace))
        return thread.told

    async def stream(self, request: Request) -> Response:
        body = await said(request)
        id = str(request.path_params["thread"])
        await self._may(request, "read", id)
        wanted = _wanted(body)
        since = body.get("since", 0)
        if not isinstance(since, int) or since < 0:
            raise Problem(422, f"since={since!r} is no number of an event.")
        feed = self._told(await self._hub.thread(id)).feed
        self._hub.has_room(feed)
        return self._hub.stream(self._events(feed, since - 1, wanted))

    async def _events(self, feed: Feed, after: int, wanted: Wanted) -> AsyncIterator[bytes]:
        async for helping in helpings(self._hub, feed, after):
            if helping is None:
                yield HEARTBEAT
                continue
            gap = b""
            if helping.missed is not None:
                first, last = helping.missed
                about = {"type": "error", "id": None, "error": "resume_gap"}
                gap = event(
                    "error", encode({**about, "message": f"Events {first + 1} to {last + 1} are gone."})
                )
                gap += wanted.write(helping.newest) if helping.newest is not None else b""
            if text := gap + helping.text(wanted):
                yield text
        yield event("otel", encode({"end": "server_stops" if self._hub.stopping.is_set() else "thread_gone"}))


class Wanted(NamedTuple):
    """The events that somebody asks for: of some channels, at or below some places in the graph."""

    channels: frozenset[str]
    places: frozenset[tuple[str, ...]] | None
    depth: int | None

    def write(self, entry: Entry) -> bytes:
        """Write an event, or nothing if it is not asked for."""
        method, *place = entry.event.split("|")
        if method.partition(".")[0] not in self.channels or not self._has(tuple(place)):
            return b""
        return event(method, entry.data, id=entry.seq + 1)

    def _has(self, place: tuple[str, ...]) -> bool:
        return self.places is None or any(
            place[: len(one)] == one and (self.depth is None or len(place) - len(one) <= self.depth)
            for one in self.places
        )


def _wanted(body: Mapping[str, Any]) -> Wanted:
    channels, places, depth = body.get("channels"), body.get("namespaces"), body.get("depth")
    if not isinstance(channels, list) or not all(isinstance(one, str) for one in channels):
        raise Problem(422, "channels is no list of their names.")
    if depth is not None and not isinstance(depth, int):
        raise Problem(422, f"depth={depth!r} is no number.")
    if places is not None and not (
        isinstance(places, list)
        and all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in places)
    ):
        raise Problem(422, "namespaces is no list of lists of names.")
    # A custom event may be asked for by its name, which ours do not have.
    known = frozenset(one.partition(":")[0] for one in channels)
    return Wanted(known, None if places is None else frozenset(map(tuple, places)), depth)


class Told:
    """All that happens in a thread, in the words of the protocol."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._id = uuid4().hex[:12]
        #: Messages that have begun: id -> where they are told, and what they say so far.
        self._open: dict[str, tuple[dict[str, Any], str]] = {}
        self._owners: dict[str, str | None] = {}

    def part(self, part: StreamPart) -> None:
        """Tell a part of a run."""
        where: dict[str, Any] = {"namespace": list(part.ns)}
        if part.node is not None:
            where["node"] = part.node
        parent = traceparent_of(part.trace_id, part.span_id)
        where |= {} if parent is None else {"traceparent": parent}
        if part.type == "messages":
            self._message(part, where)
        elif part.type == LIFE:
            self._life(part, where)
        for data in _PLAIN.get(part.type, _nothing)(part):
            self._tell(part.type, where, data)
        if part.type == "tasks" and "triggers" not in part.data:
            self._silence(lambda owner: owner == part.data["id"])

    def _life(self, part: StreamPart, where: dict[str, Any]) -> None:
        graph, begins = part.data["graph"], part.data["event"] == "started"
        if begins:
            self._tell(
                "lifecycle", where, {"event": "started" if part.ns else "running", "graph_name": graph}
            )
        elif part.ns:  # of the root's, `ends` tells
            end = {"ok": "completed", "interrupted": "interrupted"}.get(part.data["end"], "failed")
            self._tell("lifecycle", where, {"event": end, "graph_name": graph})

    def _message(self, part: StreamPart, where: dict[str, Any]) -> None:
        words = chat.words_of(part)
        if words is None:
            return
        id, text = words
        if id not in self._open:
            busy = {about.get("node") for about, _ in self._open.values()}
            if where.get("node") in busy:  # readers tell messages that go on at once apart by this
                where = {**where, "node": f"{part.node}#{part.task_id}"}
            self._open[id], self._owners[id] = (where, ""), part.task_id
            self._tell("messages", where, {"event": "message-start", "role": "ai", "id": id})
            block = {"type": "text", "text": ""}
            self._said(where, id, {"event": "content-block-start", "index": 0, "content": block})
        where, so_far = self._open[id]
        self._open[id] = (where, so_far + text)
        delta = {"type": "text-delta", "text": text}
        self._said(where, id, {"event": "content-block-delta", "index": 0, "delta": delta})

    def _said(self, where: Mapping[str, Any], id: str, data: dict[str, Any]) -> None:
        # LangGraph's client in Python tells messages that go on at once apart by it.
        self._tell("messages", where, {**data, "message_id": id})

    def _silence(self, of: Callable[[str | None], bool]) -> None:
        for id in [id for id, owner in self._owners.items() if of(owner)]:
            del self._owners[id]
            where, text = self._open.pop(id)
            block = {"type": "text", "text": text}
            self._said(where, id, {"event": "content-block-finish", "index": 0, "content": block})
            self._said(where, id, {"event": "message-finish"})

    def ends(self, run: LiveRun) -> None:
        """Tell how a run has ended, and what it asks."""
        where: dict[str, Any] = {"namespace": []}
        self._silence(lambda _: True)
        for one in run.interrupts:
            # The protocol's name is payload; LangGraph's client in Python looks for value.
            asks = {"interrupt_id": one.id, "payload": one.value, "value": one.value}
            self._tell("input.requested", where, asks)
        end: dict[str, Any] = {"event": _ENDS.get(run.status, "failed"), "graph_name": run.served.name}
        if run.error is not None:
            end |= {"event": "failed", "error": run.error["message"]}
        self._tell("lifecycle", where, end)

    def _tell(self, method: str, where: Mapping[str, Any], data: Any) -> None:
        seq = self.feed.next + 1
        params = {"timestamp": int(time() * 1000), **where, "data": data}
        about = {"type": "event", "event_id": f"{self._id}-{seq}", "seq": seq, "method": method}
        self.feed.append("|".join((method, *where["namespace"])), encode({**about, "params": params}))


def _nothing(_: StreamPart) -> Iterator[Any]:
    return iter(())


def _values(part: StreamPart) -> Iterator[Any]:
    state = part.data  # what it asks is told apart
    plain = not isinstance(state, Mapping) or INTERRUPT not in state
    yield state if plain else {name: value for name, value in state.items() if name != INTERRUPT}


def _updates(part: StreamPart) -> Iterator[Any]:
    for node, values in part.data.items():
        if node != INTERRUPT:
            yield {"node": node, "values": values}


def _checkpoints(part: StreamPart) -> Iterator[Any]:
    """Say where a fork of the thread could begin."""
    data: Mapping[str, Any] = part.data
    config, parent, metadata = data.get("config"), data.get("parent_config"), data.get("metadata") or {}
    about = {"id": _checkpoint_id(config), "step": metadata.get("step", -1)}
    about["source"] = metadata.get("source", "loop")
    yield about if parent is None else {**about, "parent_id": _checkpoint_id(parent)}


def _checkpoint_id(config: Any) -> Any:
    return (config or {}).get("configurable", {}).get("checkpoint_id")


_PLAIN: Final[Mapping[str, Callable[[StreamPart], Iterator[Any]]]] = {
    "values": _values,
    "updates": _updates,
    "checkpoints": _checkpoints,
    "tasks": lambda part: iter((v1_payload(part),)),
    "custom": lambda part: iter(({"payload": part.data},)),
    "tools": lambda part: iter((part.data,)),
}
