"""What watching costs a run: ``python -m benchmarks.watchers [ROUNDS]``, three by default.

``otel_stream.web`` serves, by uvicorn in a process of its own, a run of 10,000 parts. In turns nobody watches
it, and two hundred readers do, of whom twenty never take anything from their sockets. The run is in the
server's own loop, so what is measured is that thread: the CPU it takes from the run's first part to its last,
serving included, and the time. What readers take themselves is another process, which shares this machine's
cores; so time depends on what else runs here, and CPU does not. Of several rounds the least is taken.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

import httpx

from benchmarks.viewer import megabytes

PARTS = 10_000
WATCHERS, STUCK = 200, 20
SERVER = """
import uvicorn
from benchmarks.watchers import app, sock
uvicorn.Server(uvicorn.Config(app(), log_level="error")).run([sock({port})])
"""


class State(TypedDict):
    watchers: int
    number: int
    note: str
    began: tuple[float, float]
    took: tuple[float, float]


def sock(port: int) -> socket.socket:
    """A socket of loopback that listens."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(1024)
    return made


def app(parts: int = PARTS, limits: Any = None) -> Any:
    """The application: a graph that waits for its watchers, and then takes so many supersteps."""
    from engine import END, START, StateGraph
    from otel_stream.web import create_app

    def marks() -> tuple[float, float]:
        return time.thread_time(), time.perf_counter()

    async def gather(state: State) -> dict[str, Any]:
        while served.state.hub.subscribers < state["watchers"]:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # what their coming takes is not measured
        return {"number": 0, "began": marks()}

    async def count(state: State) -> dict[str, Any]:
        return {"number": state["number"] + 1, "note": f"what was found about topic {state['number']} " * 2}

    async def measure(state: State) -> dict[str, Any]:
        cpu, clock = marks()
        return {"took": (cpu - state["began"][0], clock - state["began"][1])}

    made = StateGraph(State).add_node("gather", gather).add_node("count", count).add_node("measure", measure)
    made.add_edge(START, "gather").add_edge("gather", "count").add_edge("measure", END)
    made.add_conditional_edges("count", lambda state: "measure" if state["number"] >= parts else "count")
    served = create_app(made.compile(name="counting"), limits=limits)
    return served


class Watcher(asyncio.Protocol):
    """Counts the events that come, and what was missed."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self.events = self.missed = 0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        self.events += data.count(b"\r\nid: ")
        if b'{"gap":' in data:
            gap = json.loads(data.partition(b'{"gap":')[2].partition(b"}")[0] + b"}")
            self.missed += gap["to"] - gap["from"] + 1
        self._rest = data[-5:]
        if data.endswith(b"0\r\n\r\n") and not self.ended.done():
            self.ended.set_result(None)


async def watched(port: int, watchers: int, stuck: int) -> dict[str, float]:
    """Run it once, with so many that watch and so many of them who take nothing; what it took."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        asked = {
            "input": {"watchers": watchers},
            "stream_mode": ["updates"],
            "config": {"recursion_limit": PARTS + 10},
        }
        run = (await client.post(f"/threads/{thread}/runs", json=asked)).json()["run_id"]
        place = f"/threads/{thread}/runs/{run}/stream"
        request = f"GET {place} HTTP/1.1\r\nhost: 127.0.0.1\r\nlast-event-id: -1\r\n\r\n".encode()
        loop, reading, silent = asyncio.get_running_loop(), [], []
        for number in range(watchers):
            transport, watcher = await loop.create_connection(lambda: Watcher(request), "127.0.0.1", port)
            if number < stuck:
                transport.pause_reading()
                silent.append(transport)
            else:
                reading.append(watcher)
        await client.get(f"/threads/{thread}/runs/{run}/join")
        state = (await client.get(f"/threads/{thread}/state")).json()
        for watcher in reading:
            await watcher.ended
        for transport in silent:
            transport.abort()
    all_there = [one.events + one.missed for one in reading]
    assert all(number >= PARTS for number in all_there), sorted(set(all_there))
    cpu, clock = state["values"]["took"]
    return {"cpu": cpu, "time": clock, "told of gaps": sum(one.missed > 0 for one in reading)}


def main(rounds: int) -> int:
    """Print what it takes with and without watchers; 1 if it is not as promised."""
    with sock(0) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER.format(port=port)], cwd=Path(__file__).parent.parent
    )
    try:
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/ok")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        alone, many, before = list[dict[str, float]](), list[dict[str, float]](), 0
        asyncio.run(watched(port, 0, 0))  # warm
        for _ in range(rounds):
            alone.append(asyncio.run(watched(port, 0, 0)))
            before = megabytes(process.pid)
            many.append(asyncio.run(watched(port, WATCHERS, STUCK)))
        after = megabytes(process.pid)
    finally:
        process.terminate()
        process.wait()
    kept = True
    for what in ("cpu", "time"):
        none, some = min(one[what] for one in alone), min(one[what] for one in many)
        kept &= some <= 1.1 * none or what == "time"
        print(f"{what:<8}{none:6.2f} s alone, {some:6.2f} s with {WATCHERS} readers: {some / none:.2f}")
    print(f"memory  {before:6} MB before, {after:4} MB; told of gaps: {many[-1]['told of gaps']:.0f}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
