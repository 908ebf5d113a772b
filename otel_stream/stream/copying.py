"""A copy that later changes can't reach: what a consumer was shown stays as it was shown.

What can change is copied, however deep it lies: containers, their kin and views of them, dataclasses, models,
messages, arrays, objects of any class. What can't, text, numbers, functions or classes, is handed on as it
is; so is an exception, a fact about the run. What repeats in the value repeats in the copy, and a cycle
stays one.

Some things are no data: connections, files, locks, whatever wants to be closed. A copy of such a thing would
close it when it is thrown away; they are handed on by reference, and so is what fails to be copied, which is
said once for each type.
"""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import enum
import fractions
import logging
import pathlib
import re
import types
import uuid
import weakref
from array import array
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from operator import is_
from typing import Any, Final, TypeAlias

import msgspec

from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: What was copied already: by the id of the original, which is kept beside, or its id might be another's.
Seen: TypeAlias = dict[int, tuple[Any, Any]]

#: What can't change. Types are added as they are met: those of enumerations, classes and the like.
_FIXED: Final[set[type]] = {
    type(None), bool, int, float, complex, str, bytes, frozenset, range, slice, type(...),
    dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, decimal.Decimal,
    fractions.Fraction, uuid.UUID, re.Pattern, pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath,
    pathlib.PureWindowsPath, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    types.ModuleType, type,
}  # fmt: skip
_FIXED_BASES: Final = (
    type, enum.Enum, str, bytes, int, float, complex, frozenset, BaseException, pathlib.PurePath,
    dt.date, dt.tzinfo, weakref.ref,
)  # fmt: skip
#: What tells that an object owns something.
_OWNERS: Final = ("__del__", "__exit__", "__aexit__")
#: Nested deeper than this, what remains is handed on by reference.
_MAX_DEPTH: Final = 200

Copier: TypeAlias = Callable[[Any], Any]
#: How an object of a type is copied, without what it holds; None: by reference.
_COPIERS: Final[dict[type, Copier | None]] = {kind: kind.copy for kind in (dict, list, set)}
#: Those of pydantic's models.
_MODELS: Final[set[type]] = set()
_EMPTIED: Final = frozenset({dict, list})
#: Types of which was said that they can't be copied.
_NAMED: Final[set[int]] = set()


def snapshot(value: Any) -> Any:
    """Return ``value`` as it is now, whatever becomes of it. Never raises."""
    kind = type(value)
    try:
        if kind in _FIXED:
            return value
        if kind is dict:
            # Most states are flat: no bookkeeping then.
            shallow = value.copy()
            if _FIXED.issuperset(map(type, shallow.values())):
                return shallow
        return _copy(value, {}, 0)
    except TypeError as error:  # a class without a hash: its metaclass compares, and says no more
        _name(kind, error)
        return value


def _copy(value: Any, seen: Seen, depth: int) -> Any:
    kind = type(value)
    if kind in _FIXED or depth > _MAX_DEPTH:
        return value
    known = seen.get(id(value))
    if known is not None:
        return known[1]
    try:
        if kind is dict:
            return _copy_dict(value, seen, depth + 1)
        if kind is list:
            return _copy_list(value, seen, depth + 1)
        made = _made(value, kind, seen, depth)
    except RecursionError:
        return value
    except BaseException as error:  # noqa: BLE001 - foreign code; what can't be copied is shown as it is
        _name(kind, error)
        made = value
    seen[id(value)] = value, made
    return made


def _copy_dict(value: dict[Any, Any], seen: Seen, depth: int) -> dict[Any, Any]:
    # One call for a plain container: another thread that changes the original can't break the loop below.
    made = value.copy()
    seen[id(value)] = value, made  # before what it holds, which may be itself
    if not _FIXED.issuperset(map(type, made.values())):
        for key, item in made.items():
            if type(item) not in _FIXED:
                made[key] = _copy(item, seen, depth)
    return made


def _copy_list(value: list[Any], seen: Seen, depth: int) -> list[Any]:
    made = value.copy()
    seen[id(value)] = value, made
    if not _FIXED.issuperset(map(type, made)):
        for index, item in enumerate(made):
            if type(item) not in _FIXED:
                made[index] = _copy(item, seen, depth)
    return made


def _made(value: Any, kind: type, seen: Seen, depth: int) -> Any:
    if issubclass(kind, tuple):
        return _copy_tuple(value, kind, seen, depth)
    if kind in _MODELS:
        return _copy_model(value, kind, seen, depth)
    if kind in _VIEWS:
        return _VIEWS[kind](value, seen, depth + 1)
    copier = _COPIERS[kind] if kind in _COPIERS else _COPIERS.setdefault(kind, _copier(kind))
    if copier is None:
        return _copy_model(value, kind, seen, depth) if kind in _MODELS else value
    made = copier(value)
    if made is not value:
        seen[id(value)] = value, made
        _fill(made, kind, seen, depth + 1)
    return made


def _copy_tuple(value: tuple[Any, ...], kind: type, seen: Seen, depth: int) -> tuple[Any, ...]:
    # Its items can't be exchanged, so it needs a copy only for what they contain.
    items = tuple(value)
    if _FIXED.issuperset(map(type, items)):
        return value
    copies = [_copy(item, seen, depth + 1) for item in items]
    known = seen.get(id(value))
    if known is not None:  # it contains itself
        return known[1]  # type: ignore[no-any-return]
    return value if all(map(is_, copies, items)) else tuple.__new__(kind, copies)


def _fill(made: Any, kind: type, seen: Seen, depth: int) -> None:
    """Exchange what a copy holds for copies. What a set holds is hashable, and can't change."""
    if issubclass(kind, dict):
        for key, item in dict.items(made):
            if type(item) not in _FIXED:
                dict.__setitem__(made, key, _copy(item, seen, depth))
    elif issubclass(kind, list | deque):
        put = (list if issubclass(kind, list) else deque).__setitem__
        for index, item in enumerate(made):
            if type(item) not in _FIXED:
                put(made, index, _copy(item, seen, depth))
    if kind not in _COPIED_WHOLE:
        _fill_attributes(made, kind, seen, depth)


def _copy_proxy(value: Any, seen: Seen, depth: int) -> Any:
    return types.MappingProxyType(_copy_dict(dict(value), seen, depth))


def _copy_keys(value: Any, _seen: Seen, _depth: int) -> Any:
    return dict.fromkeys(value).keys()


def _copy_values(value: Any, seen: Seen, depth: int) -> Any:
    return dict(enumerate(_copy_list(list(value), seen, depth))).values()


def _copy_items(value: Any, seen: Seen, depth: int) -> Any:
    return _copy_dict(dict(value), seen, depth).items()


def _copy_memory(value: Any, _seen: Seen, _depth: int) -> Any:
    made: Any = memoryview(value.tobytes())
    return made if value.ndim == 1 and value.format == "B" else made.cast("B").cast(value.format, value.shape)


#: What shows something that may change elsewhere, and how it is copied with what it shows.
_VIEWS: Final[dict[type, Callable[[Any, Seen, int], Any]]] = {
    types.MappingProxyType: _copy_proxy,
    memoryview: _copy_memory,
    type({}.keys()): _copy_keys,
    type({}.values()): _copy_values,
    type({}.items()): _copy_items,
}


#: They have no attributes of their own, or keep them to themselves.
_COPIED_WHOLE: Final[set[type]] = {dict, list, set, deque, defaultdict, bytearray, array}


def _fill_attributes(made: Any, kind: type, seen: Seen, depth: int) -> None:
    fields: tuple[str, ...] = getattr(kind, "__struct_fields__", ())
    for name in fields:  # of a msgspec.Struct, whose slots they are
        item = getattr(made, name)
        if type(item) not in _FIXED:
            msgspec.structs.force_setattr(made, name, _copy(item, seen, depth))
    own = _dict_of(made)
    for name, item in own.items():
        if type(item) not in _FIXED:
            own[name] = _copy(item, seen, depth)
    for slot in () if fields else _slots(kind):
        try:
            item = slot.__get__(made, kind)
        except AttributeError:  # not set
            continue
        if type(item) not in _FIXED:
            slot.__set__(made, _copy(item, seen, depth))


def _dict_of(value: Any) -> dict[str, Any]:
    """Return the attributes of ``value``, past whatever it answers itself."""
    try:
        own: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return own


@lru_cache(maxsize=1024)
def _slots(kind: Any) -> tuple[Any, ...]:
    """Return what reads and writes the slots of ``kind``, its bases' too."""
    return tuple(
        descriptor
        for base in kind.__mro__
        if "__slots__" in vars(base)
        for name, descriptor in vars(base).items()
        if isinstance(descriptor, types.MemberDescriptorType) and not name.startswith("__")
    )


def _copier(kind: type) -> Copier | None:
    """Return how objects of ``kind`` are copied, without what they hold."""
    if issubclass(kind, _FIXED_BASES):
        _FIXED.add(kind)
        return None
    if any(hasattr(kind, name) for name in _OWNERS):
        return None
    if hasattr(kind, "__pydantic_fields__"):
        _MODELS.add(kind)
        return None
    if hasattr(kind, "__deepcopy__"):
        _COPIED_WHOLE.add(kind)
        return copy.deepcopy
    return copy.copy if _copies_itself(kind) else _copy_object


def _copies_itself(kind: type) -> bool:
    return any(getattr(kind, name, None) is not getattr(object, name, None) for name in _PROTOCOL)


_PROTOCOL: Final = ("__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")


def _copy_object(value: Any) -> Any:
    """Copy without asking ``value`` anything: it may answer whatever it is asked, or call somebody for it."""
    kind: Any = type(value)
    made: Any
    if issubclass(kind, dict):
        made = dict.__new__(kind)
        dict.update(made, value)
    elif issubclass(kind, list):
        made = list.__new__(kind)
        list.extend(made, value)
    elif issubclass(kind, set):
        made = set.__new__(kind)
        set.update(made, value)
    else:
        made = object.__new__(kind)
    _dict_of(made).update(_dict_of(value))
    for slot in _slots(kind):
        with suppress(AttributeError):  # not set
            slot.__set__(made, slot.__get__(value, kind))
    return made


def _copy_model(value: Any, kind: Any, seen: Seen, depth: int) -> Any:
    """Copy a pydantic model. States are full of messages, which are such: so it is done at one go."""
    made, get, put = kind.__new__(kind), object.__getattribute__, object.__setattr__
    seen[id(value)] = value, made
    own = get(value, "__dict__").copy()
    for name, item in own.items():
        if type(item) not in _FIXED:
            own[name] = _copy(item, seen, depth + 1) if type(item) not in _EMPTIED or item else type(item)()
    put(made, "__dict__", own)
    put(made, "__pydantic_fields_set__", get(value, "__pydantic_fields_set__").copy())
    for name in ("__pydantic_extra__", "__pydantic_private__"):
        more = get(value, name)
        put(made, name, more if more is None else _copy(more, seen, depth + 1))
    return made


def _name(kind: type, error: BaseException) -> None:
    if id(kind) not in _NAMED:  # its hash may be what fails
        _NAMED.add(id(kind))
        say(
            logger,
            logging.WARNING,
            "%s.%s can't be copied: parts show such an object itself, and may change with it: %s",
            kind.__module__,
            kind.__qualname__,
            placed(error),
        )
