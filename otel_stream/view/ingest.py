"""OTLP over HTTP and gRPC. What is acknowledged is committed; what finds no room is to be sent again."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_stream.view.guard import Refused, Rules
from otel_stream.view.items import Batch
from otel_stream.view.otlp import NotOtlp, Signal, decode
from otel_stream.view.writer import Job, Writer

#: Longest request, and what it may be when it is unpacked, in bytes.
MAX_REQUEST: Final = 16 * 2**20
MAX_UNPACKED: Final = 64 * 2**20
#: Requests from this size on are decoded in a thread, as the page would wait for it.
_LARGE: Final = 256 * 2**10
#: Seconds that a request's body may take.
PATIENCE: Final = 30.0
#: Seconds after which an exporter is asked to try again.
_RETRY_AFTER: Final = "1"
_SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}


class Busy(Exception):
    """The queue is full, or the store cannot be written; the text says which."""


class Intake:
    """Hands requests to the writer and waits for their commit, on one event loop."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def take(self, signal: Signal, body: bytes, *, json: bool = False) -> None:
        """Decode a request, and return when it is committed.

        Raises:
            NotOtlp: it is no such request.
            Busy: it was not taken, and may be sent again.
        """
        if len(body) < _LARGE:
            batch = decode(signal, body, json=json)
        else:
            batch = await run_in_threadpool(decode, signal, body, json=json)
        await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if not committed.done():
                if error is None:
                    committed.set_result(None)
                else:
                    committed.set_exception(Busy(f"the store cannot be written: {error}"))

        if not self._writer.offer(Job(batch, lambda error: _tell(loop, settle, error))):
            raise Busy("more comes than can be written: the queue is full")
        await committed


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[[Any], None], error: Exception | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle, error)


# -- HTTP -----------------------------------------------------------------------------------------


def routes(intake: Intake) -> list[Route]:
    """Return the routes of OTLP over HTTP."""

    def route(signal: Signal) -> Route:
        async def receive(request: Request) -> Response:
            return await _receive(intake, signal, request)

        return Route(f"/v1/{signal}", receive, methods=["POST"])

    return [route(signal) for signal in _SERVICES]


async def _receive(intake: Intake, signal: Signal, request: Request) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/x-protobuf", "application/json"}:
        raise HTTPException(415, "send application/x-protobuf or application/json")
    json = kind == "application/json"
    body = _unpacked(await _body(request), request.headers.get("content-encoding", "identity").lower())
    try:
        await intake.take(signal, body, json=json)
    except NotOtlp as error:
        raise HTTPException(400, str(error)) from None
    except Busy as error:
        raise HTTPException(503, str(error), {"Retry-After": _RETRY_AFTER}) from None
    return Response(b"{}" if json else b"", media_type=kind)


async def _body(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for piece in request.stream():
                size += len(piece)
                if size > MAX_REQUEST:
                    raise HTTPException(413, f"a request may have {MAX_REQUEST} bytes; send smaller batches")
                pieces.append(piece)
    except TimeoutError:
        raise HTTPException(408, f"the request was not whole within {PATIENCE:g} seconds") from None
    return b"".join(pieces)


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise HTTPException(415, f"the encoding {encoding[:40]!r} is not known; send gzip, deflate or none")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    try:
        unpacked = unpacking.decompress(body, MAX_UNPACKED)
    except zlib.error as error:
        raise HTTPException(400, f"the body is no {encoding}: {error}") from None
    if unpacking.unconsumed_tail:
        raise HTTPException(413, f"a request may unpack to {MAX_UNPACKED} bytes; send smaller batches")
    if not unpacking.eof:
        raise HTTPException(400, f"the body is no whole {encoding}")
    return unpacked


# -- gRPC -----------------------------------------------------------------------------------------


def grpc_server(intake: Intake, rules: Rules) -> Any:
    """Return a server of OTLP over gRPC, on the running event loop; add ports to it, and start it."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", MAX_REQUEST), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=256,
    )
    server.add_generic_rpc_handlers([_handler(intake, rules, signal) for signal in _SERVICES])
    return server


def _handler(intake: Intake, rules: Rules, signal: Signal) -> Any:
    async def export(body: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        try:
            if rules.exporters_too:
                rules.token(str(metadata.get("authorization", "")))
            await intake.take(signal, body)
        except Refused as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except NotOtlp as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except Busy as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return b""

    method = grpc.unary_unary_rpc_method_handler(export)
    return grpc.method_handlers_generic_handler(_SERVICES[signal], {"Export": method})
