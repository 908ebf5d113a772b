"""Requests that never come whole, and gRPC that is too much: they are left, and nobody waits for them."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from otel_stream.view import ingest
from otel_stream.view.ingest import MAX_REQUEST
from otel_stream.view.patience import Patient
from otel_stream.view.writer import Writer
from tests.otel_stream.view.viewers import viewer

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
WHOLE = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Hasty(Patient):
    seconds = 0.05


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, http=Hasty, port=0, log_level="error", lifespan="off"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - it has no event for it
        await asyncio.sleep(0)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


@asyncio_only
@pytest.mark.parametrize("sent", [b"", b"GET / HTT", WHOLE[:-2], WHOLE + WHOLE[:9]])
async def test_headers_that_never_end_are_not_waited_for(sent: bytes) -> None:
    async def hello(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async with serving(Starlette(routes=[Route("/", hello)])) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        answers = await reader.read()  # to the end: the server has closed it
        writer.close()
    assert answers.count(b"hello") == sent.count(b"\r\n\r\n")


@asyncio_only
async def test_an_answer_that_takes_long_is_waited_for() -> None:
    async def slow(_: Any) -> PlainTextResponse:
        await asyncio.sleep(Hasty.seconds * 4)
        return PlainTextResponse("hello")

    async with serving(Starlette(routes=[Route("/", slow)])) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.close()


@asyncio_only
async def test_telemetry_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "PATIENCE", 0.05)
    store = Writer(tmp_path / "store.db", 2**30)
    try:
        async with serving(Starlette(routes=list(ingest.routes(ingest.Intake(store))))) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            kind = b"content-type: application/x-protobuf\r\ncontent-length: 9"
            writer.write(b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n" + kind + b"\r\n\r\n123")
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
            writer.close()
    finally:
        store.close()


def export(address: str, body: bytes, token: str = "", **options: Any) -> str:
    """The status of one request."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(EXPORT)(body, metadata=metadata, timeout=20, **options)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def test_grpc_that_may_not_be_is_refused_and_others_are_served(tmp_path: Path) -> None:
    with viewer(tmp_path, "--host", "0.0.0.0") as found:
        assert found.listening.grpc is not None
        address, token = f"127.0.0.1:{found.listening.grpc.rpartition(':')[2]}", found.listening.token
        assert [
            export(address, b""),
            export(address, b"", "wrong"),
            export(address, b"\0" * (MAX_REQUEST + 1), token),
            export(address, b"\0" * (80 * 2**20), token, compression=grpc.Compression.Gzip),
            export(address, gzip.compress(b"x"), token),
            export(address, b"", token),
        ] == [
            *["UNAUTHENTICATED"] * 2, *["RESOURCE_EXHAUSTED"] * 2, "INVALID_ARGUMENT", "OK",
        ]  # fmt: skip
        with grpc.insecure_channel(address) as channel:
            call, metadata = channel.unary_unary(EXPORT), (("authorization", f"Bearer {token}"),)
            many = [call.future(b"", metadata=metadata, timeout=30) for _ in range(2_000)]
            codes = {one.code().name for one in many}
        assert codes <= {"OK", "CANCELLED", "RESOURCE_EXHAUSTED"}  # what is refused may be sent again
        assert export(address, b"", token) == "OK"
        assert found.get("about")["takes"] is True
