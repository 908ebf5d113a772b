"""A receiver whose parts expire never holds up a run for long, and tells its consumer what it missed."""

import time
from contextvars import copy_context

from otel_stream.aggregate import Aggregate
from otel_stream.config import StreamConfig
from otel_stream.events import CustomWritten, End, Run, RunEnded, Task
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream


def task():
    return Task(Run("r", "g", context=copy_context()), "a", 1, id="id-a")


async def test_a_run_that_waits_for_room_goes_on_when_parts_expire(caplog):
    one, who = StreamReceiver(StreamConfig(modes="custom", buffer_size=1, ttl=0.02)), task()
    one.stall_timeout = 0
    stream, waits = Stream([one]), []
    stream.on_wait = waits.append
    for n in range(4):
        stream.emit(CustomWritten(who, n, time.time_ns()))
        await stream.drain()
    stream.emit(RunEnded(who.run, End.OK, None, None, (), 1, time.time_ns()))
    gap, *rest = [part async for part in one]
    lost = gap.data["dropped"]
    assert gap.data == {
        "dropped": lost,
        "modes": {"custom": lost},
        "reasons": {"expired": lost},
        "first_seq": 0,
        "last_seq": lost - 1,
    }
    assert lost >= 3
    assert len(rest) == 4 - one.statistics().dropped
    assert (waits, caplog.records) == ([], [])


def test_an_aggregate_lives_as_long_as_its_last_part():
    one, who = StreamReceiver(StreamConfig(modes="custom", ttl=3600, aggregate=Aggregate(2))), task()
    stream, now = Stream([one]), time.time_ns()
    hours = 3600 * 10**9
    for n, born in enumerate([now - 3 * hours, now - 2 * hours, now - 2 * hours, now]):
        stream.emit(CustomWritten(who, n, born))
    gap, part = one.take_nowait(), one.take_nowait()
    assert (gap.data["dropped"], gap.data["reasons"], gap.data["first_seq"]) == (2, {"expired": 2}, 0)
    assert part.data == [2, 3]
