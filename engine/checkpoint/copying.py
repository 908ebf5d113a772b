"""Copies that share nothing a later change could reach, made as cheaply as their contents allow.

Plain containers are rebuilt and immutable leaves shared, at a tenth of what ``copy.deepcopy`` costs; it is
asked for whatever is neither. What can't be copied at all, a lock or a connection, is shared: keeping the
thing itself is better than refusing to store the state around it.
"""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import fractions
import pathlib
import re
import types
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Any

from ..types import Send

#: A share of a value is as good as a copy if it is of one of these very types.
ATOMIC: frozenset[type] = frozenset(
    {
        *(type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes, range, slice),
        *(type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, frozenset, re.Pattern),
        *(dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone),
        *(decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePosixPath, pathlib.PosixPath),
    }
)


def detach(value: Any) -> Any:
    """Return a copy of ``value`` in which no later change to ``value`` shows.

    Aliases and cycles inside ``value`` are aliases and cycles in the copy. Never raises for what a value is:
    the parts that can't be copied, or lie too deep to be reached, are shared.
    """
    if type(value) in ATOMIC:
        return value
    memo: dict[int, Any] = {}
    kept = memo[id(memo)] = []  # deepcopy keeps here, too, what must outlive the memo
    try:
        return _detach(value, memo, kept)
    except RecursionError:
        return value


def _detach(value: Any, memo: dict[int, Any], kept: list[Any]) -> Any:
    made = memo.get(id(value))
    if made is not None:
        return made
    kept.append(value)
    make = _MAKERS.get(type(value))
    return make(value, memo, kept) if make else _other(value, memo)


def _dict(value: dict[Any, Any], memo: dict[int, Any], kept: list[Any]) -> dict[Any, Any]:
    # One C call first: a thread that changes the original meanwhile can't break the loop.
    made = memo[id(value)] = value.copy()
    for key, item in made.items():
        if type(item) not in ATOMIC:
            made[key] = _detach(item, memo, kept)
    return made


def _list(value: list[Any], memo: dict[int, Any], kept: list[Any]) -> list[Any]:
    made = memo[id(value)] = value.copy()
    for index, item in enumerate(made):
        if type(item) not in ATOMIC:
            made[index] = _detach(item, memo, kept)
    return made


def _set(value: set[Any], memo: dict[int, Any], _: list[Any]) -> set[Any]:
    made = memo[id(value)] = value.copy()  # its items are hashable, so by convention they do not change
    return made


def _tuple(value: tuple[Any, ...], memo: dict[int, Any], kept: list[Any]) -> tuple[Any, ...]:
    items = [item if type(item) in ATOMIC else _detach(item, memo, kept) for item in value]
    made = memo.get(id(value))  # a cycle through the tuple has made it already
    if made is None:
        same = all(new is old for new, old in zip(items, value, strict=True))
        made = memo[id(value)] = value if same else tuple(items)
    return made


def _send(value: Send, memo: dict[int, Any], kept: list[Any]) -> Send:
    arg = value.arg
    made = Send(value.node, arg if type(arg) in ATOMIC else _detach(arg, memo, kept), timeout=value.timeout)
    memo[id(value)] = made
    return made


def _other(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, Enum | type):
        return value
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001 - whatever a foreign class raises, it can't be copied
        return value


_MAKERS: dict[type, Callable[[Any, dict[int, Any], list[Any]], Any]] = {
    dict: _dict,
    list: _list,
    set: _set,
    tuple: _tuple,
    Send: _send,
}
