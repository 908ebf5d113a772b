"""Many parts become one, in the shape of their mode, and say what they stand for."""

import threading
from contextvars import copy_context
from datetime import timedelta

import anyio
import pytest

from otel_stream.aggregate import Aggregate
from otel_stream.config import ConfigError, OverflowPolicy, StreamConfig
from otel_stream.events import (
    CustomWritten,
    End,
    Run,
    RunEnded,
    SuperstepEnded,
    Task,
    TaskEnded,
    ValuesChanged,
)
from otel_stream.stream.admission import Admission
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.modes import AggregateOf, StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream

SECOND = 1_000_000_000


def admitting(aggregate, buffer, now):
    """What stands before ``buffer``; its clock says the one item of ``now``."""
    config = StreamConfig(modes="custom", aggregate=aggregate)
    return Admission(config, buffer, failed=list, refused=list, changed=list, clock=lambda: now[0])


def add(admission, part):
    admission.put(part, None)
    admission.inbox.settle()


class Chunk(str):
    """A chunk of a message: its text, and the id of the message."""

    __slots__ = ("id",)

    def __new__(cls, id, text):
        chunk = super().__new__(cls, text)
        chunk.id = id
        return chunk

    def __add__(self, other):
        return Chunk(self.id, str(self) + str(other))


class Adding(Run):
    """A run whose state adds up what is written to "log"."""

    def merge(self, key, old, new):
        return old + new if key == "log" else new


def run_and_task(id="r", kind=Run):
    run = kind(id, "g", context=copy_context())
    return run, Task(run, "a", 1, id="id-a")


def part(seq, data=None, type="custom", *, time=0, run="r", ns=(), node="n", step=1, **more):
    return StreamPart(type, ns, seq if data is None else data, seq, time, run, "g", step, node, **more)


def receiver(aggregate, modes="custom", **settings):
    return StreamReceiver(StreamConfig(modes=modes, aggregate=aggregate, **settings), lasting=False)


def held(one):
    return list(iter(one.take_nowait, None))


def brief(one):
    return [(got.type, got.data, got.weight) for got in held(one)]


def task_ended(task, update, time=5):
    return TaskEnded(task, End.OK, update, update or {}, None, (), False, time)


def ended(run, end=End.OK):
    return RunEnded(run, end, None, None, (), 1, 9)


# --- What an aggregate is ---------------------------------------------------------------------------------


@pytest.mark.clause("S-AGG-1")
def test_an_aggregate_has_the_metadata_of_its_last_part_and_says_what_it_stands_for():
    one = receiver(Aggregate(3))
    for seq in range(7):
        one.offer(part(seq, time=10 * seq, step=seq))
    assert held(one) == [
        part(2, [0, 1, 2], time=20, step=2, aggregate=AggregateOf(3, 0, 2, 0, 20)),
        part(5, [3, 4, 5], time=50, step=5, aggregate=AggregateOf(3, 3, 5, 30, 50)),
    ]
    now = one.statistics()
    assert (now.offered, now.delivered, now.held) == (7, 6, 1)
    assert one.take_nowait() is None


def test_what_it_stands_for_is_metadata():
    full, bare = receiver(Aggregate(2)), receiver(Aggregate(2), include_metadata=False)
    for one in (full, bare):
        one.offer(part(0))
        one.offer(part(1))
    got = full.take_nowait()
    assert got.to_dict()["aggregate"] == AggregateOf(2, 0, 1, 0, 0)
    assert b'"aggregate":{"count":2,"first_seq":0,"last_seq":1' in got.to_json()
    assert "aggregate" not in got.to_dict(metadata=False)
    assert bare.take_nowait() == StreamPart("custom", (), [0, 1])


@pytest.mark.clause("S-AGG-2")
def test_the_chunks_of_a_message_are_joined_and_messages_never_mixed():
    one = receiver(Aggregate("superstep"), "messages")
    words = [("m1", "He"), ("m2", "wor"), ("m1", "llo"), (None, "?"), ("m2", "ld"), (None, "!")]
    for seq, (id, text) in enumerate(words):
        one.offer(part(seq, (Chunk(id, text), {"n": seq}), "messages"))
    assert brief(one) == [("messages", ("?", {"n": 3}), 1), ("messages", ("!", {"n": 5}), 1)]
    one.finish(End.OK)
    assert brief(one) == [("messages", ("Hello", {"n": 2}), 2), ("messages", ("world", {"n": 4}), 2)]


def test_chunks_that_are_mappings_are_joined_by_their_content():
    one = receiver(Aggregate(3), "messages")
    for seq, text in enumerate(["a", "b", "c"]):
        one.offer(part(seq, ({"id": "m", "content": text, "n": seq}, {}), "messages"))
    assert brief(one) == [("messages", ({"id": "m", "content": "abc", "n": 2}, {}), 3)]


@pytest.mark.clause("S-AGG-2")
def test_updates_are_merged_per_node_with_the_rules_of_their_run():
    run, task = run_and_task(kind=Adding)
    other = Task(run, "b", 1, id="id-b")
    one = receiver(Aggregate(every=60.0), "updates")
    stream = Stream([one])
    updates = [
        (task, {"log": ["1"], "x": 1}),
        (other, {"log": ["b"]}),
        (task, None),
        (task, [{"log": ["2"]}, {"log": ["3"], "x": 2}]),
        (task, {"y": 3}),
    ]
    for who, update in updates:
        stream.emit(task_ended(who, update))
    stream.emit(ended(run))
    assert brief(one) == [
        ("updates", {"b": {"log": ["b"]}}, 1),
        ("updates", {"a": {"log": ["1", "2", "3"], "x": 2, "y": 3}}, 4),
    ]


def test_without_rules_the_last_write_wins_and_what_is_no_mapping_is_replaced():
    one = receiver(Aggregate(3), "updates")
    for seq, update in enumerate([{"x": [1]}, {"x": [2], "y": 1}, {"z": 1}, {"x": 1}, 7, 8]):
        one.offer(part(seq, {"n": update}, "updates"))
    assert brief(one) == [("updates", {"n": {"x": [2], "y": 1, "z": 1}}, 3), ("updates", {"n": 8}, 3)]


def test_a_rule_that_changes_its_first_argument_reaches_no_other_receiver():
    class Extending(Run):
        def merge(self, key, old, new):
            old.extend(new)
            return old

    _, task = run_and_task(kind=Extending)
    merged, plain = receiver(Aggregate(2), "updates"), StreamReceiver(StreamConfig(modes="updates"))
    stream = Stream([merged, plain])
    for n in (1, 2):
        stream.emit(task_ended(task, {"log": [n]}))
    assert brief(merged) == [("updates", {"a": {"log": [1, 2]}}, 2)]
    assert brief(plain) == [("updates", {"a": {"log": [1]}}, 1), ("updates", {"a": {"log": [2]}}, 1)]


@pytest.mark.clause("S-AGG-2")
def test_of_values_the_last_counts():
    one = receiver(Aggregate(3), "values")
    for seq in range(3):
        one.offer(part(seq, {"x": seq}, "values", interrupts=()))
    assert brief(one) == [("values", {"x": 2}, 3)]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (None, [[0, 2], [1, 3]]),
        ("node", [[0, 1], [2, 3]]),
        (("ns", "node"), [[0], [1], [2], [3]]),
        ((), [[0, 1, 2, 3]]),
        (lambda part: part.seq == 3, [[0, 1, 2], [3]]),
        (lambda part: None if part.seq == 0 else "rest", [0, [1, 2, 3]]),
    ],
)
def test_parts_with_the_same_key_share_a_window(by, expected):
    one = receiver(Aggregate("superstep" if by is None else 60.0, by=by), subgraphs=True)
    for seq, (ns, node) in enumerate([((), "a"), (("s:1",), "a"), ((), "b"), (("s:1",), "b")]):
        one.offer(part(seq, ns=ns, node=node))
    one.finish(End.OK)
    assert sorted((data for _, data, _ in brief(one)), key=str) == sorted(expected, key=str)


def test_a_mapping_aggregates_some_modes_and_leaves_the_others():
    one = receiver({"values": Aggregate(2)}, ("values", "custom"))
    for seq, type in enumerate(["values", "custom", "values", "custom"]):
        one.offer(part(seq, type=type))
    assert brief(one) == [("custom", 1, 1), ("values", 2, 2), ("custom", 3, 1)]


# --- When a window closes -----------------------------------------------------------------------------------


def test_a_window_of_seconds_closes_by_the_time_of_the_parts():
    one = receiver(Aggregate(timedelta(seconds=1), by="node"))
    for seq, (node, seconds) in enumerate([("a", 0), ("b", 0.5), ("a", 0.9), ("a", 1.0), ("b", 1.6)]):
        one.offer(part(seq, node=node, time=int(seconds * SECOND)))
    assert brief(one) == [("custom", [0, 2], 2), ("custom", [1], 1)]
    assert one.statistics().held == 2


async def test_a_waiting_consumer_gets_a_window_of_seconds_when_its_time_is_over():
    one, got = receiver(Aggregate(0.01)), []

    async def read():
        async for each in one:
            got.extend(each.data)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        one.offer(part(0))
        one.offer(part(1))
        while not got:
            await anyio.lowlevel.checkpoint()
        one.finish(End.OK)
    assert got == [0, 1]


def test_a_consumer_in_a_thread_gets_it_as_well():
    one, got = receiver(Aggregate(0.01)), []
    reader = threading.Thread(target=lambda: got.append(next(one).data))
    reader.start()
    one.offer(part(0))
    reader.join()
    assert got == [[0]]


def test_a_window_of_a_superstep_ends_with_it_here_and_not_elsewhere():
    run, task = run_and_task()
    inner = Run("inner", "sub", context=copy_context(), ns=("a:id-a",), parent=task)
    inner_task = Task(inner, "b", 1, id="id-b")
    one = receiver(Aggregate("superstep"), subgraphs=True)
    stream = Stream([one])
    assert stream.interest & SuperstepEnded.bit
    for n in range(2):
        stream.emit(CustomWritten(task, n, n))
        stream.emit(CustomWritten(inner_task, f"in {n}", n))
    stream.emit(SuperstepEnded(inner, 1, End.OK, frozenset(), 3))
    assert brief(one) == [("custom", ["in 0", "in 1"], 2)]
    stream.emit(SuperstepEnded(run, 1, End.OK, frozenset(), 4))
    assert brief(one) == [("custom", [0, 1], 2)]
    assert not Stream([StreamReceiver(StreamConfig(modes="custom"))]).interest & SuperstepEnded.bit


def test_a_part_of_the_next_superstep_ends_the_window_too():
    one = receiver(Aggregate("superstep"))
    for seq, step in enumerate([1, 1, 2]):
        one.offer(part(seq, step=step))
    assert brief(one) == [("custom", [0, 1], 2)]


@pytest.mark.clause("S-AGG-3")
@pytest.mark.parametrize(
    "structural",
    [
        part(2, {"__interrupt__": ()}, "updates"),
        part(2, {"id": "1", "error": ValueError(), "interrupts": []}, "tasks"),
        part(2, {"id": "1", "error": None, "interrupts": [{}]}, "tasks"),
        part(2, {}, "values", interrupts=("pending",)),
        part(2, {"end": "ok"}, "end"),
    ],
)
def test_errors_interrupts_and_ends_close_the_windows_of_their_run_and_follow(structural):
    one = receiver(Aggregate(5), ("custom", "updates", "tasks", "values"))
    one.offer(part(0, run="other"))
    one.offer(part(1))
    one.offer(structural)
    assert held(one) == [part(1, [1], aggregate=AggregateOf(1, 1, 1, 0, 0)), structural]


@pytest.mark.clause("S-AGG-3")
@pytest.mark.parametrize("include_end", [True, False])
@pytest.mark.parametrize("lasting", [True, False])
def test_a_window_never_outlives_its_run(lasting, include_end):
    config = StreamConfig(modes="custom", aggregate=Aggregate(9), include_end=include_end)
    one = StreamReceiver(config, lasting=lasting)
    for id in ("r1", "r2"):
        run, task = run_and_task(id)
        stream = Stream([one])
        for n in range(2):
            stream.emit(CustomWritten(task, f"{id} {n}", n))
        stream.emit(ended(run))
        if not lasting:
            break
    runs = ("r1", "r2") if lasting else ("r1",)
    assert [(got.run_id, got.type, got.weight) for got in held(one)] == [
        expected for id in runs for expected in [(id, "custom", 2), (id, "end", 1)][: 2 if include_end else 1]
    ]


def test_runs_never_share_a_window_and_the_end_of_one_leaves_those_of_others():
    one = StreamReceiver(StreamConfig(modes="custom", aggregate=Aggregate(9)), lasting=True)
    (first, of_first), (second, of_second) = run_and_task("r1"), run_and_task("r2")
    streams = {run.id: Stream([one]) for run in (first, second)}
    for n in range(2):
        streams["r1"].emit(CustomWritten(of_first, ("r1", n), n))
        streams["r2"].emit(CustomWritten(of_second, ("r2", n), n))
    streams["r1"].emit(ended(first))
    assert brief(one) == [("custom", [("r1", 0), ("r1", 1)], 2)]
    streams["r2"].emit(ended(second))
    assert brief(one) == [("custom", [("r2", 0), ("r2", 1)], 2)]


def test_the_end_of_a_superstep_closes_windows_whose_time_is_over():
    buffer, now, run = Buffer(8, OverflowPolicy.BLOCK), [0], run_and_task()[0]
    admission = admitting(Aggregate(1.0), buffer, now)
    add(admission, part(0))
    for now[0] in (SECOND - 1, SECOND):
        assert buffer.take() is None
        admission.passed(SuperstepEnded(run, 1, End.OK, frozenset(), 1))
    assert buffer.take().data == [0]


def test_that_an_update_comes_from_the_cache_is_no_write():
    class Strict(Run):
        def merge(self, key, old, new):
            assert key == "x"
            return old + new

    _, task = run_and_task(kind=Strict)
    one = receiver(Aggregate(2), "updates")
    stream = Stream([one])
    for _ in range(2):
        stream.emit(TaskEnded(task, End.OK, {"x": 1}, {}, None, (), True, 5))
    assert brief(one) == [("updates", {"a": {"x": 2}, "__metadata__": {"cached": True}}, 2)]


def test_a_subgraphs_windows_end_with_it():
    _, task = run_and_task()
    inner = Run("inner", "sub", context=copy_context(), ns=("a:id-a",), parent=task)
    one = receiver(Aggregate(9), "values", subgraphs=True)
    stream = Stream([one])
    stream.emit(ValuesChanged(inner, 1, {"x": 1}, 1))
    stream.emit(ValuesChanged(task.run, 1, {"x": 2}, 1))
    stream.emit(ended(inner))
    assert brief(one) == [("values", {"x": 1}, 1)]


def test_open_windows_never_hold_more_than_the_buffer_may():
    one = receiver(Aggregate(60.0, by="node"), buffer_size=4)
    for seq, node in enumerate("aabbcc"):
        one.offer(part(seq, node=node))
    assert brief(one) == [("custom", [0, 1], 2)]
    assert one.statistics().held == 4


# --- What goes wrong --------------------------------------------------------------------------------------


def broken(data):
    raise ZeroDivisionError("mine")


@pytest.mark.clause("S-AGG-4", "S-ERR-4", "S-ERR-5")
@pytest.mark.clause("S-AGG-4", "S-ERR-4")
@pytest.mark.parametrize("aggregate", [Aggregate(2, reduce=broken), Aggregate(2, by=broken)])
def test_a_broken_reducer_or_key_cuts_off_its_receiver_and_nothing_else(aggregate, caplog):
    run, task = run_and_task()
    bad, good = receiver({"custom": aggregate}, ("values", "custom")), receiver(Aggregate(2))
    stream = Stream([bad, good])
    stream.emit(ValuesChanged(run, 1, {"x": 1}, 1))
    for n in range(4):
        stream.emit(CustomWritten(task, n, n))
    stream.emit(ended(run))
    assert brief(good) == [("custom", [0, 1], 2), ("custom", [2, 3], 2)]
    assert next(bad).type == "values"
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(bad)
    now = bad.statistics()
    failed = 2 if aggregate.reduce else 1
    assert (now.offered, now.delivered, now.held, now.reasons) == (1 + failed, 1, 0, {"failed": failed})
    assert len(caplog.records) == 1


def test_other_windows_are_delivered_before_the_error_of_a_broken_one():
    one = receiver(Aggregate(2, by="node", reduce=lambda data: 1 // data[0]))
    for seq, node in [(1, "a"), (0, "b"), (2, "b")]:
        one.offer(part(seq, node=node))
    assert next(one).data == 1
    with pytest.raises(ZeroDivisionError):
        next(one)
    now = one.statistics()
    assert (now.offered, now.delivered, now.reasons) == (3, 1, {"failed": 2})


def test_a_rule_of_the_state_that_raises_cuts_off_the_receiver():
    class Broken(Run):
        def merge(self, key, old, new):
            raise ZeroDivisionError

    _, task = run_and_task(kind=Broken)
    one = receiver(Aggregate(5), "updates")
    stream = Stream([one])
    for n in range(3):
        stream.emit(task_ended(task, {"x": n}))
    assert isinstance(one.failed, ZeroDivisionError)
    assert one.statistics().reasons == {"failed": 2}


def test_a_consumer_that_leaves_drops_what_is_in_open_windows():
    one = receiver(Aggregate(3, reduce=broken))
    one.offer(part(0))
    one.offer(part(1))
    one.close()
    assert one.statistics().reasons == {"closed": 2}
    assert one.failed is None
    assert list(one) == []


@pytest.mark.clause("S-OVF-6")
def test_an_overflow_counts_every_part_that_is_lost_and_tells():
    one = receiver(Aggregate(3), buffer_size=3, overflow=OverflowPolicy.DROP_OLDEST)
    for seq in range(12):
        one.offer(part(seq))
    told, *rest = held(one)
    assert told.data == {
        "dropped": 3,
        "modes": {"custom": 3},
        "reasons": {"drop_oldest": 3},
        "first_seq": 0,
        "last_seq": 2,
    }
    assert [got.data for got in rest] == [[3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_an_overflow_by_policy_error_loses_the_aggregate_that_did_not_fit():
    one = receiver(Aggregate(2), buffer_size=2, overflow="error")
    for seq in range(6):
        one.offer(part(seq))
    now = one.statistics()
    assert (now.offered, now.held, now.reasons) == (6, 4, {"error": 2})
    assert type(one.failed).__name__ == "ReceiverOverflowError"


@pytest.mark.clause("S-OVF-7")
def test_a_producer_never_waits_for_a_reducer_that_the_consumer_runs():
    entered, leave = threading.Event(), threading.Event()

    def slow(data):
        entered.set()
        assert leave.wait(30)
        return data

    buffer = Buffer(8, OverflowPolicy.BLOCK)
    now = [0]
    admission = admitting(Aggregate(1.0, reduce=slow), buffer, now)
    add(admission, part(0))
    now[0] = 2 * SECOND
    consumer = threading.Thread(target=admission.tick)
    consumer.start()
    assert entered.wait(30)
    add(admission, part(1, type="end"))
    finished = []
    admission.finish(lambda: finished.append(True))
    assert (buffer.statistics().held, finished) == (2, [])
    leave.set()
    consumer.join()
    assert finished == [True]
    assert [got.data for got in iter(buffer.take, None)] == [[0], 1]


def test_a_reducer_that_writes_to_its_own_stream_does_no_harm():
    _, task = run_and_task()

    def echo(data):
        if data[0] < 2:
            stream.emit(CustomWritten(task, data[0] + 1, 1))
        return data

    one = receiver(Aggregate(1, reduce=echo))
    stream = Stream([one])
    stream.emit(CustomWritten(task, 0, 1))
    assert brief(one) == [("custom", [0], 1), ("custom", [1], 1), ("custom", [2], 1)]


def test_the_account_is_exact_while_threads_aggregate_and_take():
    one = receiver(Aggregate(7, by="node"), buffer_size=64, overflow="drop_oldest")
    taken, done = [], threading.Event()

    def produce(node):
        for seq in range(2000):
            one.offer(part(seq, node=node))

    def consume():
        while not done.is_set() or one.held:
            got = one.take_nowait()
            if got is not None:
                taken.append(got)
            now = one.statistics()
            assert now.offered == now.delivered + now.dropped + now.held

    producers = [threading.Thread(target=produce, args=(f"p{n}",)) for n in range(3)]
    consumer = threading.Thread(target=consume)
    for thread in (*producers, consumer):
        thread.start()
    for thread in producers:
        thread.join()
    one.finish(End.OK)
    done.set()
    consumer.join()
    now = one.statistics()
    assert (now.offered, now.held) == (6000, 0)
    assert sum(got.weight for got in taken if got.type != "gap") == now.delivered
    assert sum(got.data["dropped"] for got in taken if got.type == "gap") == now.dropped
    for node in ("p0", "p1", "p2"):
        seqs = [seq for got in taken if got.node == node for seq in got.data]
        assert seqs == sorted(set(seqs))


# --- What can be asked for ----------------------------------------------------------------------------------


NO_WINDOW = "give a count of parts (1 or more), seconds as a float or a timedelta, or 'superstep'"
FIELDS = "type, ns, seq, time_unix_nano, run_id, graph, step, node, task_id, attempt, trace_id, span_id, tags"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Aggregate(0), f"Aggregate.every: 0 is no window; {NO_WINDOW}"),
        (lambda: Aggregate("step"), f"Aggregate.every: 'step' is no window; {NO_WINDOW}"),
        (lambda: Aggregate(1, reduce=3), "Aggregate.reduce: 3 is not callable; give a function of a list"),
        (
            lambda: Aggregate(1, by="nod"),
            f"Aggregate.by: 'nod' is no field of a part; choose from: {FIELDS}, message_id",
        ),
        (
            lambda: receiver(3),
            "StreamConfig.aggregate: 3 can't aggregate; give an Aggregate, or one per mode",
        ),
        (
            lambda: receiver({"values": Aggregate(1)}),
            "StreamConfig.aggregate: 'values' is none of the receiver's modes; choose from: custom",
        ),
        (
            lambda: receiver(Aggregate(9), buffer_size=8),
            (
                "StreamConfig.aggregate: 9 parts are more than buffer_size (8), which bounds open windows, "
                "too; raise buffer_size, or aggregate fewer"
            ),
        ),
    ],
)
def test_what_can_not_aggregate_is_named(make, sentence):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == sentence


@pytest.mark.parametrize("every", [True, -1, 0.0, float("nan"), float("inf"), timedelta(0), None])
def test_a_window_has_a_size(every):
    with pytest.raises(ConfigError, match="is no window"):
        Aggregate(every)
