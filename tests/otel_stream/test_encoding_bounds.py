"""Encoding is linear in what is shown, bounded in depth, size and time, and says where it stopped."""

import collections
import dataclasses
import json
import sys
import types
from typing import Any
from unittest.mock import MagicMock, Mock

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stream.encoding import MAX_DEPTH, Encoding, careful, encode, foreign, shown
from otel_stream.encoding.quick import quick
from otel_stream.modes import StreamPart

#: More than this is no answer to a question about a few objects.
MUCH = 2_000_000


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    value: Any = None


class Secretive(pydantic.BaseModel):
    value: Any = None
    secret: str = pydantic.Field(default="s3cr3t", exclude=True)


@dataclasses.dataclass
class Point:
    value: Any = None


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    value: Any = None


class Struct(msgspec.Struct):
    value: Any = None


class Holder:
    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Holder({self.value!r})"


class Rpc:
    """A stub that answers every attribute with another one, and every call."""

    def __getattr__(self, name):
        return Rpc()

    def __call__(self, *_, **__):
        return Rpc()


class Everything(collections.abc.Mapping):
    """A mapping that has every key, and whose values are no different."""

    def __getitem__(self, key):
        return Everything()

    def __iter__(self):
        yield from map(str, range(3))

    def __len__(self):
        return 3


class Endless(collections.abc.Mapping):
    def __getitem__(self, key):
        return key

    def __iter__(self):
        number = 0
        while True:
            yield number
            number += 1

    def __len__(self):
        return 0


class Knows(type):
    """A metaclass that answers every attribute."""

    def __getattr__(cls, name):
        return lambda *_: Known()


class Known(metaclass=Knows):
    pass


class Panicking:
    def __repr__(self):
        raise BaseException("panic")


def doubled(times, wrap=list):
    value = [1]
    for _ in range(times):
        value = wrap([value, value])
    return value


def grid(size):
    cells = {(i, j): {"at": f"{i},{j}", "next": []} for i in range(size) for j in range(size)}
    for (i, j), cell in cells.items():
        around = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        cell["next"] += [cells[place] for place in around if place in cells]
    return cells[0, 0]


def complete(count, container=list):
    nodes = [{"id": number} for number in range(count)]
    for node in nodes:
        others = [other for other in nodes if other is not node]
        node["peers"] = others if container is list else {str(n): other for n, other in enumerate(others)}
    return nodes[0]


def model_chain(count):
    first = last = Model()
    for _ in range(count):
        last.value = Model()
        last = last.value
    last.value = first
    return first


EXPLODING = {
    "a list doubled": lambda: doubled(40),
    "a tuple doubled": lambda: doubled(40, tuple),
    "a dict doubled": lambda: doubled(40, lambda pair: dict(zip("ab", pair, strict=True))),
    "a deque doubled": lambda: doubled(40, collections.deque),
    "dataclasses doubled": lambda: doubled(40, Point),
    "slotted dataclasses doubled": lambda: doubled(40, Slotted),
    "structs doubled": lambda: doubled(40, Struct),
    "models doubled": lambda: doubled(40, lambda pair: Model(value=pair)),
    "extra fields doubled": lambda: Model(more=doubled(40)),
    "namespaces doubled": lambda: doubled(40, lambda pair: types.SimpleNamespace(pair=pair)),
    "errors doubled": lambda: doubled(40, ValueError),
    "objects with a repr doubled": lambda: Holder(doubled(40)),
    "mappings doubled": lambda: doubled(40, lambda pair: collections.ChainMap({"pair": pair})),
    "a grid of neighbours": lambda: grid(4),
    "everyone knows everyone": lambda: complete(10),
    "everyone knows everyone by name": lambda: complete(40, dict),
    "models in a ring": lambda: model_chain(100),
    "everything": Everything,
    "a text many times": lambda: [["x" * 100_000] * 1000] * 1000,
    "a key many times": lambda: [{"x" * 100_000: 1}] * 10_000,
    "bytes many times": lambda: [b"x" * 100_000] * 10_000,
    "empty lists": lambda: [[[[]] * 1000] * 1000] * 1000,
}


@pytest.fixture
def patience(monkeypatch):
    """Have the bounds of size met before that of time, however busy the machine."""
    monkeypatch.setattr(careful, "MAX_SECONDS", 50)


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("name", EXPLODING)
def test_a_few_objects_that_stand_for_a_tree_without_end_are_shown_within_bounds(name):
    text = encode({"value": EXPLODING[name](), "beside": "shown"})
    assert json.loads(text)["beside"] == "shown"
    assert len(text) < MUCH


@pytest.mark.clause("S-ENC-2")
@pytest.mark.parametrize("name", EXPLODING)
def test_a_part_of_anything_is_bounded(name):
    text = StreamPart("custom", (), EXPLODING[name](), seq=7).to_json()
    assert json.loads(text)["seq"] == 7
    assert len(text) < MUCH


@pytest.mark.parametrize("name", EXPLODING)
def test_a_representation_is_bounded(name):
    assert len(shown(EXPLODING[name]())) < 2 * foreign.MAX_TEXT


@pytest.mark.clause("S-ENC-1")
@pytest.mark.parametrize(
    "value",
    [Mock(), MagicMock(), Mock(spec=dict), Mock(spec=Model), Rpc(), Known(), Known, Panicking()],
    ids=lambda value: repr(type(value)),
)
def test_an_object_that_answers_everything_is_described(value):
    said = json.loads(encode({"value": value, "beside": 1}))
    assert set(said["value"]) == {"type", "repr"}
    assert said["value"]["type"] == type(value).__name__
    assert said["beside"] == 1


def test_a_mapping_without_end_is_shown_as_far_as_it_is_asked(monkeypatch):
    monkeypatch.setattr(foreign, "MAX_ENTRIES", 3)
    assert json.loads(encode(Endless())) == {
        "0": 0, "1": 1, "2": 2, "…": {"type": "Endless", "repr": "<too large>"}
    }  # fmt: skip


def test_what_is_shared_a_few_times_is_shown_each_time():
    row = {"a": [1, 2], "b": "x" * 1000}
    assert json.loads(encode([row] * 20)) == [row] * 20


def test_what_is_shared_is_shown_again_until_that_is_the_most_of_it():
    row = {"a": list(range(10_000))}
    said = json.loads(encode([row, object(), *[row] * 100]))
    again = said[2:].count(row)
    assert 0 < again < 50
    assert said[0] == row
    assert said[-1] == {"type": "dict", "repr": "<shown before>"}


def test_a_cycle_is_said_where_it_closes():
    first = {"name": "first"}
    first["second"] = Point([first])
    assert json.loads(encode(first)) == {
        "name": "first",
        "second": {"value": [{"type": "dict", "repr": "<cycle>"}]},
    }


def test_a_cycle_through_models_does_not_hide_what_is_beside_it():
    model = Model()
    model.value = {"self": model}
    assert json.loads(encode([model, 1])) == [{"type": "Model", "repr": "<too large>"}, 1]


def test_fields_that_a_model_keeps_to_itself_are_never_shown():
    for value in (1, "x" * 1_000_000, doubled(40), object()):
        assert b"s3cr3t" not in encode([Secretive(value=value)])


def nested(depth):
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("beside", [None, object()], ids=["quick way", "careful way"])
def test_depth_is_cut_at_the_same_place_whichever_way_is_taken(beside):
    assert b"bottom" in encode([nested(MAX_DEPTH - 1), beside])
    cut = encode([nested(MAX_DEPTH), beside])
    assert b"bottom" not in cut
    assert b"<too deep>" in cut


@pytest.mark.clause("S-ENC-3")
def test_the_recursion_limit_does_not_change_the_answer():
    values = [nested(MAX_DEPTH - 2), nested(500), grid(3), doubled(9), {"a": Point({"b": [Point()]})}]
    expected = [encode(value) for value in values]

    def at_the_bottom(left):
        return at_the_bottom(left - 1) if left else [encode(value) for value in values]

    used = len(sys._current_frames()) and _depth()
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(used + 60)
        assert at_the_bottom(30) == expected
    finally:
        sys.setrecursionlimit(limit)


def _depth():
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_what_is_too_large_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(careful, "MAX_SIZE", 1000)
    said = json.loads(
        Encoding().text({"a": [object.__new__(Holder), *map(str, range(1000))], "b": 1, "c": 2})
    )
    assert said["a"][-1] == {"type": "list", "repr": "<too large>"}
    assert list(said) == ["a", "…"]
    assert said["…"] == {"type": "dict", "repr": "<too large>"}


def test_a_text_that_is_too_large_is_shown_by_its_beginning(monkeypatch):
    monkeypatch.setattr(careful, "MAX_SIZE", 1000)
    monkeypatch.setattr(foreign, "MAX_TEXT", 10)
    assert json.loads(Encoding().text("y" * 100_000)) == {
        "type": "str",
        "repr": "yyyyyyyyyy… (100000 characters)",
    }


def test_what_takes_too_long_is_cut_and_says_so():
    seconds = iter([0.0, 0.5, 1.0, 1.5, *[9.0] * 10])
    said = json.loads(Encoding(lambda: next(seconds)).text([Holder(1), Holder(2), Holder(3), Holder(4)]))
    assert said[:-1] == [{"type": "Holder", "repr": f"Holder({n})"} for n in (1, 2, 3)]
    assert said[-1] == {"type": "list", "repr": "<took too long>"}


def test_nothing_is_asked_twice():
    asked = []

    class Asked:
        def __repr__(self):
            asked.append(1)
            return "asked"

    one = Asked()
    said = json.loads(encode([one, {"again": one}]))
    assert said == [{"type": "Asked", "repr": "asked"}, {"again": {"type": "Asked", "repr": "asked"}}]
    assert asked == [1]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | inner.map(Point)
        | inner.map(Slotted)
        | inner.map(Struct)
        | inner.map(lambda value: Model(value=value))
        | inner.map(collections.deque if False else (lambda value: {"k": value}))
    ),
    max_leaves=30,
)


@pytest.mark.clause("S-ENC-3")
@given(ANYTHING)
def test_both_ways_say_the_same(value):
    text = quick(value)
    if text is not None:
        with_foreign = Encoding().text([value, Holder(0)])
        assert with_foreign == b"[" + text + b',{"type":"Holder","repr":"Holder(0)"}]'


@given(ANYTHING)
def test_what_was_encoded_stays_as_it_is_when_it_is_encoded_again(value):
    text = encode(value)
    assert encode(json.loads(text.decode(), parse_float=float)) == text or b"E" in text or b"e" in text
