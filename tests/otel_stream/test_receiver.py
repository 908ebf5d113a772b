"""The consumer's end: from any loop and any thread, nothing is lost, and nobody else is harmed."""

import asyncio
import contextlib
import itertools
import logging
import threading

import anyio
import anyio.to_thread
import pytest
import trio
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

from otel_stream.config import OverflowPolicy, StreamConfig
from otel_stream.events import End
from otel_stream.filters import Node
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import ReceiverOverflowError, StreamReceiver
from otel_stream.stream.statistics import ModeStatistics, ReceiverStatistics
from otel_stream.trouble import placed


def part(seq, type="custom", data=None, node="n", **fields):
    return StreamPart(type, (), data, seq=seq, run_id="r", graph="g", step=1, node=node, **fields)


def receiver(modes="custom", **settings):
    return StreamReceiver(StreamConfig(modes=modes, **settings))


def offered(count, **settings):
    one = receiver(**settings)
    for seq in range(count):
        one.offer(part(seq))
    return one


async def seqs(one):
    return [got.seq async for got in one]


@pytest.mark.clause("S-DEL-2")
async def test_what_was_offered_before_and_while_it_is_read_is_delivered_in_order():
    one = offered(3)
    got = []

    async def read():
        got.extend(await seqs(one))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert got == []
        for seq in (3, 4):
            one.offer(part(seq))
            await anyio.wait_all_tasks_blocked()
        one.finish(End.OK)
    assert got == [0, 1, 2, 3, 4]
    assert one.end is End.OK
    assert await seqs(one) == []


async def test_a_producer_in_another_thread_wakes_the_consumer():
    one = receiver()

    def produce():
        for seq in range(500):
            one.offer(part(seq))
        one.finish(End.OK)

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, produce)
        assert await seqs(one) == list(range(500))


@pytest.mark.clause("S-THR-1")
@pytest.mark.parametrize("loop", ["none", "asyncio", "trio"])
async def test_a_consumer_in_another_thread_has_a_loop_of_its_own_or_none(loop):
    one = receiver()
    ways = {
        "none": lambda: [got.seq for got in one],
        "asyncio": lambda: asyncio.run(seqs(one)),
        "trio": lambda: trio.run(seqs, one),
    }
    got = []
    reader = threading.Thread(target=lambda: got.extend(ways[loop]()))
    reader.start()
    for seq in range(200):
        one.offer(part(seq))
        await anyio.lowlevel.checkpoint()
    one.finish(End.OK)
    await anyio.to_thread.run_sync(reader.join)
    assert got == list(range(200))


@pytest.mark.clause("S-DEL-3")
async def test_several_consumers_of_one_receiver_share_its_parts():
    one, got = receiver(), []

    async def read():
        async for taken in one:
            got.append(taken.seq)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(read)
        for seq in range(100):
            one.offer(part(seq))
            await anyio.lowlevel.checkpoint()
        one.finish(End.OK)
    assert sorted(got) == list(range(100))


@pytest.mark.clause("S-THR-4")
async def test_an_eager_consumer_lets_the_other_tasks_have_their_turn():
    one, turns = offered(640), []

    async def count():
        while not one.over:
            turns.append(one.statistics().delivered)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        for _ in range(640):
            await anext(one)
        one.finish(End.OK)
    # trio shuffles who goes first among the ready: now and then somebody waits two turns.
    assert max(b - a for a, b in itertools.pairwise(turns)) <= 130
    assert len(turns) >= 5


@pytest.mark.clause("S-DEL-5")
async def test_a_cancelled_consumer_loses_no_part():
    one = receiver()
    with anyio.move_on_after(0):
        await anext(one)
    one.offer(part(0))
    assert (await anext(one)).seq == 0


@pytest.mark.clause("S-ERR-1")
async def test_the_error_of_the_run_is_raised_after_its_last_part_each_time():
    one, error = offered(2), ValueError("boom")
    one.finish(End.ERROR, error)
    assert [(await anext(one)).seq, (await anext(one)).seq] == [0, 1]
    for _ in range(2):
        with pytest.raises(ValueError, match="boom") as caught:
            await anext(one)
        assert caught.value is error
    with pytest.raises(ValueError, match="boom"):
        next(one)


@pytest.mark.parametrize("end", [end for end in End if not end.failed])
async def test_an_end_that_is_no_failure_raises_nothing(end):
    one = offered(1)
    one.finish(end, asyncio.CancelledError())
    one.finish(End.ERROR, ValueError("too late"))
    assert await seqs(one) == [0]
    assert one.end is end


@pytest.mark.clause("S-OVF-5", "S-ERR-5")
async def test_an_overflow_by_policy_error_comes_after_what_is_held(caplog):
    one = offered(4, buffer_size=2, overflow="error", name="ui")
    assert [(await anext(one)).seq, (await anext(one)).seq] == [0, 1]
    with pytest.raises(ReceiverOverflowError) as caught:
        await anext(one)
    assert str(caught.value) == (
        "receiver 'ui': its buffer of 2 parts is full and its overflow policy is 'error'; take parts faster, "
        "raise StreamConfig.buffer_size, or choose another policy"
    )
    assert one.failed is caught.value
    assert one.statistics() == ReceiverStatistics(
        offered=3,
        delivered=2,
        dropped=1,
        sampled_out=0,
        filtered=0,
        held=0,
        high_water=2,
        by_mode={"custom": ModeStatistics(offered=3, delivered=2, dropped=1)},
        reasons={"error": 1},
    )
    assert len(caplog.records) == 1


class Broken:
    """A filter and a sampler that can't bear part 1."""

    error = ZeroDivisionError("mine")

    def accept(self, part):
        if part.seq == 1:
            raise self.error
        return True

    def should_sample(self, *args, **kwargs):
        if "1" in str(kwargs["attributes"]["graph.superstep"]):
            raise self.error
        return ALWAYS_ON.should_sample(*args, **kwargs)


@pytest.mark.clause("S-ERR-4", "S-ERR-5")
@pytest.mark.parametrize("setting", ["filter", "sampler"])
async def test_a_broken_filter_or_sampler_cuts_off_its_receiver_and_nothing_else(setting, caplog):
    one = receiver(**{setting: Broken()}, name="ui")
    for seq in range(4):
        one.offer(StreamPart("custom", (), None, seq=seq, run_id="r", step=seq))
    assert (await anext(one)).seq == 0
    with pytest.raises(ZeroDivisionError) as caught:
        await anext(one)
    assert caught.value is one.failed is Broken.error
    now = one.statistics()
    assert (now.offered, now.delivered, now.dropped, now.reasons) == (2, 1, 1, {"failed": 1})
    said = [record for record in caplog.records if record.name.startswith("otel_stream")]
    assert [(record.levelno, record.getMessage()) for record in said] == [
        (logging.ERROR, f"receiver 'ui' is cut off from its stream: {placed(Broken.error)}")
    ]


@pytest.mark.clause("S-FIL-1")
def test_a_filter_sees_the_metadata_that_its_consumer_does_not_want():
    one = receiver(filter=Node("a"), include_metadata=False)
    for seq, node in enumerate("aba"):
        one.offer(part(seq, data=seq, node=node))
    assert list(iter(one.take_nowait, None)) == [StreamPart("custom", (), 0), StreamPart("custom", (), 2)]
    assert (one.statistics().filtered, one.statistics().delivered) == (1, 2)


def kept(sampler, count=400):
    one = receiver(sampler=sampler)
    for seq in range(count):
        one.offer(part(seq))
    now = one.statistics()
    assert now.offered == now.sampled_out + now.held == count
    return [got.seq for got in iter(one.take_nowait, None)]


@pytest.mark.clause("S-SAM-1")
def test_a_sampler_keeps_its_share_of_the_parts_and_always_the_same():
    assert kept(ALWAYS_ON) == list(range(400))
    assert kept(ALWAYS_OFF) == []
    tenth = kept(TraceIdRatioBased(0.1))
    assert 10 < len(tenth) < 100
    assert kept(ParentBased(TraceIdRatioBased(0.1))) == tenth


@pytest.mark.clause("S-SAM-2")
def test_errors_interrupts_and_ends_are_never_sampled_away():
    parts = [
        part(0, "values", {}, interrupts=("pending",)),
        part(1, "updates", {"__interrupt__": ()}),
        part(2, "tasks", {"id": "1", "error": ValueError(), "interrupts": []}),
        part(3, "tasks", {"id": "1", "error": None, "interrupts": [{}]}),
        part(4, "debug", {"payload": {"id": "1", "error": ValueError(), "interrupts": []}}),
        part(5, "end", {"end": "ok"}),
        part(6, "values", {}, interrupts=()),
        part(7, "updates", {"n": None}),
        part(8, "tasks", {"id": "1"}),
        part(9, "tasks", {"id": "1", "error": None, "interrupts": []}),
        part(10, "debug", {"payload": {"id": "1"}}),
        part(11, "custom", {"error": "mine"}),
    ]
    one = receiver(sampler=ALWAYS_OFF)
    for each in parts:
        one.offer(each)
    assert [got.seq for got in iter(one.take_nowait, None)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.clause("S-ACC-3")
@pytest.mark.parametrize("way", ["close", "aclose", "with", "async with"])
async def test_leaving_drops_what_is_held_and_counts_it(way):
    one = offered(3)
    match way:
        case "close":
            one.close()
        case "aclose":
            await one.aclose()
        case "with":
            with one:
                pass
        case _:
            async with one:
                pass
    one.offer(part(3))
    assert one.statistics().reasons == {"closed": 3}
    assert one.statistics().offered == 3
    assert await seqs(one) == []
    assert list(one) == []


async def test_closing_releases_whoever_waits():
    one, blocked = receiver(), offered(3, buffer_size=1)
    async with anyio.create_task_group() as group:
        group.start_soon(seqs, one)
        group.start_soon(blocked.room)
        await anyio.wait_all_tasks_blocked()
        one.close()
        blocked.close()


async def test_a_closed_receiver_forgets_its_error():
    one = offered(1)
    one.finish(End.ERROR, ValueError("boom"))
    one.close()
    assert await seqs(one) == []


@pytest.mark.clause("S-THR-2")
async def test_a_consumer_without_async_may_not_block_an_event_loop():
    one = offered(1, name="ui")
    assert next(one).seq == 0
    with pytest.raises(RuntimeError) as caught:
        next(one)
    assert str(caught.value) == "receiver 'ui': waiting here would block the event loop; use 'async for'"


@pytest.mark.clause("S-OVF-6", "S-ACC-4")
async def test_a_gap_comes_before_the_part_after_it():
    one = offered(5, buffer_size=2, overflow=OverflowPolicy.DROP_OLDEST)
    one.finish(End.OK)
    assert [(got.type, got.seq) async for got in one] == [("gap", None), ("custom", 3), ("custom", 4)]
    now = one.statistics()  # the gap is counted nowhere
    assert (now.offered, now.delivered, now.dropped, set(now.by_mode)) == (5, 2, 3, {"custom"})


async def test_a_run_waits_until_the_consumer_has_made_room():
    one, log = offered(4, buffer_size=2), []

    async def run():
        await one.room()
        log.append("room")

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            log.append((await anext(one)).seq)
            await anyio.wait_all_tasks_blocked()
    assert log == [0, 1, "room", 2]


def test_a_run_without_an_event_loop_waits_by_blocking_its_thread():
    one = offered(3, buffer_size=1)
    reader = threading.Thread(target=lambda: [next(one) for _ in range(3)])

    def by_hand():
        with contextlib.suppress(StopIteration):
            one.room().send(None)
            raise AssertionError("it suspended")

    runner = threading.Thread(target=by_hand)
    runner.start()
    reader.start()
    runner.join()
    reader.join()
    assert one.statistics().delivered == 3


@pytest.mark.clause("S-OVF-9")
async def test_a_run_that_waits_for_nobody_names_the_receiver_once(caplog):
    one = offered(3, buffer_size=1, name="ui")
    one.stall_timeout = 0
    async with anyio.create_task_group() as group:
        group.start_soon(one.room)
        while not caplog.records:
            await anyio.lowlevel.checkpoint()
        assert [(await anext(one)).seq for _ in range(2)] == [0, 1]
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (
            logging.WARNING,
            (
                "a run waits for receiver 'ui': nobody takes from its full buffer of 1 parts; "
                "iterate the receiver, close it, or choose an overflow policy other than 'block'"
            ),
        )
    ]


def test_a_receiver_has_a_name():
    assert receiver(name="ui").name == "ui"
    assert repr(receiver(name="ui")) == "StreamReceiver(name='ui', modes=('custom',))"
    assert receiver().name != receiver().name
