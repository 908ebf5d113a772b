"""What Kafka and Ray cost, beside aiokafka alone and Ray's own calls: ``make bench-scale``.

Prints parts per second from a run to a remote receiver, in turns with the same values sent and received by
aiokafka's own producer and consumer; how long a part takes from its writer to its receiver; and what a node
on Ray costs. The broker and the cluster are its own.
"""

import asyncio
import statistics
import subprocess
import sys
import time
import uuid
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import hops
from engine import START, StateGraph
from engine.runtime import get_stream_writer
from otel_stream import StreamConfig
from otel_stream.kafka import KafkaSink, remote_stream
from tests.scale.broker import Broker

PARTS = 20_000
ROUNDS = 5
TEXT = "x" * 1000
PACED, PAUSE = 400, 0.005
#: At least so much of the rate that aiokafka alone has.
MUST = 0.7
#: Parts per second: sent until all are acknowledged, and received.
Rates: TypeAlias = tuple[float, float]
WRITTEN = StreamConfig(modes="custom")


def _graph(parts: int, pause: float = 0.0) -> Any:
    async def write(_: dict[str, Any]) -> dict[str, Any]:
        writer = get_stream_writer()
        for number in range(parts):
            await writer.write({"number": number, "text": TEXT})
            if pause:
                await asyncio.sleep(pause)
        return {}

    return StateGraph(dict).add_node("write", write).add_edge(START, "write").compile(name="writing")


def _topic() -> str:
    return f"bench-{uuid.uuid4().hex}"


async def _ours(servers: str) -> Rates:
    topic, config = _topic(), StreamConfig(modes="custom", buffer_size=4096)
    async with KafkaSink(topic, config, servers=servers) as sink:
        async with _graph(1).open_stream({}, sink) as first:  # makes the topic, and the connection
            await first.wait()
        begun = time.perf_counter()
        async with _graph(PARTS).open_stream({}, sink) as stream:
            await stream.wait()
        sent = time.perf_counter() - begun
    begun = time.perf_counter()
    async with remote_stream(topic, config, run_id=stream.run_id, servers=servers) as receiver:
        count = sum([1 async for _ in receiver])
    assert count == PARTS
    return PARTS / sent, PARTS / (time.perf_counter() - begun)


async def _aiokafkas(servers: str, value: bytes) -> Rates:
    """Return the rates of what aiokafka's documentation shows for many messages, with the same values."""
    topic, key = _topic(), uuid.uuid4().hex.encode()
    options = {"bootstrap_servers": servers, "acks": "all", "enable_idempotence": True}
    async with AIOKafkaProducer(**options) as producer:
        await producer.send_and_wait(topic, b"first", key=b"another")
        begun = time.perf_counter()
        for _ in range(PARTS):
            await producer.send(topic, value, key=key)
        await producer.flush()
        sent = time.perf_counter() - begun
    begun, count = time.perf_counter(), 0
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            count += record.key == key
            if count == PARTS:
                return PARTS / sent, PARTS / (time.perf_counter() - begun)
    raise AssertionError("it never ends")


async def _latencies(servers: str) -> list[float]:
    """Milliseconds from a node's write to the receiver that waits for it."""
    topic = _topic()
    async with (
        KafkaSink(topic, WRITTEN, servers=servers) as sink,
        _graph(PACED, PAUSE).open_stream({}, sink) as stream,
        remote_stream(topic, run_id=stream.run_id, servers=servers) as receiver,
    ):
        found = [(time.time_ns() - (part.time_unix_nano or 0)) / 1e6 async for part in receiver]
    return found[50:]  # the first ones wait for connections


def _workers(servers: str, number: int) -> float:
    """Parts per second of so many processes together, until all is acknowledged."""
    command = [sys.executable, "-m", "benchmarks.scale", servers]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    return sum(float(process.communicate()[0]) for process in processes)


def _median(pairs: list[Rates]) -> list[float]:
    return [statistics.median(some) for some in zip(*pairs, strict=True)]


def main() -> int:
    broker = Broker()
    try:
        broker.start()
        servers = broker.address
        value = _value()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(asyncio.run(_ours(servers)))
            theirs.append(asyncio.run(_aiokafkas(servers, value)))
        found = sorted(asyncio.run(_latencies(servers)))
        workers = {number: _workers(servers, number) for number in (1, 2, 4)}
        with hops.cluster():
            on_ray = asyncio.run(hops.latencies(servers, _topic()))
            rows, fits = hops.rows()
    finally:
        broker.stop()
    (sent, received), (their_sent, their_received) = _median(ours), _median(theirs)
    through = [
        1 / (1 / one + 1 / another) for one, another in ((sent, received), (their_sent, their_received))
    ]
    print(f"{PARTS:,} parts of {len(value):,} bytes, medians of {ROUNDS} turns\n")
    print(f"{'parts/s':<30}{'otel-stream':>12}{'aiokafka':>12}{'ratio':>8}")
    for what, rate, other in (
        ("sent and acknowledged", sent, their_sent),
        ("received", received, their_received),
        ("through, one after the other", *through),
    ):
        print(f"{what:<30}{rate:>12,.0f}{other:>12,.0f}{rate / other:>8.2f}")
    print("workers:", ", ".join(f"{number}: {rate:,.0f} parts/s" for number, rate in workers.items()))
    print("\nfrom a write to a remote receiver")
    for where, times in (("of a node here", found), ("of a node on Ray", on_ray)):
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        print(f"{where:<30}p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    print("\n" + "\n".join(rows))
    return 0 if through[0] / through[1] >= MUST and fits else 1


def _value() -> bytes:
    async def one() -> bytes:
        async with _graph(1).open_stream({}, WRITTEN) as stream:
            return (await anext(aiter(stream))).to_json()

    return asyncio.run(one())


if __name__ == "__main__":
    if sys.argv[1:]:
        print(asyncio.run(_ours(sys.argv[1]))[0])
    else:
        sys.exit(main())
