"""Server-sent events: how they are written, and the response that sends them to a reader of any speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from otel_stream.encoding import encode
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.web.limits import Limits
from otel_stream.web.pace import Pace, measured

#: A comment: who reads takes it for a sign of life, and nothing else.
HEARTBEAT: Final = b": heartbeat\r\n\r\n"
HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
#: Ends of lines, which JSON does not have and a name must not have.
_BREAKS: Final = str.maketrans("", "", "\r\n\0")


def event(name: str, data: bytes, *, id: int | None = None, traceparent: str | None = None) -> bytes:
    """Write an event. ``traceparent`` is a field that readers of events ignore unless they look for it."""
    lines = [f"event: {name.translate(_BREAKS)}\r\ndata: ".encode(), data]
    if id is not None:
        lines.append(f"\r\nid: {id}".encode())
    if traceparent is not None:
        lines.append(f"\r\ntraceparent: {traceparent}".encode())
    lines.append(b"\r\n\r\n")
    return b"".join(lines)


def data(text: bytes) -> bytes:
    """Write an event that has no name."""
    return b"data: " + text + b"\n\n"


class EventStream(Response):
    """Sends what ``chunks`` yields until it ends, its reader leaves, or takes nothing for ``send_timeout``.

    ``chunks`` is closed in any case. Nothing waits for the reader but this response; ``pace`` is told what
    it takes of the loop.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        limits: Limits,
        headers: Mapping[str, str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._chunks = chunks
        self._pace = pace or Pace()
        self._limits = limits
        self.status_code = 200
        self.background = None
        self.init_headers({**HEADERS, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(measured(self._send(send), self._pace.spend))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait({sending, leaving})
            with suppress(AttributeError):
                await self._chunks.aclose()  # type: ignore[attr-defined] # generators have it
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._limits.stream_seconds):
                async for chunk in self._chunks:
                    async with asyncio.timeout(self._limits.send_timeout):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def sse(receiver: StreamReceiver, limits: Limits | None = None) -> Response:
    """Return a response that sends the parts of ``receiver`` as server-sent events, each under its mode.

    The data is ``StreamPart.to_dict()``. What ends it early, the last event, ``error``, says by its type.
    The receiver is closed when its reader leaves; how a slow one is treated, its policy says.
    """
    limits = limits or Limits()
    return EventStream(_beating(_parts(receiver), limits.heartbeat), limits)


async def _parts(receiver: StreamReceiver) -> AsyncIterator[bytes]:
    try:
        async for part in receiver:
            parent = traceparent_of(part.trace_id, part.span_id)
            yield event(part.type, encode(part.to_dict()), id=part.seq, traceparent=parent)
    except Exception as error:  # noqa: BLE001 - whatever the run or a filter raised; its text may be content
        yield event("error", encode({"error": type(error).__name__, "message": "The stream ended early."}))
    finally:
        receiver.close()


async def _beating(chunks: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """Yield what ``chunks`` yields, and a heartbeat whenever that takes long."""
    waiting = asyncio.ensure_future(anext(chunks))
    try:
        while True:
            await asyncio.wait({waiting}, timeout=seconds)
            if not waiting.done():
                yield HEARTBEAT
                continue
            try:
                chunk = waiting.result()
            except StopAsyncIteration:
                return
            yield chunk
            waiting = asyncio.ensure_future(anext(chunks))
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})


def traceparent_of(trace_id: str | None, span_id: str | None) -> str | None:
    """Return the W3C ``traceparent`` of a part's span, None if it has none."""
    return None if trace_id is None or span_id is None else f"00-{trace_id}-{span_id}-01"
