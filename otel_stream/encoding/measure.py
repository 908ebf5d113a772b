"""How large a value is as a tree, known in a time that its size bounds, and without asking it anything."""

from __future__ import annotations

import datetime as dt
import gc
from collections import UserList, deque
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from itertools import chain
from sys import getsizeof
from types import NoneType, SimpleNamespace
from typing import Any, Final

import msgspec

SCALARS: Final = frozenset({NoneType, bool, int, float})
LEAVES: Final = SCALARS | {
    str, bytes, bytearray, Decimal, dt.datetime, dt.date, dt.time, dt.timedelta
}  # fmt: skip
CONTAINERS: Final = frozenset({list, tuple, set, frozenset, dict})
PLAIN: Final = LEAVES | CONTAINERS

#: What an object of any other class counts for, in bytes, besides what it contains.
_FOREIGN: Final = 64
#: Classes whose own code walks through what they contain.
_WALKING: Final = (
    *CONTAINERS, deque, UserList, Mapping, SimpleNamespace, msgspec.Struct, BaseException
)  # fmt: skip


def fits(level: Collection[Any], limit: int, depth: int) -> bool:
    """Tell whether the trees below ``level`` take at most ``limit`` bytes; what is shared counts each time.

    They don't if they are more than ``depth`` levels deep: a cycle has no end. Foreign objects count as
    leaves, but for those of dataclasses, models, and subclasses of containers.
    """
    size = 0
    for _ in range(depth):
        kinds = set(map(type, level))
        if not kinds <= PLAIN:
            leaves = {kind for kind in kinds - PLAIN if not _is_walking(kind)}
            level = [one for one in level if type(one) not in leaves]
        size += sum(getsizeof(one) if type(one) in PLAIN else _FOREIGN for one in level)
        if dict in kinds:
            # The collector is not told of keys that are texts.
            size += sum(map(getsizeof, _texts(level)))
        if size > limit:
            return False
        structs = [one for one in level if issubclass(type(one), msgspec.Struct)] if kinds - PLAIN else ()
        # The collector is not told of structs that opted out of it.
        level = [*gc.get_referents(*level), *chain.from_iterable(map(msgspec.structs.astuple, structs))]
        if not level:
            return True
    return False


def is_model(kind: type) -> bool:
    """Tell whether ``kind`` is a class of pydantic models. Neither it nor its objects are asked."""
    return "__pydantic_serializer__" in kind.__dict__


def definer(kind: type, name: str) -> type | None:
    """Return which of a class and its bases defines ``name``, without asking a metaclass."""
    return next((base for base in type.mro(kind) if name in base.__dict__), None)


def _is_walking(kind: type) -> bool:
    return issubclass(kind, _WALKING) or is_model(kind) or definer(kind, "__dataclass_fields__") is not None


def _texts(level: Iterable[Any]) -> Iterable[str]:
    keys = chain.from_iterable([one for one in level if type(one) is dict])
    return [key for key in keys if type(key) is str]
