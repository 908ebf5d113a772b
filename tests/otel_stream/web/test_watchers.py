"""Two hundred readers of one run, some of them stuck; and a server that is told to stop while many read."""

import asyncio
import json
import re
import signal
import socket
import sys

import httpx
import pytest

from benchmarks.watchers import PARTS, STUCK, WATCHERS, app
from otel_stream.web import Limits, following
from tests.otel_stream.web.conftest import Server

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])
NUMBERS = re.compile(rb'\r\nid: (\d+)\r\n|\{"gap":(\{[^}]*\})\}')


def numbers(text):
    """The numbers of events as they came, those of a gap among them."""
    found = []
    for match in NUMBERS.finditer(text):
        if match[1] is not None:
            found.append(int(match[1]))
        else:
            gap = json.loads(match[2])
            found += range(gap["from"], gap["to"] + 1)
    return found


class Reader:
    """A socket that asks for a run from its beginning, and whoever reads it."""

    def __init__(self, port, place):
        self._port, self._place = port, place
        self._sock = socket.socket()
        self.text = b""

    async def ask(self):
        # So small that a reader who takes nothing is seen to be stuck.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self._sock, ("127.0.0.1", self._port))
        request = f"GET {self._place} HTTP/1.0\r\nhost: 127.0.0.1\r\nlast-event-id: -1\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(self._sock, request.encode())
        return self

    async def read(self):
        pieces = []
        try:
            while got := await asyncio.get_running_loop().sock_recv(self._sock, 1 << 18):
                pieces.append(got)
        finally:
            self._sock.close()
        self.text = b"".join(pieces).partition(b"\r\n\r\n")[2]
        return self


async def _begin(client, **state):
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    asked = {"input": state, "stream_mode": ["updates"], "config": {"recursion_limit": PARTS + 10}}
    run = (await client.post(f"/threads/{thread}/runs", json=asked)).json()["run_id"]
    return f"/threads/{thread}/runs/{run}"


async def test_each_reader_of_a_run_has_all_of_it_and_what_they_have_is_written_once(
    otel_globals, monkeypatch
):
    written = []
    write = following.Chosen.write

    def counted(self, entry, **how):
        written.append(entry.seq)
        return write(self, entry, **how)

    monkeypatch.setattr(following.Chosen, "write", counted)
    served = app(4_000, Limits(events=3_000))
    with Server(served) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            place = await _begin(client, watchers=WATCHERS)
            readers = [await Reader(server.port, f"{place}/stream").ask() for _ in range(WATCHERS)]
            reading = [asyncio.ensure_future(one.read()) for one in readers[STUCK:]]
            state = (await client.get(f"{place}/join")).json()
            whole = [one.text for one in await asyncio.gather(*reading)]
            late = [one.text for one in await asyncio.gather(*(one.read() for one in readers[:STUCK]))]
    assert state["number"] == 4_000  # the run did not wait for anybody
    last = numbers(whole[0])[-1]
    assert last > 4_000
    # The second event says that the run begins, to other protocols than this one.
    all_there = tuple(number for number in range(last + 1) if number != 1)
    assert {tuple(one for one in numbers(text) if one != 1) for text in [*whole, *late]} == {all_there}
    assert len(written) - len(set(written)) <= WATCHERS  # a reader's newest state, where it missed some
    assert len(written) <= last + 1 + WATCHERS


STOPPED = """
import uvicorn
from benchmarks.watchers import app, sock
listening = sock(0)
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app(), log_level="error")).run([listening])
"""


async def test_a_server_that_gets_a_signal_ends_every_stream_with_a_reason(anyio_backend):
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        port = int(await server.stdout.readline())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            place = await _begin(client, watchers=50)
            readers = [await Reader(port, f"{place}/stream").ask() for _ in range(50)]
            while (await client.get(f"{place}")).json()["status"] != "running":
                pass
            reading = [asyncio.ensure_future(one.read()) for one in readers]
            server.send_signal(signal.SIGTERM)
            texts = [(await one).text for one in reading]
        _, said = await asyncio.wait_for(server.communicate(), 30)
    finally:
        if server.returncode is None:
            server.kill()
    assert {text.rstrip().endswith(b'data: {"end":"server_stops"}') for text in texts} == {True}
    for text in texts:
        assert numbers(text) == [*range(len(numbers(text)))]
    assert (server.returncode, said) == (-signal.SIGTERM, b"")
