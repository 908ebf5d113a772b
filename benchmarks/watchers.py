"""What watching costs a run: ``python -m benchmarks.watchers [ROUNDS]``, five by default.

``otel_stream.web`` serves, by uvicorn in a process of its own, a run of 10,000 parts. By turns nobody
watches it, one reader does, and two hundred do, of whom twenty never take anything from their sockets;
readers are in another process, as two hundred clients in the server's would measure themselves. The run is
in the server's own loop, so what is measured is that thread, from the run's first part to its last, serving
included: the CPU that it takes, and the run's latency: how long from each part to the next one. Of that is
taken off how long the thread has waited for a core, which Linux counts: it is what else runs on this
machine, the readers' process first of all. The turns of a round are compared with each other; of rounds it
is the median.

A reader is told what time it was when a part was written, so the oldest part of each piece that it gets says
how late that comes.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypedDict

import httpx

from benchmarks.viewer import megabytes

PARTS = 10_000
WATCHERS, STUCK = 200, 20
TURNS = {"nobody": (0, 0), "one": (1, 0), "all": (WATCHERS, STUCK)}
WRITTEN = re.compile(rb'"written":(\d+),')
SERVER = """
import uvicorn
from benchmarks.watchers import app, sock
uvicorn.Server(uvicorn.Config(app(), log_level="error")).run([sock({port})])
"""


class State(TypedDict):
    watchers: int
    number: int
    written: int
    note: str
    took: dict[str, float]


class Clock:
    """Marks of the thread that makes them: when, the CPU it has taken, and what it has waited for a core."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, int]] = []
        self._cpu = 0.0
        try:
            self._waited: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:  # not Linux: what is waited counts
            self._waited = None

    def start(self) -> None:
        self._cpu = time.thread_time()
        self.mark()

    def mark(self) -> None:
        waited = 0 if self._waited is None else int(os.pread(self._waited, 80, 0).split()[1])
        self.marks.append((time.monotonic_ns(), waited))

    def took(self) -> dict[str, float]:
        """Return seconds: the CPU, the whole without what was waited, and of each mark to the next."""
        cpu = time.thread_time() - self._cpu
        self.mark()
        net = [clock - waited for clock, waited in self.marks]
        steps = [after - before for before, after in pairwise(net)]
        if self._waited is not None:
            os.close(self._waited)
        centiles = quantiles(steps, n=100)
        part, slow = centiles[49] / 1e9, centiles[98] / 1e9
        return {"cpu": cpu, "run": (net[-1] - net[0]) / 1e9, "part": part, "slow part": slow}


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

    clocks: dict[str, Clock] = {}

    async def gather(state: State) -> dict[str, Any]:
        while served.state.hub.subscribers < state["watchers"]:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)  # what their coming takes is not measured
        clocks["this"] = Clock()
        clocks["this"].start()
        return {"number": 0}

    async def count(state: State) -> dict[str, Any]:
        clocks["this"].mark()
        note = f"what was found about topic {state['number']} " * 2
        return {"number": state["number"] + 1, "written": time.monotonic_ns(), "note": note}

    async def measure(_: State) -> dict[str, Any]:
        return {"took": clocks.pop("this").took()}

    made = StateGraph(State).add_node("gather", gather).add_node("count", count).add_node("measure", measure)
    made.add_edge(START, "gather").add_edge("gather", "count").add_edge("measure", END)
    made.add_conditional_edges("count", lambda state: "measure" if state["number"] >= parts else "count")
    served = create_app(made.compile(name="counting"), limits=limits)
    return served


class Watcher(asyncio.Protocol):
    """Counts the events that come, and what was missed; says how late the oldest of each piece is."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self.events = self.missed = 0
        self.late: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if (written := WRITTEN.search(data)) is not None:
            self.late.append((time.monotonic_ns() - int(written[1])) / 1e9)
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
    late = [seconds for watcher in reading for seconds in watcher.late]
    gaps = sum(one.missed > 0 for one in reading)
    return {**state["values"]["took"], "late": median(late or [0]), "latest": max(late or [0]), "gaps": gaps}


def measured(port: int, pid: int, rounds: int) -> tuple[list[dict[str, dict[str, float]]], int]:
    """Return what each turn of each round has taken, and the most memory before all of the readers came."""
    asyncio.run(watched(port, 0, 0))  # warm
    found, before = list[dict[str, dict[str, float]]](), 0
    for number in range(rounds):
        order = list(TURNS) if number % 2 == 0 else list(reversed(TURNS))
        if number == 0:
            before = megabytes(pid)
        found.append({who: asyncio.run(watched(port, *TURNS[who])) for who in order})
    return found, before


WORDS = {
    "cpu": "CPU of the server's thread",
    "run": "latency: all parts",
    "part": "latency: one part, median",
    "slow part": "latency: one part, 99th percentile",
}


def told(rounds: list[dict[str, dict[str, float]]]) -> bool:
    """Print what the rounds have taken; whether it is as promised."""
    kept = True
    for what, words in WORDS.items():
        many, one, none = ([turns[who][what] for turns in rounds] for who in ("all", "one", "nobody"))
        ratio = median(some / alone for some, alone in zip(many, none, strict=True))
        sole = median(some / alone for some, alone in zip(one, none, strict=True))
        kept &= ratio <= 1.1 or what == "slow part"
        unit, scale = ("s ", 1) if what in {"cpu", "run"} else ("µs", 1e6)
        print(
            f"{words:<36}{median(none) * scale:7.2f} {unit} alone, {median(many) * scale:7.2f} {unit} with"
            f" {WATCHERS} readers: {ratio:.3f}   (one reader: {sole:.3f})"
        )
    for who, words in (("one", "one reader"), ("all", f"{WATCHERS} readers")):
        late, latest = (median(turns[who][what] for turns in rounds) for what in ("late", "latest"))
        times = f"{late * 1e3:.0f} ms late (median), {latest * 1e3:.0f} ms at most"
        print(f"oldest part of a piece, {words}: {times}")
    return kept


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
        found, before = measured(port, process.pid, rounds)
        after = megabytes(process.pid)
    finally:
        process.terminate()
        process.wait()
    kept = told(found)
    gaps = max(turns["all"]["gaps"] for turns in found)
    print(f"memory {before} MB before, {after} MB; readers told of gaps: {gaps:.0f}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
