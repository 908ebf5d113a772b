"""What a node on Ray costs, beside a call of an actor of Ray's own: a part of ``make bench-scale``.

Both are given the same bytes and return as many, in turns, so that whatever else the machine does happens to
both. The workers are on this machine: what a network adds, both pay.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import ray

from engine import START, Remote, StateGraph, get_stream_writer
from engine.executors.ray import close_workers
from otel_stream import StreamConfig
from otel_stream.kafka import KafkaSink, remote_stream

ROOT = Path(__file__).parents[1]
#: What an actor's call costs at most, times, where the node does no more.
MUST = 1.3
SIZES = {"1 KB": 1_000, "1 MB": 1_000_000}
#: Pairs of calls, the first ones of which warm up.
CALLS, WARM = 600, 100
#: Calls of the measurement with several workers, and how many are under way for each worker.
MANY, ABREAST = 800, 8
PACED, PAUSE = 400, 0.005


class State(TypedDict, total=False):
    blob: bytes
    size: int


async def echo(state: State) -> State:
    """Return as many bytes as came."""
    return {"blob": state["blob"]}


class Echo:
    """The actor that somebody would write for it."""

    async def echo(self, state: State) -> State:
        return {"blob": state["blob"]}


async def paced(state: State) -> State:
    """Write now and then."""
    writer = get_stream_writer()
    for number in range(PACED):
        await writer.write({"number": number, "text": "x" * state["size"]})
        await asyncio.sleep(PAUSE)
    return {}


class Hop(NamedTuple):
    """Milliseconds of a call, ours and Ray's."""

    ours: list[float]
    rays: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.rays)


@contextmanager
def cluster() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, else have one of this process, on loopback."""
    elsewhere = os.environ.get("RAY_ADDRESS")
    own = {} if elsewhere else {"num_cpus": 8, "include_dashboard": False, "object_store_memory": 500_000_000}
    ray.init(
        address=elsewhere,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        **own,
    )
    try:
        yield
    finally:
        close_workers()
        ray.shutdown()


def _graph(node: Any, workers: int = 1, concurrency: int = ABREAST) -> Any:
    on = Remote(num_cpus=0, workers=workers, concurrency=concurrency)
    return StateGraph(State).add_node("node", node, on=on).add_edge(START, "node").compile(name="hop")


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    begun = time.perf_counter()
    await call()
    return (time.perf_counter() - begun) * 1e3


async def hop(size: int) -> Hop:
    """Measure one call after the other."""
    graph, actor = _graph(echo), ray.remote(Echo).options(num_cpus=0).remote()
    found = Hop([], [])
    for number in range(CALLS):
        # Of each its own bytes: what was sent once is not sent again.
        mine, its = (bytes([number % 250 + side]) * size for side in (0, 1))
        ours = await _timed(lambda blob=mine: graph.ainvoke({"blob": blob}))
        rays = await _timed(lambda blob=its: actor.echo.remote({"blob": blob}))
        if number >= WARM:
            found.ours.append(ours)
            found.rays.append(rays)
    ray.kill(actor)
    return found


async def rates(workers: int) -> tuple[float, float]:
    """Calls per second of so many workers, ours and Ray's, with a kilobyte each."""
    blob = b"x" * 1_000
    graph = _graph(echo, workers)
    actors = [ray.remote(Echo).options(num_cpus=0).remote() for _ in range(workers)]
    calls = [lambda: graph.ainvoke({"blob": blob})] * workers
    theirs = [lambda actor=one: actor.echo.remote({"blob": blob}) for one in actors]
    found = tuple([await _rate(some) for some in (calls, theirs)])
    for one in actors:
        ray.kill(one)
    return found[0], found[1]


async def _rate(calls: list[Callable[[], Awaitable[Any]]]) -> float:
    async def one_after_the_other(call: Callable[[], Awaitable[Any]], count: int) -> None:
        for _ in range(count):
            await call()

    lanes = [call for call in calls for _ in range(ABREAST)]
    await asyncio.gather(*(one_after_the_other(call, 5) for call in lanes))
    gc.collect()
    begun = time.perf_counter()
    await asyncio.gather(*(one_after_the_other(call, MANY // len(lanes)) for call in lanes))
    return MANY // len(lanes) * len(lanes) / (time.perf_counter() - begun)


async def latencies(servers: str, topic: str) -> list[float]:
    """Milliseconds from a write of a node on Ray to a receiver elsewhere, through Kafka."""
    sent = StreamConfig(modes="custom")
    async with (
        KafkaSink(topic, sent, servers=servers) as sink,
        _graph(paced).open_stream({"size": 1000}, sink) as stream,
        remote_stream(topic, run_id=stream.run_id, servers=servers) as receiver,
    ):
        found = [(time.time_ns() - (part.time_unix_nano or 0)) / 1e6 async for part in receiver]
    return sorted(found[50:])  # the first ones wait for connections


def rows() -> tuple[list[str], bool]:
    """Measure; return what to print of it, and whether it costs no more than it may."""
    lines = [f"{'ms a call, median (p99)':<30}{'node on Ray':>18}{'actor':>18}{'ratio':>8}"]
    fits = True
    for name, size in SIZES.items():
        found = asyncio.run(hop(size))
        cells = [f"{statistics.median(some):.2f} ({_p99(some):.1f})" for some in found]
        lines.append(f"{name + ' there and back':<30}{cells[0]:>18}{cells[1]:>18}{found.ratio:>8.2f}")
        fits &= found.ratio <= MUST
    for workers in (1, 2, 4):
        ours, rays = asyncio.run(rates(workers))
        name = f"calls/s, {workers} worker{'s' if workers > 1 else ''}"
        lines.append(f"{name:<30}{ours:>18,.0f}{rays:>18,.0f}{rays / ours:>8.2f}")
    return lines, fits


def _p99(found: list[float]) -> float:
    return sorted(found)[int(len(found) * 0.99)]


if __name__ == "__main__":
    with cluster():
        print("\n".join(rows()[0]))
