"""What AG-UI and Vercel's AI SDK have in common: one request starts a run, and its answer is the run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from starlette.requests import Request

from otel_stream.parts import StreamPart, message_id
from otel_stream.web.access import Access
from otel_stream.web.following import helpings
from otel_stream.web.graphs import Served
from otel_stream.web.problems import Problem
from otel_stream.web.runs import Asked, Hub, LiveRun
from otel_stream.web.wire import traceparent_of

#: Modes that are made into their events.
MODES = ("values", "messages", "custom", "tasks")
#: A comment, with the ends of lines that these protocols have.
HEARTBEAT = b": heartbeat\n\n"


class Telling(Protocol):
    """A run in the words of one protocol, told part by part; each call returns what is sent."""

    def begins(self, run: LiveRun) -> bytes:
        """Say that the run has begun."""
        raise NotImplementedError

    def part(self, part: StreamPart) -> bytes:
        """Tell a part, or nothing of it."""
        raise NotImplementedError

    def missed(self, first: int, last: int) -> bytes:
        """Say that events are gone that the reader was too slow for."""
        raise NotImplementedError

    def ends(self, run: LiveRun, *, stopped: bool) -> bytes:
        """Say how the run has ended, or that the server stops while it goes on."""
        raise NotImplementedError


async def told(hub: Hub, run: LiveRun, telling: Telling) -> AsyncIterator[bytes]:
    """Yield a run, from its beginning, as ``telling`` has it."""
    begun = False
    async for helping in helpings(hub, run.feed, -1):
        if helping is None:
            yield HEARTBEAT
            continue
        chunks = [] if begun else [telling.begins(run)]
        begun = True
        if helping.missed is not None:
            chunks.append(telling.missed(*helping.missed))
        chunks += [telling.part(entry.part) for entry in helping.entries if entry.part is not None]
        yield b"".join(chunks)
    stopped = not run.feed.closed
    yield (b"" if begun else telling.begins(run)) + telling.ends(run, stopped=stopped)


async def begin(
    hub: Hub,
    access: Access,
    request: Request,
    thread_id: str,
    input: Any,
    command: Mapping[str, Any] | None,
    run_id: str | None = None,
) -> LiveRun:
    """Start a run of the thread, which is made if there is none.

    Raises:
        Problem: it may not be, or there are too many.
    """
    hub.has_room()
    await access.ask(request, "create_run", thread_id)
    served: Served = hub.graph(request.path_params.get("graph"))
    thread = await hub.thread(thread_id, create=True)
    asked = Asked(None if command else input, command, modes=MODES, subgraphs=True, run_id=run_id)
    return await hub.start(thread, served, asked)


def words_of(part: StreamPart) -> tuple[str, str] | None:
    """Return the id and the text of a piece of what a model says; None if the part is none."""
    chunk = part.data[0]
    kind, content = (
        chunk.get(name) if isinstance(chunk, Mapping) else getattr(chunk, name, None)
        for name in ("type", "content")
    )
    if kind not in ("ai", "AIMessageChunk"):
        return None
    if isinstance(content, list):
        content = "".join(str(one.get("text", "")) if isinstance(one, dict) else str(one) for one in content)
    return (message_id(part) or str(part.task_id), content) if isinstance(content, str) and content else None


def parent_of(run: LiveRun) -> dict[str, str]:
    """Return the run's ``traceparent``, by its name; nothing if it has no trace."""
    parent = traceparent_of(run.trace_id, run.span_id)
    return {} if parent is None else {"traceparent": parent}


def text_in(body: Mapping[str, Any], name: str) -> str:
    """Return a field that is a text of some length.

    Raises:
        Problem: it is none.
    """
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise Problem(422, f"{name} is no text of 1 to 256 characters.")
    return value
