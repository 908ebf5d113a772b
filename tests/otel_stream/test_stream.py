"""One event, many consumers: each gets what it asked for, and none can harm the run or the others."""

import contextlib
import logging
import threading
from contextvars import copy_context

import anyio
import pytest

from otel_stream.config import MODES, Custom, StreamConfig
from otel_stream.events import (
    ALL,
    AttemptStarted,
    CustomWritten,
    End,
    Run,
    RunEnded,
    RunStarted,
    Task,
    TaskEnded,
    TaskStarted,
    ValuesChanged,
)
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream


def run_and_task(id="run"):
    run = Run(id, "graph", context=copy_context())
    return run, Task(run, "a", 1, id="id-a")


def subgraph(task):
    run = Run("inner", "sub", context=copy_context(), ns=(f"{task.node}:{task.id}",), parent=task)
    return run, Task(run, "b", 1, id="id-b")


def receiver(modes="custom", *, lasting=False, **settings):
    return StreamReceiver(StreamConfig(modes=modes, **settings), lasting=lasting)


def held(one):
    return list(iter(one.take_nowait, None))


def brief(one):
    return [(got.type, got.data) for got in held(one)]


def ended(run, end=End.OK, error=None):
    return RunEnded(run, end, None, error, (), 1, 9)


def task_ended(task, update=None):
    return TaskEnded(task, End.OK, update, update or {}, None, (), False, 5)


class Telemetry:
    """Notes what it is told, and names the spans."""

    outlines = False

    def __init__(self, interest=ALL, modes=(), broken_in=None):
        self.interest, self.modes, self.broken_in = interest, frozenset(modes), broken_in
        self.log = []

    def handler(self, kind):
        return self.on_event

    def survives(self, error):
        return False

    def on_event(self, event):
        self.log.append(type(event).__name__)
        if isinstance(event, TaskStarted):
            event.task.trace_id, event.task.span_id = "t" * 32, "s" * 16
        if self.broken_in == "on_event":
            raise OSError("exporter")

    def on_receiver(self, receiver):
        pass

    def on_part(self, part, event):
        self.log.append((part.type, part.seq, type(event).__name__))
        if self.broken_in == "on_part":
            raise OSError("exporter")


@pytest.mark.clause("S-DEL-8")
def test_interest_is_what_somebody_wants_now():
    stream = Stream()
    assert stream.interest == RunEnded.bit
    updates, tasks = receiver("updates"), receiver(("tasks", "values"))
    stream.attach(updates)
    assert stream.interest & (TaskEnded.bit | TaskStarted.bit) == TaskEnded.bit
    stream.attach(tasks)
    assert stream.interest & TaskStarted.bit
    assert stream.interest & ValuesChanged.bit
    tasks.close()
    updates.close()
    assert stream.interest == RunEnded.bit
    assert Stream((), Telemetry(AttemptStarted.bit)).interest == RunEnded.bit | AttemptStarted.bit
    assert Stream((), Telemetry(0, modes=["custom"])).interest == RunEnded.bit | CustomWritten.bit


@pytest.mark.clause("S-DEL-1")
def test_every_receiver_gets_its_modes_and_they_share_the_parts():
    _, task = run_and_task()
    updates, both, other = receiver("updates"), receiver({"updates", "custom"}), receiver("values")
    stream = Stream([updates, both, other])
    stream.emit(CustomWritten(task, "x", 1))
    stream.emit(task_ended(task, {"n": 1}))
    first, second, third = held(updates), held(both), held(other)
    assert [(got.type, got.seq) for got in first] == [("updates", 1)]
    assert [(got.type, got.seq) for got in second] == [("custom", 0), ("updates", 1)]
    assert third == []
    assert first[0] is second[1]


def test_a_part_carries_where_it_comes_from():
    _, task = run_and_task()
    task.attempt = 3
    inner, inner_task = subgraph(task)
    inner.trace_id, inner.span_id = "t" * 32, "i" * 16
    one = receiver(("custom", "values"), subgraphs=True)
    stream = Stream([one])
    stream.emit(CustomWritten(task, "x", 1))
    stream.emit(CustomWritten(inner_task, "y", 2))
    stream.emit(ValuesChanged(inner, 4, {}, 3))
    path = ("a:id-a",)
    assert held(one) == [
        StreamPart("custom", (), "x", 0, 1, "run", "graph", 1, "a", "id-a", 3),
        StreamPart("custom", path, "y", 1, 2, "run", "sub", 1, "b", "id-b", 1),
        StreamPart(
            "values", path, {}, 2, 3, "run", "sub", 4, trace_id="t" * 32, span_id="i" * 16, interrupts=()
        ),
    ]


@pytest.mark.clause("S-DEL-1")
def test_parts_of_subgraphs_go_to_those_who_asked_and_to_telemetry():
    _, task = run_and_task()
    _, inner_task = subgraph(task)
    outside, inside, telemetry = receiver(), receiver(subgraphs=True), Telemetry(0, modes=["custom"])
    stream = Stream([outside, inside], telemetry)
    stream.emit(CustomWritten(inner_task, "in", 1))
    stream.emit(CustomWritten(task, "out", 2))
    assert brief(outside) == [("custom", "out")]
    assert brief(inside) == [("custom", "in"), ("custom", "out")]
    assert telemetry.log == [("custom", 0, "CustomWritten"), ("custom", 1, "CustomWritten")]
    late = receiver()
    alone = Stream([late])
    alone.emit(CustomWritten(inner_task, "nobody wants it", 3))
    alone.emit(CustomWritten(task, "wanted", 4))
    assert [got.seq for got in held(late)] == [0]


def test_telemetry_comes_first_so_that_parts_name_their_span():
    run, task = run_and_task()
    one, telemetry = (
        receiver("tasks"),
        Telemetry(TaskStarted.bit | RunStarted.bit, modes=["tasks", "updates"]),
    )
    stream = Stream([one], telemetry)
    for event in (RunStarted(run, {}, False, 0), TaskStarted(task, 1), task_ended(task), ended(run)):
        stream.emit(event)
    assert telemetry.log == [
        "RunStarted",
        "TaskStarted",
        ("tasks", 0, "TaskStarted"),
        ("updates", 1, "TaskEnded"),
        ("tasks", 2, "TaskEnded"),
    ]
    assert [(got.trace_id, got.span_id) for got in one] == [("t" * 32, "s" * 16)] * 2


def test_telemetry_that_loses_interest_is_told_no_more():
    class Unsampled(Telemetry):
        def on_event(self, event):
            super().on_event(event)
            self.interest, self.modes = RunEnded.bit, frozenset()

    run, task = run_and_task()
    telemetry = Unsampled(ALL, modes=["tasks"])
    stream = Stream((), telemetry)
    for event in (RunStarted(run, {}, False, 0), TaskStarted(task, 1), ended(run)):
        stream.emit(event)
    assert telemetry.log == ["RunStarted", "RunEnded"]
    assert stream.interest == RunEnded.bit


def test_telemetry_that_exports_nothing_any_more_has_no_parts_made_for_it():
    class RecordedOnly(Telemetry):
        def on_event(self, event):
            super().on_event(event)
            self.modes = frozenset()

    run, task = run_and_task()
    telemetry = RecordedOnly(RunStarted.bit, modes=["tasks"])
    stream = Stream((), telemetry)
    assert stream.interest & TaskStarted.bit
    stream.emit(RunStarted(run, {}, False, 0))
    assert not stream.interest & TaskStarted.bit
    stream.emit(TaskStarted(task, 1))
    assert telemetry.log == ["RunStarted"]


@pytest.mark.clause("S-ERR-6")
@pytest.mark.parametrize("broken_in", ["on_event", "on_part"])
def test_broken_telemetry_is_cut_off_once_and_the_stream_goes_on(broken_in, caplog):
    _, task = run_and_task()
    one, telemetry = receiver(), Telemetry(CustomWritten.bit | AttemptStarted.bit, ["custom"], broken_in)
    stream = Stream([one], telemetry)
    for data in "ab":
        stream.emit(CustomWritten(task, data, 1))
    assert brief(one) == [("custom", "a"), ("custom", "b")]
    assert telemetry.log.count("CustomWritten") == 1
    assert stream.interest == CustomWritten.bit | RunEnded.bit
    ((level, said),) = [(record.levelno, record.message) for record in caplog.records]
    assert level == logging.ERROR
    assert said.startswith(f"telemetry is cut off from this run: OSError in {broken_in} (test_stream.py:")


@pytest.mark.clause("S-ERR-4")
def test_a_broken_receiver_is_cut_off_and_the_others_lose_nothing(caplog):
    run, task = run_and_task()
    good = receiver()
    broken = [
        receiver(filter=lambda part: 1 / 0, name="filter"),
        receiver(["custom", Custom(lambda event: 1 / 0, "mine")], name="mode"),
        receiver(overflow="error", buffer_size=1, name="small"),
    ]
    stream = Stream([*broken, good])
    for data in "abc":
        stream.emit(CustomWritten(task, data, 1))
    stream.emit(ended(run))
    assert [got.data for got in good] == ["a", "b", "c"]
    assert [type(one.failed).__name__ for one in broken] == [
        "ZeroDivisionError",
        "ZeroDivisionError",
        "ReceiverOverflowError",
    ]
    assert [one.end for one in broken] == [None] * 3
    assert brief(broken[1]) == [("custom", "a")]
    assert len(caplog.records) == 3


def test_the_end_of_the_root_ends_the_stream_and_its_receivers_once():
    run, task = run_and_task()
    inner, _ = subgraph(task)
    one, error = receiver(subgraphs=True, include_end=True), ValueError("boom")
    stream = Stream([one])
    stream.emit(ended(inner))
    assert (stream.end, one.over) == (None, False)
    stream.emit(ended(run, End.ERROR, error))
    stream.finish(End.OK)
    assert (stream.end, stream.error, one.end) == (End.ERROR, error, End.ERROR)
    last = next(one)
    assert (last.type, last.ns, last.data) == ("end", (), {"end": "error", "error": error, "interrupts": ()})
    with pytest.raises(ValueError, match="boom"):
        next(one)


@pytest.mark.clause("S-DEL-6")
def test_a_late_subscriber_gets_what_comes_after_it():
    run, task = run_and_task()
    early, late, too_late = receiver(), receiver(), receiver()
    stream = Stream([early])
    stream.emit(CustomWritten(task, "a", 1))
    stream.attach(late)
    stream.attach(late)
    stream.emit(CustomWritten(task, "b", 1))
    stream.detach(early)
    stream.emit(CustomWritten(task, "c", 1))
    stream.emit(ended(run))
    stream.attach(too_late)
    assert [got.data for got in late] == ["b", "c"]
    assert [got.data for got in too_late] == []
    assert too_late.end is End.OK
    assert brief(early) == [("custom", "a"), ("custom", "b")]
    assert early.end is None


def test_a_lasting_receiver_follows_run_after_run_until_it_is_closed():
    one = receiver(lasting=True, include_end=True)
    streams = []
    for name in ("r1", "r2"):
        run, task = run_and_task(name)
        streams.append((stream := Stream([one]), task))
        stream.emit(CustomWritten(task, name, 1))
        if name == "r1":
            stream.emit(ended(run))
    assert [(got.run_id, got.type) for got in held(one)] == [
        ("r1", "custom"),
        ("r1", "end"),
        ("r2", "custom"),
    ]
    assert (one.over, one.end) == (False, None)
    one.close()
    assert streams[1][0].interest == RunEnded.bit
    streams[1][0].attach(one)
    assert streams[1][0].interest == RunEnded.bit


def test_an_interest_in_everything_is_an_interest_in_all_events():
    stream = Stream([receiver(Custom(lambda event: type(event).__name__, "all"))])
    assert stream.interest == ALL


async def test_drain_returns_at_once_when_nobody_has_parts_waiting():
    _, task = run_and_task()
    taken = receiver(buffer_size=2)
    stream = Stream([taken])
    stream.emit(CustomWritten(task, 1, 1))
    assert taken.take_nowait() is not None
    with pytest.raises(StopIteration):
        stream.drain().send(None)


@pytest.mark.clause("S-THR-3")
async def test_a_producer_that_never_awaits_gives_its_consumers_a_turn_before_they_lose_anything():
    run, task = run_and_task()
    ring = receiver(buffer_size=2, overflow="drop_oldest")
    stream = Stream([ring])

    async def produce():
        for n in range(50):
            stream.emit(CustomWritten(task, n, 1))
            await stream.drain()
        stream.emit(ended(run))

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        got = [part.data async for part in ring]
    assert got == list(range(50))
    assert ring.statistics().dropped == 0


@pytest.mark.clause("S-THR-3")
async def test_a_turn_comes_with_time_and_at_once_with_a_buffer_half_full(monkeypatch):
    now, turns = 0.0, []

    async def turn():
        turns.append(taken.statistics().held)

    monkeypatch.setattr("otel_stream.stream.stream.monotonic", lambda: now)
    monkeypatch.setattr("otel_stream.stream.stream.yield_turn", turn)
    _, task = run_and_task()
    taken = receiver(buffer_size=8)
    stream = Stream([taken])

    async def write():
        stream.emit(CustomWritten(task, 1, 1))
        await stream.drain()

    now = 5.0
    await write()  # the first
    await write()  # no time has passed
    now += 0.001
    await write()
    assert turns == [1, 3]
    await write()  # half full
    await write()
    assert turns == [1, 3, 4, 5]


@pytest.mark.clause("S-OVF-2")
async def test_backpressure_bounds_what_a_slow_consumer_lets_pile_up():
    run, task = run_and_task()
    one, per_step = receiver(buffer_size=8), 5
    stream = Stream([one])

    async def produce():
        for step in range(40):
            for n in range(per_step):
                stream.emit(CustomWritten(task, (step, n), 1))
            await stream.drain()
        stream.emit(ended(run))

    async with anyio.create_task_group() as group:
        group.start_soon(produce)
        got = []
        async for part in one:
            got.append(part.data)
            await anyio.lowlevel.checkpoint()
    now = one.statistics()
    assert got == [(step, n) for step in range(40) for n in range(per_step)]
    assert (now.dropped, now.delivered) == (0, 200)
    assert now.high_water <= 8 + per_step


def test_drain_driven_by_hand_blocks_its_thread_and_never_suspends():
    run, task = run_and_task()
    one = receiver(buffer_size=4)
    stream = Stream([one])

    def produce():
        for n in range(50):
            stream.emit(CustomWritten(task, n, 1))
            with contextlib.suppress(StopIteration):
                stream.drain().send(None)
                raise AssertionError("it suspended")
        stream.emit(ended(run))

    thread = threading.Thread(target=produce)
    thread.start()
    assert [got.data for got in one] == list(range(50))
    thread.join()
    assert one.statistics().high_water <= 5


@pytest.mark.clause("S-ORD-1", "S-ORD-4")
def test_emitting_threads_never_disorder_the_numbers_of_the_parts():
    run, task = run_and_task()
    first, second = receiver(buffer_size=10_000), receiver(buffer_size=10_000)
    stream = Stream([first, second])
    threads = [
        threading.Thread(target=lambda: [stream.emit(CustomWritten(task, 0, 1)) for _ in range(1000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.emit(ended(run))
    assert [got.seq for got in first] == list(range(4000))
    assert [got.seq for got in second] == list(range(4000))


def test_a_filter_that_emits_itself_does_no_harm():
    _, task = run_and_task()

    def echo(part):
        if part.data < 3:
            stream.emit(CustomWritten(task, part.data + 1, 1))
        return True

    one = receiver(filter=echo)
    stream = Stream([one])
    stream.emit(CustomWritten(task, 0, 1))
    assert sorted(got.seq for got in held(one)) == [0, 1, 2, 3]


@pytest.mark.clause("S-THR-5")
def test_receivers_may_come_and_leave_while_threads_emit():
    run, task = run_and_task()
    steady = receiver(buffer_size=10_000)
    stream = Stream([steady])
    thread = threading.Thread(target=lambda: [stream.emit(CustomWritten(task, n, 1)) for n in range(3000)])
    thread.start()
    while thread.is_alive():
        with receiver(MODES) as visitor:
            stream.attach(visitor)
            numbers = [got.seq for got in held(visitor)]
            assert numbers == sorted(numbers)
    thread.join()
    stream.emit(ended(run))
    assert [got.data for got in steady] == list(range(3000))
