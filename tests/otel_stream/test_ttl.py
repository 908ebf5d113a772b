"""A receiver whose parts expire never holds up a run for long, and tells its consumer what it missed."""

import time
from contextvars import copy_context

import anyio
import pytest

from otel_stream.aggregate import Aggregate
from otel_stream.config import OverflowPolicy, StreamConfig
from otel_stream.events import CustomWritten, End, Run, RunEnded, SuperstepEnded, Task
from otel_stream.parts import StreamPart
from otel_stream.stream.admission import Admission
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream


def task():
    return Task(Run("r", "g", context=copy_context()), "a", 1, id="id-a")


async def test_a_run_that_waits_for_room_goes_on_when_parts_expire(caplog):
    one, who = StreamReceiver(StreamConfig(modes="custom", buffer_size=1, ttl=0.02)), task()
    one.stall_timeout = 0
    stream, waits = Stream([one]), []
    stream.on_stall = waits.append
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


@pytest.mark.clause("S-TTL-1")
def test_an_aggregate_lives_as_long_as_its_last_part():
    config, now = StreamConfig(modes="custom", aggregate=Aggregate("superstep", by="node")), [0]
    buffer = Buffer(8, OverflowPolicy.BLOCK, 10, lambda: now[0])
    admission = Admission(config, buffer, failed=print, refused=list, changed=list, clock=lambda: now[0])
    who = task()

    def offer(node, seq):
        admission.put(StreamPart("custom", (), seq, seq=seq, run_id="r", step=1, node=node), None)
        admission.inbox.settle()

    offer("old", 0)
    now[0] += 8 * 10**9
    offer("young", 1)
    offer("young", 2)
    now[0] += 8 * 10**9
    admission.passed(SuperstepEnded(who.run, 1, End.OK, frozenset(), 9))
    gap, part = buffer.take(), buffer.take()
    assert (gap.data["dropped"], gap.data["reasons"]) == (1, {"expired": 1})
    assert part.data == [1, 2]


@pytest.mark.clause("S-TTL-1")
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_wall_clock_that_is_set_changes_nothing(monkeypatch, hours):
    one, who, real = (
        StreamReceiver(StreamConfig(modes="custom", buffer_size=1, ttl=0.02)),
        task(),
        time.time_ns,
    )
    stream = Stream([one])
    stream.emit(CustomWritten(who, 0, real()))
    stream.emit(CustomWritten(who, 1, real()))
    monkeypatch.setattr(time, "time_ns", lambda: real() + hours * 3600 * 10**9)
    assert one.statistics().held == 2
    with anyio.fail_after(20):
        await stream.drain()
    assert one.statistics().reasons == {"expired": 2}
