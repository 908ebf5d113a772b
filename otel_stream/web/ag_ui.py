"""AG-UI: one request starts a run, and the answer is its events.

Its clients refuse two open steps of one name, and a step that is open at the end: a task that runs beside
another of its node is named after its id, too, and all are ended with the run. ``metadata`` has the ids of
the trace.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

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
from otel_stream.web.wire import data, traceparent_of


class AgUi:
    """The route: ``POST /ag-ui``, and ``/ag-ui/{graph}`` where there are several."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub = hub
        self._access = access

    @property
    def routes(self) -> list[Route]:
        """Paths and what answers them."""
        return [Route(path, self.run, methods=["POST"]) for path in ("/ag-ui", "/ag-ui/{graph}")]

    async def run(self, request: Request) -> Response:
        body = await said(request)
        thread_id, run_id = chat.text_in(body, "threadId"), chat.text_in(body, "runId")
        state, messages = body.get("state") or {}, body.get("messages") or []
        if not isinstance(state, dict) or not isinstance(messages, list):
            raise Problem(422, "state is a mapping, and messages a list.")
        input = {**state, **({"messages": messages} if messages else {})}
        command = (body.get("forwardedProps") or {}).get("command")
        run = self._hub.known(run_id)
        if run is not None and run.thread.id == thread_id and not command:  # asked for again: it was cut
            await self._access.ask(request, "read", thread_id, run_id)
            self._hub.has_room(run.feed)
        else:
            id = run_id if run is None and _is_uuid(run_id) else None
            run = await chat.begin(self._hub, self._access, request, thread_id, input, command, id)
        return self._hub.stream(chat.told(self._hub, run, _Telling(run_id)))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


class _Telling:
    def __init__(self, run_id: str) -> None:
        #: The client's own id of the run.
        self._run_id = run_id
        #: Open steps and messages: task -> name, and message -> task.
        self._steps: dict[str, str] = {}
        self._messages: dict[str, str | None] = {}

    def begins(self, run: LiveRun) -> bytes:
        about = {"run_id": run.id, **chat.parent_of(run)}
        return self._event("RUN_STARTED", threadId=run.thread.id, runId=self._run_id, metadata=about)

    def part(self, part: StreamPart) -> bytes:
        parent = traceparent_of(part.trace_id, part.span_id)
        about = {} if parent is None else {"metadata": {"traceparent": parent}}
        if part.type == "messages":
            return self._words(part, about)
        if part.ns:
            return b""
        if part.type == "values":
            return self._event("STATE_SNAPSHOT", snapshot=part.data, **about)
        if part.type == "custom":
            return self._event("CUSTOM", name="custom", value=part.data, **about)
        return self._step(part.data, about) if part.type == "tasks" else b""

    def _words(self, part: StreamPart, about: dict[str, Any]) -> bytes:
        words = chat.words_of(part)
        if words is None:
            return b""
        id, text = words
        begin = b""
        if id not in self._messages:
            self._messages[id] = part.task_id
            begin = self._event("TEXT_MESSAGE_START", messageId=id, role="assistant", **about)
        return begin + self._event("TEXT_MESSAGE_CONTENT", messageId=id, delta=text)

    def _step(self, task: dict[str, Any], about: dict[str, Any]) -> bytes:
        id, node = task["id"], task["name"]
        if "triggers" in task:
            name = self._steps[id] = f"{node}#{id}" if node in self._steps.values() else node
            return self._event("STEP_STARTED", stepName=name, **about)
        spoken = [message for message, owner in self._messages.items() if owner == id]
        ended = b"".join(self._silence(message) for message in spoken)
        known = self._steps.pop(id, None)
        return ended if known is None else ended + self._event("STEP_FINISHED", stepName=known)

    def _silence(self, id: str) -> bytes:
        del self._messages[id]
        return self._event("TEXT_MESSAGE_END", messageId=id)

    def missed(self, first: int, last: int) -> bytes:
        return self._event("CUSTOM", name="gap", value={"from": first, "to": last})

    def ends(self, run: LiveRun, *, stopped: bool) -> bytes:
        ended = b"".join(self._silence(id) for id in tuple(self._messages))
        ended += b"".join(self._event("STEP_FINISHED", stepName=name) for name in self._steps.values())
        if run.error is not None:
            return ended + self._event("RUN_ERROR", message=run.error["message"], code=run.error["error"])
        if stopped:
            return ended + self._event("RUN_ERROR", message="The server stops.", code="server_stops")
        if run.interrupts:
            ended += self._event("CUSTOM", name="on_interrupt", value=list(run.interrupts))
        return ended + self._event("RUN_FINISHED", threadId=run.thread.id, runId=self._run_id)

    def _event(self, kind: str, **about: Any) -> bytes:
        return data(encode({"type": kind, **about}))
