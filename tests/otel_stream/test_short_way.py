"""What nodes write takes a short way to its receivers; nobody can tell it from the long way."""

import threading
from contextvars import copy_context

import pytest

from otel_stream.config import OverflowPolicy, StreamConfig
from otel_stream.events import ALL, CustomWritten, End, MessageWritten, Run, Task
from otel_stream.stream.buffer import Buffer
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream


class Telemetry:
    """Wants every event, and so sends each the long way."""

    interest = ALL
    modes = frozenset()
    outlines = False

    def handler(self, kind):
        return lambda event: None

    def survives(self, error):
        return False

    def on_receiver(self, receiver):
        pass

    def on_part(self, part, event):
        raise AssertionError("nothing is exported")


def held(one):
    return list(iter(one.take_nowait, None))


def receiver(modes=("custom", "messages"), **settings):
    return StreamReceiver(StreamConfig(modes=modes, **settings))


def written():
    """Two tasks by turns, one of them in a subgraph, in their second attempt, traced from then on."""
    root = Run("run", "graph", context=copy_context(), tags=("tag",))
    outer = Task(root, "a", 1, id="id-a")
    inner = Task(Run("sub", "inner", context=copy_context(), ns=("a:id-a",), parent=outer), "b", 2, id="id-b")
    for number in range(3):
        for task in (outer, outer, inner):
            task.attempt = number + 1
            yield CustomWritten(task, number, time=number)
            task.trace_id, task.span_id = "t" * 32, f"{number:016}"
            yield MessageWritten(task, f"chunk {number}", {"langgraph_node": task.node}, time=number)


@pytest.mark.parametrize("settings", [{}, {"subgraphs": True}, {"include_metadata": False}])
def test_both_ways_lead_to_the_same_parts(settings):
    short, long = receiver(**settings), receiver(**settings)
    for audience in (Stream([short]), Stream([long], Telemetry())):
        for event in written():
            audience.emit(event)
    got = held(short)
    assert got == held(long)
    assert len(got) == (18 if settings.get("subgraphs") else 12)
    assert short.statistics() == long.statistics()


class Exporter(Telemetry):
    """Exports what nodes write, and wants nothing else; or everything, and so the long way."""

    modes = frozenset({"custom", "messages"})

    def __init__(self, interest=0):
        self.interest = interest
        self.parts = []

    def on_part(self, part, event):
        self.parts.append((part, type(event)))


@pytest.mark.parametrize("others", [[], [{}], [{"subgraphs": True}], [{}, {"subgraphs": True}]])
def test_what_is_exported_is_the_same_by_both_ways(others):
    ways = []
    for telemetry in (Exporter(), Exporter(ALL)):
        receivers = [receiver(**settings) for settings in others]
        stream = Stream(receivers, telemetry)
        for event in written():
            stream.emit(event)
        ways.append((telemetry.parts, [held(one) for one in receivers]))
    assert ways[0] == ways[1]
    exported = ways[0][0]
    assert [part.seq for part, _ in exported] == list(range(18))  # of the subgraph, too
    for settings, got in zip(others, ways[0][1], strict=True):
        assert got == [part for part, _ in exported if settings or not part.ns]


@pytest.mark.parametrize("others", [[], [{}]])
def test_what_comes_after_the_end_of_its_task_is_not_exported(others):
    telemetry = Exporter()
    stream = Stream([receiver(**settings) for settings in others], telemetry)
    task = Task(Run("run", "graph", context=copy_context()), "a", 1, id="id-a")
    stream.emit(CustomWritten(task, 1, time=0))
    task.late = 0
    stream.emit(CustomWritten(task, 2, time=0))
    assert [part.data for part, _ in telemetry.parts] == [1]
    assert task.late == 1


def test_who_wants_subgraphs_and_who_does_not_share_the_numbers():
    narrow, wide = receiver("custom"), receiver("custom", subgraphs=True)
    stream = Stream([narrow, wide])
    for event in written():
        stream.emit(event)
    everything = held(wide)
    assert [part.seq for part in everything] == list(range(9))
    assert held(narrow) == [part for part in everything if not part.ns]


@pytest.mark.parametrize("policy", list(OverflowPolicy))
def test_receivers_that_share_a_lock_have_accounts_of_their_own(policy):
    """Four threads write; one receiver is full from the start, one is read, one is closed halfway."""
    full, read, closed = (receiver("custom", overflow=policy, buffer_size=8) for _ in range(3))
    stream = Stream([full, read, closed])
    task = Task(Run("run", "graph", context=copy_context()), "a", 1, id="id-a")
    taken = []

    def write():
        for number in range(200):
            stream.emit(CustomWritten(task, number, time=number))
            if number == 100:
                closed.close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        taken += held(read)
    for writer in writers:
        writer.join()
    taken += held(read)
    stream.finish(End.OK)
    for one in (full, read, closed):
        found = one.statistics()
        assert found.offered == found.delivered + found.dropped + found.held
        assert found.held == sum(part.type == "custom" for part in held(one))
    numbers = [part.seq for part in taken if part.type == "custom"]
    assert numbers == sorted(set(numbers))
    assert read.statistics().delivered == len(numbers)
    if policy is OverflowPolicy.BLOCK:
        assert numbers == list(range(800))


def test_a_buffer_takes_another_lock_only_as_long_as_nobody_can_know_its_own():
    one, first, second = Buffer(1, OverflowPolicy.BLOCK), threading.RLock(), threading.RLock()
    assert one.share(first)
    assert one.share(first)
    assert not one.share(second)
    used = Buffer(1, OverflowPolicy.BLOCK)
    used.refuse(StreamPart("custom", (), 1), "filtered")
    assert not used.share(first)


def test_a_lasting_receiver_keeps_its_lock_and_misses_nothing_of_several_streams():
    lasting = StreamReceiver(StreamConfig(modes="custom"), lasting=True)
    streams = [Stream([lasting]), Stream([lasting])]
    for number, stream in enumerate(streams * 2):
        run = Run(f"run-{number}", "graph", context=copy_context())
        stream.emit(CustomWritten(Task(run, "a", 1, id="id"), number, time=0))
    assert [part.data for part in held(lasting)] == [0, 1, 2, 3]
