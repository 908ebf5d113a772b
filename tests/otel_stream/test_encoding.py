"""JSON of whatever a graph carries: it never fails, and says what it can't show."""

import dataclasses
import datetime as dt
import json
import uuid

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from otel_stream.encoding import encode
from otel_stream.stream.modes import StreamPart


def decoded(value):
    return json.loads(encode(value))


class Model(pydantic.BaseModel):
    a: int
    inner: "Model | None" = None


@dataclasses.dataclass
class Point:
    x: int
    y: list


class Plain:
    def __repr__(self):
        return "<Plain>"


class Unprintable:
    def __repr__(self):
        raise ValueError("no")


class Undumpable:
    def model_dump(self):
        raise ValueError("no")

    def __repr__(self):
        return "<Undumpable>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, None, "x"], "t": (1.5, True)}, {"a": [1, None, "x"], "t": [1.5, True]}),
        (Model(a=1, inner=Model(a=2)), {"a": 1, "inner": {"a": 2, "inner": None}}),
        (Point(1, [Model(a=1)]), {"x": 1, "y": [{"a": 1, "inner": None}]}),
        ({"e": ValueError("boom")}, {"e": {"type": "ValueError", "message": "boom"}}),
        ({1, 2}, [1, 2]),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Plain(), {"type": "Plain", "repr": "<Plain>"}),
        (Unprintable(), {"type": "Unprintable", "repr": "<no repr>"}),
        ([Undumpable(), 1], [{"type": "Undumpable", "repr": "<Undumpable>"}, 1]),
        ({("a", 1): 2, "b": {3}}, {"('a', 1)": 2, "b": [3]}),
        (["\ud800", 10**40, float("nan")], ["\ufffd", 10**40, None]),
        (Model, {"type": "ModelMetaclass", "repr": repr(Model)}),
    ],
)
def test_every_value_is_shown_or_described(value, shown):
    assert decoded(value) == shown


def test_a_langchain_message_is_shown_by_its_fields():
    shown = decoded((AIMessageChunk("hi", id="m1"), {"langgraph_node": "n"}))
    assert (shown[0]["content"], shown[0]["type"], shown[0]["id"]) == ("hi", "AIMessageChunk", "m1")
    assert shown[1] == {"langgraph_node": "n"}


def test_a_cycle_and_a_bottomless_value_come_to_an_end():
    cycle = {"a": 1}
    cycle["self"] = [cycle]
    assert decoded(cycle) == {"a": 1, "self": [{"type": "dict", "repr": "<cycle>"}]}
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert b"<too deep>" in encode(deep)


def test_one_broken_item_does_not_hide_the_others_of_a_part():
    part = StreamPart("custom", ("sub:1",), [Undumpable(), {"ok": 1}], seq=3, step=1)
    assert decoded(part)["data"] == [{"type": "Undumpable", "repr": "<Undumpable>"}, {"ok": 1}]
    assert decoded(part)["seq"] == 3


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.complex_numbers(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.integers() | st.text() | st.tuples(st.text()), inner)
        ),
    )
)
def test_encoding_never_fails(value):
    msgspec.json.decode(encode(value))
