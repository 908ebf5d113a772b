"""What goes to a worker as bytes comes out as it went in; what could not goes as it is."""

from __future__ import annotations

import array
import dataclasses
import enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.executors.packing import packed, unpacked

_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
) | st.builds(bytearray, st.binary())
_KEYS = st.text() | st.integers() | st.tuples(st.text(), st.booleans())
PLAIN = st.recursive(
    _LEAVES,
    lambda some: st.lists(some) | st.dictionaries(_KEYS, some) | st.tuples(some, some) | st.sets(_KEYS),
    max_leaves=15,
)


class Point(NamedTuple):
    x: int


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Record:
    x: int


class Colour(enum.IntEnum):
    RED = 1


def _types(value: Any) -> Any:
    inside = value.items() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return (type(value), [_types(one) for one in inside])


@given(PLAIN)
def test_pythons_own_types_go_as_bytes_and_come_out_the_same(value: Any) -> None:
    said = packed((value,))
    assert type(said) is bytes
    assert unpacked(said) == (value,)
    assert _types(unpacked(said)) == _types((value,))


@pytest.mark.parametrize(
    "value",
    [Point(1), Text("a"), Record(1), Colour.RED, array.array("b", b"a"), Record, len, ValueError("no"), ...],
    ids=repr,
)
def test_anything_else_goes_as_it_is(value: Any) -> None:
    said = (1, {"deep": [value]})
    assert packed(said) is said is unpacked(said)


def test_what_is_nested_too_deeply_for_pickle_is_left_to_ray() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert packed(deep) is deep
