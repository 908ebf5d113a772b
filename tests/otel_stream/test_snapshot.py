"""A snapshot never changes, and keeps the shape of what it shows."""

import dataclasses
import threading
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque
from operator import attrgetter, itemgetter
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from otel_stream.events import End
from otel_stream.stream.copying import snapshot
from tests.hashless import Hashless

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


def empty(value):
    """Take everything out of every container in ``value``."""
    if isinstance(value, dict | list | tuple):
        for item in list(value.values()) if isinstance(value, dict) else list(value):
            empty(item)
    if isinstance(value, dict | list | set):
        value.clear()


@given(VALUES)
def test_a_copy_is_equal_and_out_of_reach(value):
    before = repr(value)
    copy = snapshot(value)
    assert copy == value
    empty(value)
    assert repr(copy) == before


@dataclasses.dataclass
class Data:
    x: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


class Model(pydantic.BaseModel):
    x: Any
    _private: Any = pydantic.PrivateAttr(default_factory=list)


class Struct(msgspec.Struct, frozen=True):
    x: Any


class Plain:
    def __init__(self, x):
        self.x = x


class Slotted:
    __slots__ = ("x", "y")

    def __init__(self, x):
        self.x = x


class Mapping(dict): ...


class Listing(list): ...


class Own(Plain):
    def __copy__(self):
        return Own(self.x)


class Pair(NamedTuple):
    x: Any
    y: int


#: What makes one of a list, and where that list is found again.
KINDS = {
    "dataclass": (Data, attrgetter("x")),
    "frozen dataclass": (Frozen, attrgetter("x")),
    "model": (lambda x: Model(x=x), attrgetter("x")),
    "struct": (Struct, attrgetter("x")),
    "object": (Plain, attrgetter("x")),
    "slots": (Slotted, attrgetter("x")),
    "own way": (Own, attrgetter("x")),
    "namespace": (lambda x: SimpleNamespace(x=x), attrgetter("x")),
    "named tuple": (lambda x: Pair(x, 1), attrgetter("x")),
    "message": (lambda x: AIMessage("", additional_kwargs={"x": x}), lambda one: one.additional_kwargs["x"]),
    "defaultdict": (lambda x: defaultdict(list, x=x), itemgetter("x")),
    "OrderedDict": (lambda x: OrderedDict(x=x), itemgetter("x")),
    "Counter": (lambda x: Counter(x=x), itemgetter("x")),
    "ChainMap": (lambda x: ChainMap({}, {"x": x}), itemgetter("x")),
    "UserDict": (lambda x: UserDict(x=x), itemgetter("x")),
    "dict of one's own": (lambda x: Mapping(x=x), itemgetter("x")),
    "list of one's own": (lambda x: Listing([x]), itemgetter(0)),
    "deque": (lambda x: deque([x], maxlen=3), itemgetter(0)),
    "mappingproxy": (lambda x: MappingProxyType({"x": x}), itemgetter("x")),
    "values of a dict": (lambda x: {"x": x}.values(), lambda one: next(iter(one))),
    "items of a dict": (lambda x: {"x": x}.items(), lambda one: next(iter(one))[1]),
}


@pytest.mark.clause("S-DEL-4")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inside", [lambda value: value, lambda value: [{"deep": (value,)}]])
def test_whatever_can_change_is_copied_and_stays_of_its_kind(kind, inside):
    make, inner = KINDS[kind]
    items = [1]
    value = make(items)
    shown = snapshot(inside(value))
    copy = shown[0]["deep"][0] if type(shown) is list else shown
    assert type(copy) is type(value)
    assert inner(copy) == [1]
    items.append(2)
    assert inner(copy) == [1]


@pytest.mark.clause("S-DEL-4")
def test_buffers_of_bytes_and_numbers_are_copied():
    value = {"bytes": bytearray(b"a"), "numbers": array("i", [1]), "counts": Counter("a")}
    copy = snapshot(value)
    value["bytes"].extend(b"b")
    value["numbers"].append(2)
    value["counts"].update("b")
    assert copy == {"bytes": bytearray(b"a"), "numbers": array("i", [1]), "counts": Counter("a")}


@pytest.mark.clause("S-DEL-4")
def test_what_a_view_shows_is_copied_with_it():
    shown = {"x": 1}
    buffer = bytearray(range(8))
    value = [
        MappingProxyType(shown),
        shown.keys(),
        memoryview(buffer),
        memoryview(buffer)[::2],
        memoryview(buffer).cast("I"),
        memoryview(buffer).cast("B", (2, 4)).toreadonly(),
    ]
    before = [value[0].copy(), list(value[1]), *(view.tolist() for view in value[2:])]
    copy = snapshot(value)
    shown["y"] = 2
    buffer[:] = bytes(8)
    assert [copy[0].copy(), list(copy[1]), *(view.tolist() for view in copy[2:])] == before


@pytest.mark.clause("S-DEL-4")
def test_what_a_model_has_besides_its_fields_is_copied_too():
    class Open(Model, extra="allow"): ...

    value = Open(x=1, more=[1])
    value._private.append("before")
    copy = snapshot(value)
    value._private.append("after")
    value.more.append(2)
    value.x = 2
    assert (copy._private, copy.more, copy.x, copy.model_fields_set) == (["before"], [1], 1, {"x", "more"})


class Owner:
    def __init__(self):
        self.closed = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.append(True)


def test_what_can_not_change_or_is_no_data_is_the_same_object():
    same = [object.__new__(Owner), len, Data, test_a_copy_is_equal_and_out_of_reach, ValueError("x"), End.OK]
    copies = snapshot(same)
    assert all(one is other for one, other in zip(same, copies, strict=True))


class Uncopied(Plain):
    def __copy__(self):
        raise Panic


class Panic(BaseException):
    pass


def test_what_fails_to_be_copied_is_shown_itself_and_said_once_for_its_type(caplog):
    values = [Uncopied(1), Uncopied(2), {"lock": threading.Lock()}]
    copies = snapshot(values)
    snapshot(values)
    assert copies[0] is values[0]
    assert copies[1] is values[1]
    assert copies[2]["lock"] is values[2]["lock"]
    said = [record.message for record in caplog.records if "Uncopied" in record.message]
    assert len(said) == 1
    assert "can't be copied" in said[0]


def test_nothing_is_asked_of_an_object_that_answers_everything():
    class Proxy:
        def __getattr__(self, name):
            raise AssertionError(name)

    snapshot([Proxy()])


def test_a_tuple_without_containers_is_not_copied():
    value = (1, "b", None)
    assert snapshot(value) is value


def test_a_cycle_stays_a_cycle():
    value = {"list": []}
    value["list"].append(value)
    pair = ([],)
    pair[0].append(pair)
    copy, twin = snapshot(value), snapshot(pair)
    assert copy is not value
    assert copy["list"][0] is copy
    assert twin[0] is not pair[0]
    assert twin[0][0][0] is twin[0]


def test_what_is_shared_within_is_copied_once():
    shared = [1]
    nested = shared
    for _ in range(60):  # 2 ** 60 paths lead to it
        nested = [nested, nested]
    copy = snapshot({"a": shared, "b": shared, "nested": nested})
    assert copy["a"] is copy["b"]
    assert copy["a"] is not shared


def test_a_value_too_deep_to_copy_is_shared():
    value = deepest = []
    for _ in range(100_000):
        deepest.append([])
        deepest = deepest[0]
    copy = snapshot(value)
    assert copy is not value
    while copy is not value:
        copy, value = copy[0], value[0]
    while value:  # by hand: so deep a list can't be compared or shown
        value = value.pop()


def test_another_thread_that_changes_the_value_meanwhile_does_no_harm():
    value = {"d": {str(n): [n] for n in range(100)}, "l": [[n] for n in range(100)]}
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            value["d"][f"new{n % 50}"] = [n]
            value["d"].pop(f"new{(n + 25) % 50}", None)
            value["l"].append([n])
            value["l"].pop()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert len(snapshot(value)["l"]) >= 100
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "make", [lambda odd: odd, lambda odd: {"x": odd}, lambda odd: {"x": [odd]}, lambda odd: [(odd,)]]
)
def test_what_is_of_a_class_without_a_hash_is_shown_itself(make):
    odd = Hashless()
    value = make(odd)
    assert snapshot(value) == value
