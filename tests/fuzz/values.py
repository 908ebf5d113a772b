"""Values as they should not be: hostile objects, shared, cyclic, deep, in every container there is."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import types
import uuid
from collections.abc import Callable
from random import Random
from typing import Any
from unittest.mock import MagicMock, Mock

import msgspec
import pydantic
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage


class Raises:
    """Whatever it is asked, it raises."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error("no repr")

    def __len__(self) -> int:
        raise self.error("no len")

    def __eq__(self, other: object) -> bool:
        raise self.error("no eq")

    def __hash__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        raise self.error("no bool")


class Answers:
    """It has every attribute, and each can be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Answers()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Answers()


class Proxy(collections.abc.Mapping[str, Any]):
    """It has every key."""

    def __getitem__(self, key: str) -> Any:
        return Proxy()

    def __iter__(self) -> Any:
        return iter("abc")

    def __len__(self) -> int:
        return 3


class Text(str):
    __slots__ = ()


class Colour(enum.Enum):
    RED = 1
    ODD = ("\ud800", 2)


@dataclasses.dataclass
class Point:
    value: Any = None
    _private: Any = 1


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    value: Any = None


class Struct(msgspec.Struct):
    value: Any = None


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    value: Any = None


class Unlike(pydantic.BaseModel):
    """A model whose own code breaks."""

    value: Any = None

    @pydantic.model_serializer
    def _broken(self) -> Any:
        raise RuntimeError("no dump")


def _leaf(random: Random) -> Any:
    return random.choice(LEAVES)(random)


def _text(random: Random) -> str:
    alphabet = 'ab"\\/ \n\r\t\x00\x1b\x7f\x85\x9b\xa0é\u2028\u202e\ud800\udfff\U0001f600{}[]:,|'
    return "".join(random.choices(alphabet, k=random.choice((0, 1, 3, 10, 300))))


LEAVES: list[Callable[[Random], Any]] = [
    _text,
    lambda random: random.choice([None, True, False, 0, -1, 2**63, 2**64, -(2**70), 10**5000]),
    lambda random: random.choice([0.0, -0.0, 1e308, float("inf"), float("-inf"), float("nan")]),
    lambda random: random.choice([b"", b"\xff" * 300, bytearray(b"x"), memoryview(b"y")]),
    lambda random: random.choice([dt.date.min, dt.timedelta.max, decimal.Decimal("sNaN")]),
    lambda random: random.choice([uuid.UUID(int=7), Colour.RED, Colour.ODD, Text("t"), 1j, ..., range(3)]),
    lambda random: random.choice([Model, type, len, collections, lambda: 1, object()]),
    lambda _: Answers(),
    lambda _: Proxy(),
    lambda random: random.choice([Mock(), MagicMock(), Mock(spec=dict), Mock(spec=Model)]),
    lambda random: Raises(random.choice([ValueError, RecursionError, MemoryError, BaseException])),
    lambda random: random.choice([ValueError("\ud800"), KeyError(), BaseExceptionGroup("g", [OSError()])]),
    lambda _: (number for number in range(3)),
    lambda _: AIMessage("hi", id="1"),
    lambda _: AIMessageChunk("h", id="1"),
    lambda _: ToolMessage("t", tool_call_id="1"),
]

#: Containers, of some items.
NODES: list[Callable[[Random, list[Any]], Any]] = [
    lambda _, items: items,
    lambda _, items: tuple(items),
    lambda random, items: {_key(random): item for item in items},
    lambda random, items: collections.defaultdict(list, {_key(random): item for item in items}),
    lambda _, items: collections.deque(items),
    lambda _, items: collections.UserList(items),
    lambda _, items: collections.ChainMap({"items": items}),
    lambda _, items: types.MappingProxyType({"items": items}),
    lambda _, items: types.SimpleNamespace(items=items),
    lambda _, items: Point(items),
    lambda _, items: Frozen(items),
    lambda _, items: Struct(items),
    lambda _, items: Model(value=items, more=items),
    lambda _, items: Unlike(value=items),
    lambda _, items: ValueError(items),
    lambda _, items: HumanMessage("q", additional_kwargs={"items": items}),
]


def _key(random: Random) -> Any:
    return random.choice(
        [_text(random), 1, None, True, 1.5, ("a", 1), Colour.RED, Text("k"), b"k", frozenset({1})]
    )


def value(random: Random) -> Any:
    """Make a value of a few dozen objects that may contain each other."""
    made: list[Any] = [_leaf(random) for _ in range(random.randint(1, 6))]
    lists: list[list[Any]] = []
    for _ in range(random.choice((0, 1, 5, 40))):
        items = random.choices(made[-8:] if random.random() < 0.7 else made, k=random.choice((0, 1, 2, 2, 5)))
        one = random.choice(NODES)(random, items)
        if type(one) is list:
            lists.append(one)
        made.append(one)
    for one in lists:
        if random.random() < 0.2:
            one.append(random.choice(made))  # perhaps a cycle
    top = made[-1]
    for _ in range(random.choice((0, 0, 0, 70, 3000))):
        top = [top]
    return top
