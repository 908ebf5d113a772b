"""Filters choose parts, and are made of each other."""

import pytest

from otel_stream.config import ConfigError
from otel_stream.events import RunEnded, TaskEnded, TaskStarted
from otel_stream.filters import (
    EventType,
    MessageId,
    Mode,
    Namespace,
    Node,
    Step,
    StreamFilter,
    Tag,
    Where,
    as_filter,
)
from otel_stream.stream.modes import StreamPart

ROOT = StreamPart("values", (), 0, seq=0, step=-1, tags=("blue",))
PLAN = StreamPart("updates", (), 1, seq=1, step=1, node="plan", tags=("blue",))
AUDIT = StreamPart("updates", ("audit:1",), 2, seq=2, step=2, node="audit_file", tags=("red", "blue"))
DEEP = StreamPart("custom", ("audit:1", "look:2"), 3, seq=3, step=3, node="look", tags=("red",))
PARTS = [ROOT, PLAN, AUDIT, DEEP]
SAID = StreamPart("messages", (), ({"id": "run-1", "content": "x"}, {}), seq=4)


class Even(StreamFilter):
    def accept(self, part, /):
        return part.seq % 2 == 0


@pytest.mark.clause("S-FIL-2")
@pytest.mark.parametrize(
    ("filter", "accepted"),
    [
        (Node("plan"), [PLAN]),
        (Node("audit*", "pl?n"), [PLAN, AUDIT]),
        (Namespace("audit"), [AUDIT, DEEP]),
        (Namespace("*", "lo*"), [DEEP]),
        (~Namespace("*"), [ROOT, PLAN]),
        (Tag("red"), [AUDIT, DEEP]),
        (Tag("red", "blue"), PARTS),
        (Step(1, 2), [PLAN, AUDIT]),
        (Step(2), [AUDIT, DEEP]),
        (Mode("values", "custom"), [ROOT, DEEP]),
        (Where(lambda part: part.data > 1), [AUDIT, DEEP]),
        (Even(), [ROOT, AUDIT]),
        (Even() & Tag("red"), [AUDIT]),
        (Even() | Tag("red"), [ROOT, AUDIT, DEEP]),
        (Even() & (lambda part: part.data), [AUDIT]),
        (~(Even() | Node("plan")) & ~Mode("values"), [DEEP]),
    ],
)
def test_a_filter_accepts_what_it_says(filter, accepted):
    assert [part for part in PARTS if filter.accept(part)] == accepted


def test_a_message_is_known_by_its_id():
    nameless = StreamPart("messages", (), (object(), {}))
    assert [MessageId("run-*").accept(part) for part in (SAID, nameless, ROOT)] == [True, False, False]
    assert not MessageId("m").accept(SAID)


NEVER = Where(lambda part: 1 / 0)


@pytest.mark.parametrize(
    ("filter", "known"),
    [
        (Node("plan"), True),
        (~Node("plan"), False),
        (Even(), None),
        (NEVER, None),
        (Node("other") & NEVER, False),
        (NEVER & Node("other"), False),
        (Node("plan") & NEVER, None),
        (Node("plan") | NEVER, True),
        (NEVER | Node("other"), None),
        (Step(1) & Tag("blue") & Mode("updates") & ~Namespace("*"), True),
        (MessageId("m"), False),
        (EventType(TaskEnded), None),
    ],
)
def test_what_the_metadata_decides_is_known_before_there_is_data(filter, known):
    assert filter.foresee(PLAN) is known


def test_a_message_id_needs_the_message():
    assert MessageId("m").foresee(SAID) is None


@pytest.mark.parametrize(
    ("filter", "kind", "known"),
    [
        (EventType(TaskEnded, RunEnded), TaskEnded, True),
        (EventType(TaskEnded), TaskStarted, False),
        (~EventType(TaskEnded), TaskStarted, True),
        (EventType(TaskEnded) & Node("plan"), TaskEnded, True),
        (EventType(TaskEnded) | Node("other"), TaskStarted, False),
        (EventType(TaskEnded) & Even(), TaskEnded, None),
    ],
)
def test_the_kind_of_event_decides_before_anything_else(filter, kind, known):
    assert filter.given(kind).foresee(PLAN) is known


def test_a_part_alone_does_not_say_what_it_is_made_of():
    with pytest.raises(ConfigError, match="EventType can't tell what a 'updates' part was made of"):
        EventType(TaskEnded).accept(PLAN)
    with pytest.raises(ConfigError) as caught:
        EventType("TaskEnded")
    assert str(caught.value) == "filter: 'TaskEnded' is no event type; take one from otel_stream.events"


def test_anything_with_accept_is_a_filter():
    class Mine:
        def accept(self, part):
            return part.seq == 1

    assert [part for part in PARTS if as_filter(Mine()).accept(part)] == [PLAN]
    assert [part for part in PARTS if (Mode("updates") & Mine()).accept(part)] == [PLAN]


def test_a_filter_must_say_what_it_accepts():
    with pytest.raises(NotImplementedError, match="StreamFilter must say which parts it accepts"):
        StreamFilter().accept(ROOT)


def test_what_can_not_filter_is_named():
    with pytest.raises(ConfigError) as caught:
        Even() & 3
    assert str(caught.value) == "filter: 3 can't filter; give a StreamFilter or a function of one part"
    with pytest.raises(ConfigError) as caught:
        Node()
    assert str(caught.value) == "filter: () names nothing; give at least one name or glob, as strings"


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (Mode, ("update",), "filter: Mode('update') is no mode; did you mean 'updates'?"),
        (Step, (5, 3), "filter: Step(5, 3) lets nothing through; give the lower number first"),
    ],
)
def test_a_filter_that_can_let_nothing_through_is_refused(kind, given, said):
    with pytest.raises(ConfigError) as refused:
        kind(*given)
    assert str(refused.value) == said


def test_a_word_that_is_like_no_mode_may_be_a_mode_of_ones_own():
    assert Mode("audit").accept(StreamPart("audit", (), 0, seq=0))
