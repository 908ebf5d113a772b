"""The key of a cache entry, made of a node's input: the same in every process, for equal inputs."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

#: Containers nested deeper than this are left as they are.
_DEPTH = 10


def default_cache_key(*args: Any, **kwargs: Any) -> bytes:
    """Return a key for a node's input: equal for equal inputs, whatever order their mappings are in.

    Raises:
        Exception: what ``pickle`` raises for an input it can't take; give the node's ``CachePolicy`` a
            ``key_func`` then.
    """
    key = _ordered((args, kwargs), _DEPTH)
    written = io.BytesIO()
    pickler = pickle.Pickler(written, protocol=5)
    # Without its memo, pickle writes two equal strings like one string that stands twice.
    pickler.fast = True
    try:
        pickler.dump(key)
    except (RecursionError, ValueError):  # something refers to itself: only the memo ends that
        return pickle.dumps(key, protocol=5)
    return written.getvalue()


def _ordered(value: Any, depth: int) -> Any:
    """Return a stand-in for ``value`` in which mappings and sets are sorted and containers are tuples."""
    if depth <= 0 or isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        items = ((key, _ordered(item, depth - 1)) for key, item in value.items())
        return tuple(sorted(items, key=lambda item: (type(item[0]).__name__, str(item[0]))))
    if isinstance(value, set | frozenset):
        return tuple(sorted((_ordered(item, depth - 1) for item in value), key=repr))
    if isinstance(value, list | tuple):
        return tuple(_ordered(item, depth - 1) for item in value)
    if hasattr(value, "tobytes"):  # arrays: equal bytes of another shape or type are another input
        kind = (type(value).__name__, str(getattr(value, "dtype", "")), getattr(value, "shape", None))
        return *kind, value.tobytes()
    return value
