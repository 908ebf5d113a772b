"""Filters choose parts, and are made of each other."""

import pytest

from otel_stream.config import ConfigError
from otel_stream.filters import Mode, Namespace, Node, Step, StreamFilter, Tag, Where
from otel_stream.modes import StreamPart

ROOT = StreamPart("values", (), 0, seq=0, step=-1, tags=("blue",))
PLAN = StreamPart("updates", (), 1, seq=1, step=1, node="plan", tags=("blue",))
AUDIT = StreamPart("updates", ("audit:1",), 2, seq=2, step=2, node="audit_file", tags=("red", "blue"))
DEEP = StreamPart("custom", ("audit:1", "look:2"), 3, seq=3, step=3, node="look", tags=("red",))
PARTS = [ROOT, PLAN, AUDIT, DEEP]


class Even(StreamFilter):
    def accept(self, part, /):
        return part.seq % 2 == 0


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
