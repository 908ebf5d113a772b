"""Vercel's UI message stream, as ``useChat`` and ``DefaultChatTransport`` ask for it.

A chat is a thread. Nodes are parts ``data-node``, updated in place; ``messageMetadata`` has the ids of the
trace.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_stream.encoding import encode
from otel_stream.parts import StreamPart
from otel_stream.web import chat
from otel_stream.web.access import Access
from otel_stream.web.bodies import said
from otel_stream.web.problems import Problem
from otel_stream.web.runs import Hub, LiveRun
from otel_stream.web.wire import data

_HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}


class UiMessages:
    """The routes: ``POST /chat`` and ``GET /chat/{chat}/stream``, which goes on with a chat's run."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub = hub
        self._access = access

    @property
    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        starts = [Route(path, self.run, methods=["POST"]) for path in ("/chat", "/graphs/{graph}/chat")]
        return [*starts, Route("/chat/{chat}/stream", self.go_on, methods=["GET"])]

    async def run(self, request: Request) -> Response:
        body = await said(request)
        id, messages = chat.text_in(body, "id"), body.get("messages")
        if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
            raise Problem(422, "messages is no list of messages.")
        last = messages[-1]  # those before it are the thread's
        parts = last.get("parts")
        pieces = [
            one
            for one in (parts if isinstance(parts, list) else ())
            if isinstance(one, dict) and one.get("type") == "text"
        ]
        said_now = "".join(str(one.get("text", "")) for one in pieces)
        input = {"messages": [{"role": "user", "content": said_now, "id": last.get("id")}]}
        run = await chat.begin(self._hub, self._access, request, id, input, body.get("command"))
        return self._hub.stream(chat.told(self._hub, run, _Telling()), _HEADERS)

    async def go_on(self, request: Request) -> Response:
        id = str(request.path_params["chat"])
        await self._access.ask(request, "read", id)
        thread = self._hub.threads.get(id)
        if thread is None or not thread.going:
            return Response(status_code=204)
        run = thread.going[-1]
        self._hub.has_room(run.feed)
        return self._hub.stream(chat.told(self._hub, run, _Telling()), _HEADERS)


class _Telling:
    def __init__(self) -> None:
        #: Messages that have not ended.
        self._open: dict[str, None] = {}

    def begins(self, run: LiveRun) -> bytes:
        about = {"run_id": run.id, **chat.parent_of(run)}
        return _chunk("start", messageId=run.id, messageMetadata=about)

    def part(self, part: StreamPart) -> bytes:
        if part.type == "messages":
            return self._words(part)
        if part.ns:
            return b""
        if part.type == "custom":
            return _chunk("data-custom", data=part.data)
        if part.type != "tasks":
            return b""
        task = part.data
        status = "running" if "triggers" in task else "failed" if task.get("error") else "done"
        about = {"node": task["name"], "status": status, "span_id": part.span_id}
        return _chunk("data-node", id=task["id"], data=about)

    def _words(self, part: StreamPart) -> bytes:
        words = chat.words_of(part)
        if words is None:
            return b""
        id, text = words
        begin = b"" if id in self._open else _chunk("text-start", id=id)
        self._open[id] = None
        return begin + _chunk("text-delta", id=id, delta=text)

    def missed(self, first: int, last: int) -> bytes:
        return _chunk("data-gap", data={"from": first, "to": last})

    def ends(self, run: LiveRun, *, stopped: bool) -> bytes:
        ended = b"".join(_chunk("text-end", id=id) for id in self._open)
        if run.error is not None:
            ended += _chunk("error", errorText=run.error["message"])
        elif stopped:
            ended += _chunk("abort")
        elif run.interrupts:
            ended += _chunk("data-interrupt", data=list(run.interrupts))
        return ended + _chunk("finish") + data(b"[DONE]")


def _chunk(kind: str, **about: Any) -> bytes:
    return data(encode({"type": kind, **about}))
