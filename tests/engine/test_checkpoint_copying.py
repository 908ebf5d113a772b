"""Copies that no later change can reach, of whatever users put into a state."""

import collections
import datetime as dt
import enum
import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from engine.types import Send
from otel_stream.stream.copying import snapshot


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    left: Any
    right: Any


class Model(BaseModel):
    items: list[int] = []


@dataclass
class Data:
    items: list[int] = field(default_factory=list)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(st.integers(), max_size=3),
    ),
    max_leaves=10,
)


def containers(value: Any) -> list[int]:
    """The identities of everything in ``value`` that could change."""
    if isinstance(value, dict):
        return [id(value), *(i for item in value.values() for i in containers(item))]
    if isinstance(value, list):
        return [id(value), *(i for item in value for i in containers(item))]
    if isinstance(value, tuple):
        return [i for item in value for i in containers(item)]
    return [id(value)] if isinstance(value, set) else []


@given(plain)
def test_a_copy_is_equal_and_shares_nothing_that_can_change(value: Any) -> None:
    copy = snapshot(value)
    assert copy == value
    assert type(copy) is type(value)
    assert set(containers(copy)).isdisjoint(containers(value))


@pytest.mark.parametrize(
    "value",
    [
        Model(items=[1]),
        Data([1]),
        Pair([1], {}),
        collections.OrderedDict(a=[1]),
        collections.deque([[1]]),
        bytearray(b"1"),
        Send("a", {"x": [1]}, timeout=3),
        {"deep": ([Model(items=[1])],)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_that_can_change_are_copied_with_what_is_in_them(value: Any) -> None:
    copy = snapshot(value)
    assert copy == value
    assert copy is not value
    assert type(copy) is type(value)


def test_a_change_inside_an_object_does_not_reach_its_copy() -> None:
    model, data = Model(items=[1]), Data([1])
    copy = snapshot([model, data])
    model.items.append(2)
    data.items.append(2)
    assert copy == [Model(items=[1]), Data([1])]


@pytest.mark.parametrize(
    "value",
    [
        1,
        "text",
        Colour.RED,
        Model,
        len,
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        frozenset({1}),
        (1, ("a", None)),
        ...,
    ],
    ids=repr,
)
def test_what_never_changes_is_shared(value: Any) -> None:
    assert snapshot(value) is value
    assert snapshot([value])[0] is value


@pytest.mark.parametrize("make", [threading.Lock, lambda: (x for x in "ab")])
def test_what_cannot_be_copied_is_shared(make: Any) -> None:
    original = {"thing": make(), "list": []}
    copy = snapshot(original)
    assert copy["thing"] is original["thing"]
    assert copy["list"] is not original["list"]


def test_aliases_and_cycles_stay_what_they_are() -> None:
    shared = [1]
    cycle: dict[str, Any] = {"a": shared, "b": shared}
    cycle["self"] = (cycle,)
    copy = snapshot(cycle)
    assert copy["a"] == [1]
    assert copy["a"] is copy["b"]
    assert copy["self"][0] is copy
    assert copy is not cycle


def test_an_object_and_a_container_around_it_keep_sharing() -> None:
    data = Data([1])
    copy = snapshot([data, data.items])
    assert copy[0].items is copy[1]


def test_what_lies_too_deep_is_shared_instead_of_failing() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    copy = snapshot(deep)
    assert copy is not deep
    while copy is not deep and copy:
        copy, deep = copy[0], deep[0]
    assert copy is deep
