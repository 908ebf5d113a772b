"""What nobody wants is counted and never built; nobody can tell the difference."""

import sys
from contextvars import copy_context
from types import MappingProxyType

import hypothesis.strategies as st
import pytest
from hypothesis import given

from otel_stream import events as e
from otel_stream.config import MODES, Custom, StreamConfig
from otel_stream.events import End, Run, Task
from otel_stream.filters import EventType, MessageId, Mode, Namespace, Node, Step, StreamFilter, Tag, Where
from otel_stream.stream.copying import snapshot
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream
from otel_stream.telemetry.logs.body import summary


def copies_of(act):
    """Return how often state was copied meanwhile."""
    copied = []

    def profile(frame, kind, argument):
        if kind == "call" and frame.f_code is snapshot.__code__:
            copied.append(frame)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(before)
    return len(copied)


def run_and_tasks(tags=()):
    run = Run("r", "g", context=copy_context(), tags=tags)
    return run, Task(run, "a", 1, id="id-a"), Task(run, "b", 2, id="id-b")


def receiver(modes, filter=None, **settings):
    return StreamReceiver(StreamConfig(modes=modes, filter=filter, **settings))


def held(one):
    return list(iter(one.take_nowait, None))


def task_ended(task, state, end=End.OK, interrupts=()):
    return e.TaskEnded(task, end, state, state, None, interrupts, False, 5, state)


@pytest.mark.clause("S-DEL-8", "S-ORD-1")
@pytest.mark.clause("S-DEL-8", "S-ACC-1")
def test_an_update_that_no_filter_lets_pass_is_counted_and_not_copied():
    _, a, b = run_and_tasks()
    one, other = receiver("updates", Node("b")), receiver("updates", Node("b") & Where(lambda part: True))
    stream = Stream([one, other])
    state = {"x": 1}
    stream.emit(task_ended(b, {}))
    assert copies_of(lambda: stream.emit(task_ended(a, state))) == 0
    assert copies_of(lambda: stream.emit(task_ended(b, state))) == 1
    for receiver_ in (one, other):
        assert [(got.node, got.seq) for got in held(receiver_)] == [("b", 0), ("b", 2)]
        assert (receiver_.statistics().offered, receiver_.statistics().filtered) == (3, 1)


@pytest.mark.parametrize("also", ["a receiver", "telemetry", "a predicate"])
def test_it_is_built_when_somebody_may_want_it(also):
    class Telemetry:
        interest, modes, outlines, got = 0, frozenset({"updates"}), False, 0

        def on_part(self, part, event):
            self.got += 1

        def on_receiver(self, receiver):
            pass

    _, a, _ = run_and_tasks()
    more = {"a receiver": [receiver("updates")], "a predicate": [receiver("updates", lambda part: False)]}
    telemetry = Telemetry() if also == "telemetry" else None
    refusing = receiver("updates", Node("b"))
    stream = Stream([refusing, *more.get(also, [])], telemetry)
    assert copies_of(lambda: stream.emit(task_ended(a, {"x": 1}))) == 1
    assert refusing.statistics().filtered == 1
    assert telemetry is None or telemetry.got == 1


class Outliner:
    """Telemetry that looks at shapes alone, and at once."""

    interest, modes, outlines = 0, frozenset(MODES) - {"custom"}, True

    def __init__(self):
        self.bodies = []

    def on_part(self, part, event):
        self.bodies.append((part.type, summary(part.type, part.data, {"x", "y"})))

    def on_receiver(self, receiver):
        pass


class Copied(Outliner):
    outlines = False


def told(telemetry, event, *receivers):
    """Return what telemetry makes of the parts of an event, and how often state was copied."""
    stream = Stream(receivers, telemetry)
    copies = copies_of(lambda: stream.emit(event))
    return telemetry.bodies, copies


VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.builds(object),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.sampled_from(["x", "y", "z"]), inner)
        | st.dictionaries(st.integers(), inner).map(MappingProxyType)
    ),
    max_leaves=8,
)


@given(
    VALUES,
    st.sampled_from(["task started", "task ended", "interrupted", "failed", "values", "saved", "tool"]),
)
def test_telemetry_that_looks_at_shapes_alone_sees_the_same_shapes_without_copies(state, kind):
    run = Run("r", "g", context=copy_context())
    task = Task(run, "a", 1, id="id-a", input=state)
    event = {
        "task started": lambda: e.TaskStarted(task, 5),
        "task ended": lambda: task_ended(task, state),
        "interrupted": lambda: task_ended(task, state, End.INTERRUPTED, (state,)),
        "failed": lambda: task_ended(task, state, End.ERROR),
        "values": lambda: e.ValuesChanged(run, 1, state, 5),
        "saved": lambda: e.CheckpointSaved(run, 1, {}, None, state, {"step": 1}, (), (), 5),
        "tool": lambda: e.ToolReported(task, {"input": state}, 5),
    }[kind]()
    bodies, copies = told(Outliner(), event)
    assert copies == 0
    assert bodies == told(Copied(), event)[0] != []
    # For a receiver beside it there are copies, which both are shown.
    beside = StreamReceiver(
        StreamConfig(modes=("updates", "values", "tasks", "checkpoints", "tools", "debug"))
    )
    assert told(Outliner(), event, beside) == told(Copied(), event, StreamReceiver(beside.config))


def test_nothing_is_counted_that_would_have_been_no_part():
    _, a, _ = run_and_tasks()
    one = receiver(("updates", "values"), Node("b"))
    stream = Stream([one])
    stream.emit(task_ended(a, {"x": 1}, End.CANCELLED))
    assert one.statistics().offered == 0
    stream.emit(task_ended(a, {"x": 1}, End.INTERRUPTED, ("?",)))
    assert {mode: seen.filtered for mode, seen in one.statistics().by_mode.items()} == {
        "updates": 1,
        "values": 1,
    }


def test_modes_that_share_their_data_are_refused_together():
    _, a, _ = run_and_tasks()
    tasks, both = receiver("tasks", Node("b")), receiver(("tasks", "debug"), Node("b"))
    stream = Stream([tasks, both])
    a.input = {"x": 1}
    assert copies_of(lambda: stream.emit(e.TaskStarted(a, 1))) == 0
    assert (tasks.statistics().filtered, both.statistics().filtered) == (1, 2)
    seen = receiver("debug")
    stream.attach(seen)
    assert copies_of(lambda: stream.emit(e.TaskStarted(a, 1))) == 1
    assert [got.seq for got in held(seen)] == [3]


def test_the_type_of_the_event_decides_for_modes_of_the_users_own_too():
    run, a, _ = run_and_tasks()
    named = Custom(lambda event: type(event).__name__, "named")
    one = receiver(["tasks", named], EventType(e.TaskEnded, e.ValuesChanged))
    but = receiver(named, ~EventType(e.TaskEnded) & Where(lambda part: True))
    stream = Stream([one, but])
    for event in (e.TaskStarted(a, 1), task_ended(a, {}), e.ValuesChanged(run, 1, {}, 2)):
        stream.emit(event)
    assert [(got.type, got.seq) for got in held(one)] == [("tasks", 2), ("named", 3), ("named", 4)]
    assert [got.data for got in held(but)] == ["TaskStarted", "ValuesChanged"]


@pytest.mark.clause("S-FIL-3")
def test_several_modes_of_the_users_own_stand_side_by_side():
    _, a, b = run_and_tasks()
    called = []
    count = Custom(lambda event: called.append(event) or len(called), "count", events=(e.TaskStarted,))
    names = Custom(lambda event: event.task.node, "names", events=(e.TaskStarted, e.TaskEnded))
    nothing = Custom(lambda event: None, "nothing")
    both, one = receiver([count, names, nothing]), receiver([names, "updates"])
    stream = Stream([both, one])
    for event in (e.TaskStarted(a, 1), e.TaskStarted(b, 1), task_ended(a, {"x": 1})):
        stream.emit(event)
    assert [(got.type, got.data) for got in held(both)] == [
        ("count", 1),
        ("names", "a"),
        ("count", 2),
        ("names", "b"),
        ("names", "a"),
    ]
    assert [(got.type, got.data) for got in held(one)] == [
        ("names", "a"),
        ("names", "b"),
        ("updates", {"a": {"x": 1}}),
        ("names", "a"),
    ]
    assert len(called) == 2


def test_a_filter_that_raises_early_is_asked_again_and_cut_off(caplog):
    class Broken(StreamFilter):
        def foresee(self, part, /):
            raise ZeroDivisionError

        def accept(self, part, /):
            raise ZeroDivisionError

    _, a, _ = run_and_tasks()
    bad, good = receiver("updates", Broken()), receiver("updates", Node("a"))
    stream = Stream([bad, good])
    for _ in range(2):
        stream.emit(task_ended(a, {"x": 1}))
    assert isinstance(bad.failed, ZeroDivisionError)
    assert bad.statistics().reasons == {"failed": 1}
    assert len(held(good)) == 2
    assert len(caplog.records) == 1


# --- Nobody can tell the difference -------------------------------------------------------------------------

SIMPLE = [
    Node("a"),
    Node("b", "c*"),
    Namespace("*"),
    Tag("t"),
    Step(2),
    Mode("updates", "values"),
    MessageId("m*"),
    EventType(e.TaskEnded, e.ValuesChanged),
    Where(lambda part: part.data is not None),
]
FILTERS = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: st.one_of(
        st.builds(lambda one: ~one, inner),
        st.builds(lambda one, two: one & two, inner, inner),
        st.builds(lambda one, two: one | two, inner, inner),
    ),
    max_leaves=5,
)


class Late(StreamFilter):
    """The same filter, that foresees nothing."""

    def __init__(self, inner):
        self.inner = inner

    def accept(self, part, /):
        return self.inner.accept(part)

    def given(self, kind, /):
        return Late(self.inner.given(kind))


def some_events():
    run, a, b = run_and_tasks(tags=("t",))
    inner = Run("i", "sub", context=copy_context(), ns=("b:id-b",), parent=b)
    deep = Task(inner, "c", 1, id="id-c")
    for task in (a, b, deep):
        yield e.TaskStarted(task, 1)
        yield e.CustomWritten(task, task.node, 2)
        yield e.MessageWritten(task, {"id": "m1", "content": "x"}, {}, 3)
        yield task_ended(task, {"x": 1})
        yield task_ended(task, {"x": 1}, End.CANCELLED)
        yield task_ended(task, {"x": 1}, End.INTERRUPTED, ("?",))
    for one in (run, inner):
        yield e.ValuesChanged(one, 2, {"x": 1}, 6)
        yield e.RunInterrupted(one, 2, (), 7)
    yield e.RunEnded(run, End.OK, None, None, (), 2, 8)


@pytest.mark.clause("S-DEL-8")
@given(st.lists(st.tuples(FILTERS, st.sets(st.sampled_from(MODES), min_size=1), st.booleans()), max_size=3))
def test_foreseen_or_not_receivers_get_the_same_parts_and_the_same_account(asked):
    def outcome(wrap):
        receivers = [
            receiver(modes, wrap(filter), subgraphs=deep, include_end=deep) for filter, modes, deep in asked
        ]
        stream = Stream(receivers)
        for event in some_events():
            stream.emit(event)
        return [(held(one), one.statistics(), one.failed) for one in receivers]

    assert outcome(lambda one: one) == outcome(Late)
