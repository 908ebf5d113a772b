"""What goes to a worker and comes back, as bytes where that can be: Ray takes those as they are."""

from __future__ import annotations

import io
import pickle
from typing import Any


class _Foreign(Exception):
    """A value is of no type of Python's own."""


class _Plain(pickle.Pickler):
    """Refuses what is not made of Python's own types alone."""

    def reducer_override(self, value: Any) -> Any:
        raise _Foreign


def packed(value: Any) -> Any:
    """Return ``value`` as bytes if it is made of Python's own types alone, and as it is if not.

    Ray looks at all but bytes piece by piece, which costs many times as much: what is an array goes without a
    copy then, a reference is kept account of, and a class that only this process knows is taken along.
    """
    file = io.BytesIO()
    try:
        _Plain(file, pickle.HIGHEST_PROTOCOL).dump(value)
    except (_Foreign, RecursionError):
        return value
    return file.getvalue()


def unpacked(said: Any) -> Any:
    """Return what :func:`packed` was given, which was no bytes."""
    return pickle.loads(said) if type(said) is bytes else said  # noqa: S301 - by a process of our own
