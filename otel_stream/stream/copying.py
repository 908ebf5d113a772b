"""A copy that later changes can't reach: what a consumer was shown stays as it was shown.

Only plain ``dict``, ``list``, ``set`` and ``tuple`` are copied; a message, a model or an array is
handed on by reference. What repeats in the value repeats in the copy, and a cycle stays one.
"""

from __future__ import annotations

from typing import Any

_COPIED = frozenset({dict, list, set, tuple})


def snapshot(value: Any) -> Any:
    """Return ``value`` with its containers copied, however deep they are nested.

    What lies too deep for the interpreter's recursion limit is shared with the original.
    """
    kind = type(value)
    if kind not in _COPIED:
        return value
    if kind is dict:
        # Most states are flat: no bookkeeping then.
        copy = value.copy()
        if _COPIED.isdisjoint(map(type, copy.values())):
            return copy
    try:
        return _copy(value, {})
    except RecursionError:
        return value if type(value) is tuple else value.copy()


def _copy(value: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    known = seen.get(id(value))
    if known is not None:
        return known[1]
    kind = type(value)
    if kind is tuple:
        # Its items can't be exchanged, so it needs a copy only for what they contain.
        if _COPIED.isdisjoint(map(type, value)):
            return value
        copy: Any = tuple([_copy(item, seen) if type(item) in _COPIED else item for item in value])
        seen[id(value)] = value, copy
        return copy
    # One C call: another thread that changes the original meanwhile can't break the loops below.
    copy = value.copy()
    # The original is kept beside its copy, or its id could be given to something else meanwhile.
    seen[id(value)] = value, copy
    if kind is dict and not _COPIED.isdisjoint(map(type, copy.values())):
        for key, item in copy.items():
            if type(item) in _COPIED:
                copy[key] = _copy(item, seen)
    elif kind is list and not _COPIED.isdisjoint(map(type, copy)):
        for index, item in enumerate(copy):
            if type(item) in _COPIED:
                copy[index] = _copy(item, seen)
    return copy  # what a set contains is hashable: no container in it can change
