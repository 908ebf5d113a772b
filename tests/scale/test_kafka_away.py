"""Brokers that are slow, away, killed; producers that are: nothing acknowledged is lost, none comes twice."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import anyio
import pytest

from engine.executors import drive
from otel_stream import StreamConfig
from otel_stream.kafka import KafkaSink, ProducerLostError, remote_stream
from otel_stream.stream.receiver import ReceiverOverflowError
from tests.scale import graphs
from tests.scale.broker import Broker
from tests.scale.waiting import taken, texts, until

#: How often the broker is killed under load.
KILLS = int(os.environ.get("KILLS", "3"))
WRITTEN = StreamConfig(modes="custom")


@pytest.fixture
def away(broker):
    """A broker that stands still until the test lets it go on."""
    broker.pause()
    try:
        yield broker
    finally:
        broker.go_on()


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "coalesce"])
async def test_a_run_does_not_wait_for_a_broker_that_is_away_and_what_is_lost_is_told(away, topic, policy):
    config = StreamConfig(modes="custom", buffer_size=100, overflow=policy)
    sink = KafkaSink(topic, config, servers=away.address)
    async with graphs.writing(5000).open_stream({}, WRITTEN, sink) as stream:
        beside = [part async for part in stream]
        assert sink.statistics().delivered == 0  # the run has ended, and nobody has heard of it
        away.go_on()
    parts = await taken(remote_stream(topic, run_id=stream.run_id, servers=away.address))
    account = sink.statistics()
    assert account.offered == 5000 == account.delivered + account.dropped
    gaps = [part.data for part in parts if part.type == "gap"]
    kept = [part for part in parts if part.type != "gap"]
    assert sum(gap["dropped"] for gap in gaps) == account.dropped
    assert len(kept) == account.delivered
    assert set(texts(kept)) <= set(texts(beside))
    assert [part.seq for part in kept] == sorted(part.seq for part in kept)


async def test_a_run_that_blocks_waits_for_the_broker_and_loses_nothing(away, topic):
    config = StreamConfig(modes="custom", buffer_size=50, overflow="block")
    sink = KafkaSink(topic, config, servers=away.address)
    async with (
        graphs.writing(1000).open_stream({}, WRITTEN, sink) as stream,
        anyio.create_task_group() as group,
    ):
        beside = []

        async def take():
            beside.extend([part async for part in stream])

        group.start_soon(take)
        held = -1
        while held != sink.statistics().held or held < 50:  # stands still
            held = sink.statistics().held
            await anyio.sleep(0.2)
        assert held <= 50 + 1 + 1024  # its buffer, the one that waits, and what is under way
        assert stream.end is None
        away.go_on()
    assert texts(await taken(remote_stream(topic, run_id=stream.run_id, servers=away.address))) == texts(
        beside
    )
    assert sink.statistics().delivered == 1000


async def test_a_sink_that_overflows_by_error_is_cut_off_and_watchers_are_told(away, topic):
    config = StreamConfig(modes="custom", buffer_size=10, overflow="error")
    sink = KafkaSink(topic, config, servers=away.address)
    async with graphs.writing(3000).open_stream({}, sink) as stream:
        assert await stream.wait() == {"n": 3000, "seen": []}
        away.go_on()
    with pytest.raises(ProducerLostError, match=ReceiverOverflowError.__name__):
        await taken(remote_stream(topic, run_id=stream.run_id, servers=away.address))
    account = sink.statistics()
    assert account.offered == account.delivered + account.dropped


async def test_who_leaves_waits_no_longer_than_it_was_told_to_and_what_is_left_counts_as_dropped(away, topic):
    sink = KafkaSink(topic, WRITTEN, servers=away.address, flush_timeout=0.5)
    with anyio.fail_after(20):
        async with graphs.writing(100).open_stream({}, sink) as stream:
            await stream.wait()
    account = sink.statistics()
    assert (account.offered, account.delivered, account.dropped) == (100, 0, 100)
    assert account.reasons == {"closed": 100}


async def test_no_broker_at_all_breaks_no_run(topic):
    sink = KafkaSink(topic, WRITTEN, servers="127.0.0.1:1", flush_timeout=0.2)
    with anyio.fail_after(20):
        async with graphs.writing(10).open_stream({}, sink) as stream:
            assert await stream.wait() == {"n": 10, "seen": []}
        async with remote_stream(topic, run_id=stream.run_id, servers="127.0.0.1:1"):
            pass
    assert sink.statistics().reasons == {"closed": 10}
    await until(lambda: not any(one.name.startswith("otel-stream-kafka") for one in threading.enumerate()))


async def test_a_broker_that_stands_still_is_no_lost_producer(broker, topic):
    on = anyio.Event()

    async def wait(state):
        await graphs.get_stream_writer().write("first")
        await on.wait()
        await graphs.get_stream_writer().write("second")
        return {}

    sink = KafkaSink(topic, WRITTEN, servers=broker.address, heartbeat=0.3)
    async with (
        graphs.compiled("waiting", wait).open_stream({}, sink) as stream,
        remote_stream(topic, run_id=stream.run_id, servers=broker.address) as elsewhere,
    ):
        assert (await anext(elsewhere)).data == "first"
        broker.pause()
        try:
            await anyio.sleep(3)  # longer than three heartbeats: what is tested is that time passes
        finally:
            broker.go_on()
        on.set()
        assert [part.data async for part in elsewhere] == ["second"]


PRODUCER = """
import asyncio, sys
from otel_stream import StreamConfig
from otel_stream.kafka import KafkaSink
from tests.scale import graphs

async def write(state):
    await graphs.get_stream_writer().write("first")
    await asyncio.Event().wait()

async def main(topic, servers):
    sink = KafkaSink(topic, StreamConfig(modes="custom"), servers=servers, heartbeat=0.5)
    async with graphs.compiled("writing", write).open_stream({}, sink) as stream:
        print(stream.run_id, flush=True)
        await stream.wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_producer_that_is_killed_is_told_to_who_watches(servers, topic):
    process = subprocess.Popen(  # noqa: ASYNC220 - at once
        [sys.executable, "-c", PRODUCER, topic, servers], stdout=subprocess.PIPE, text=True
    )
    try:
        run_id = process.stdout.readline().strip()
        async with remote_stream(topic, run_id=run_id, servers=servers) as elsewhere:
            assert (await anext(elsewhere)).data == "first"
            await anyio.sleep(2)  # it has nothing to say, and lives
            assert not elsewhere.closed
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ProducerLostError, match="nothing has come of the run"):
                await anext(elsewhere)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_broker_that_is_killed_again_and_again_loses_nothing_and_nothing_comes_twice(topic):
    """Runs that block, and are watched from their beginning; each kill comes at a random moment."""
    chance = random.Random(os.environ.get("SEED"))
    own = Broker()
    own.start()
    running = {"go": True}

    async def write(state):
        number = 0
        while running["go"]:
            await graphs.get_stream_writer().write(number)
            number += 1
            if number % 20 == 0:
                await anyio.sleep(0.001)
        return {"n": number}

    config = StreamConfig(modes="custom", buffer_size=500)
    streams, watched = [], {}
    try:
        async with KafkaSink(topic, config, servers=own.address, flush_timeout=120) as sink:

            async def watch(stream):
                receiver = remote_stream(topic, run_id=stream.run_id, servers=own.address)
                watched[stream.run_id] = await taken(receiver)

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    stream = graphs.compiled("writing", write).open_stream({}, sink)
                    stream.start()
                    streams.append(stream)
                    group.start_soon(watch, stream)
                for _ in range(KILLS):
                    await anyio.sleep(chance.uniform(0.2, 2))
                    own.kill()
                    await anyio.to_thread.run_sync(own.start)
                    before = sink.statistics().delivered
                    await until(lambda: sink.statistics().delivered > before + 100)  # noqa: B023 - at once
                running["go"] = False
                written = {stream.run_id: (await stream.wait())["n"] for stream in streams}
        account = sink.statistics()
    finally:
        own.stop()
    assert {run_id: [part.data for part in parts] for run_id, parts in watched.items()} == {
        run_id: list(range(number)) for run_id, number in written.items()
    }
    assert account.offered == account.delivered == sum(written.values())
    assert account.high_water <= 500 + 1


def test_memory_is_flat_for_each_policy_while_nobody_reads(broker, topic):
    """A consumer that stops reading, in this process; ``block`` leaves in the topic what has no room."""

    def run(number):
        sink = KafkaSink(topic, WRITTEN, servers=broker.address)
        with graphs.compiled("many", _many(number)).open_stream({}, sink) as s:
            drive(s.wait())
            return s.run_id

    run_id = run(60_000)
    for policy in ("block", "drop_oldest", "drop_newest"):
        config = StreamConfig(modes="custom", buffer_size=100, overflow=policy)
        with remote_stream(topic, config, run_id=run_id, servers=broker.address) as slow:
            next(slow)
            tracemalloc.start()
            while slow.statistics().offered < (101 if policy == "block" else 60_000):
                time.sleep(0.01)
            time.sleep(1)  # in which nothing more may come
            grown = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            assert grown < 8 * 2**20, policy
            offered = slow.statistics().offered
            assert offered <= 1 + 100 + 100 // 8 + 1 if policy == "block" else offered == 60_000


def _many(number):
    def write(state):
        writer = graphs.get_stream_writer()
        for one in range(number):
            writer({"number": one, "text": "x" * 100})
        return {}

    return write
