"""The careful way to JSON: item by item, without recursion, and on an account of what it costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import repeat
from sys import getsizeof
from time import monotonic
from typing import Any, Final

import msgspec

from otel_stream.encoding.foreign import REST, asked, clean, described, stand_in, text_of
from otel_stream.encoding.measure import CONTAINERS, LEAVES, SCALARS
from otel_stream.encoding.quick import MAX_DEPTH, quick

#: Most JSON that is made, in bytes, but for what closes it.
MAX_SIZE: Final = 64 * 1024 * 1024
#: Seconds after which the rest is not shown: only foreign code takes so long.
MAX_SECONDS: Final = 2.0
#: Bytes of JSON that may be spent on what was shown before, besides ``REPEATS`` times what was not.
MAX_REPEATED: Final = 64 * 1024
REPEATS: Final = 4

#: Texts shorter than this, in bytes, are shown wherever they occur.
_SHORT: Final = 256
#: What so many foreign mappings in each other contain may have come into being because it was asked for.
_TRUSTED: Final = 4
#: So many items are encoded at a time, if they can be.
_RUN: Final = 512

_ENCODER: Final = msgspec.json.Encoder()


class _Frame:
    """An open container: what is still to be shown of it, and the id of the object that it stands for."""

    __slots__ = ("again", "closing", "comma", "entries", "id", "kind", "made")

    def __init__(
        self, value: Any, entries: Iterator[tuple[bytes, Any]], closing: bytes, again: bool, made: int
    ) -> None:
        self.kind = type(value)
        self.id = id(value)
        self.entries = entries
        self.closing = closing
        #: Whether what is in it counts as repeated.
        self.again = again
        #: How many foreign mappings it is in.
        self.made = made
        self.comma = b""


class Encoding:
    """Several values on one account: what repeats among them counts as repeated.

    For one thread, and for as long as it takes to tell of one thing: ``clock`` runs from when it is made.
    """

    __slots__ = (
        "_big", "_clock", "_frames", "_known", "_once", "_parts", "_path", "_told", "_twice", "_until",
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until = clock() + MAX_SECONDS
        self._parts: list[bytes] = []
        self._frames: list[_Frame] = []
        #: The containers that are open, by id.
        self._path: set[int] = set()
        #: What was shown, by id, and its length if as a whole; kept, or its id could be given to another.
        self._known: dict[int, tuple[Any, int]] = {}
        #: Foreign objects by id, each with what stands for it: nothing is asked twice.
        self._told: dict[int, tuple[Any, Any]] = {}
        #: Ids of what the quick way can't tell.
        self._big: set[int] = set()
        #: Bytes that were spent on what was shown for the first time, and on what was again.
        self._once = self._twice = 0

    def text(self, value: Any) -> bytes:
        """Return ``value`` as JSON in UTF-8. Never fails."""
        self._parts = []
        self._put(value)
        while self._frames:
            self._step(self._frames[-1])
        return b"".join(self._parts)

    def is_new(self, value: Any) -> bool:
        """Tell whether nothing was shown of ``value`` yet; from now on something is."""
        new = id(value) not in self._known
        if new:
            self._known[id(value)] = value, 0
        return new

    # -- the walk -------------------------------------------------------------------------------

    def _step(self, frame: _Frame) -> None:
        """Show the next item of the innermost container, or close it."""
        why = self._stopped(frame)
        for name, item in frame.entries:
            if not why:
                self._write(frame.comma + name)
                frame.comma = b","
                self._put(item)
                return
            self._write(frame.comma + (_name(REST) if frame.closing == b"}" else b""))
            self._mark(frame.kind, why)
            break
        self._write(frame.closing)
        self._frames.pop()
        self._path.discard(frame.id)

    def _put(self, value: Any) -> None:
        """Write a value, or open it."""
        kind = type(value)
        if kind is msgspec.Raw:
            self._write(bytes(value))
        elif type(kind).__hash__ is None:  # of a class that is in no set
            self._mark(kind, "of a class without a hash")
        elif kind in LEAVES:
            self._put_leaf(value, kind)
        elif id(value) in self._path:
            self._mark(kind, "cycle")
        elif self._is_refused(value):
            self._mark(kind, "shown before")
        elif id(value) in self._big or not self._put_whole(value):
            self._open(value, kind)

    def _put_leaf(self, value: Any, kind: type) -> None:
        size = 0 if kind in SCALARS else getsizeof(value)
        if size < _SHORT:
            self._write(_leaf(value, kind))
        elif self._is_refused(value):
            self._mark(kind, "shown before")
        elif size > MAX_SIZE - self._once - self._twice:
            self._write(bytes(described(kind, asked(str, value) if kind is str else "<too large>")))
        else:
            self._write_whole(value, _leaf(value, kind))

    def _put_whole(self, value: Any) -> bool:
        """Write what the quick way can tell; tell whether it can."""
        text = quick(value, MAX_DEPTH - len(self._frames))
        if text is None:
            self._big.add(id(value))
            return False
        self._write_whole(value, text)
        return True

    def _open(self, value: Any, kind: type) -> None:
        told = value if kind in CONTAINERS else self._stand_in(value)
        made = self._made(kind)
        if type(told) not in CONTAINERS:
            self._write_whole(value, bytes(told) if type(told) is msgspec.Raw else _leaf(told, type(told)))
            return
        again = not self.is_new(value) or made > _TRUSTED
        depth = MAX_DEPTH - len(self._frames)
        if again and self._exhausted():
            self._mark(kind, "shown before")
        elif depth <= 0:
            self._mark(kind, "too deep")
        else:
            self._path.add(id(value))
            self._write(b"{" if type(told) is dict else b"[")
            if type(told) is dict:
                entries, closing = _pairs(told, depth), b"}"
            else:
                entries, closing = _items(list(told), depth), b"]"
            self._frames.append(_Frame(value, entries, closing, again, made))

    def _made(self, kind: type) -> int:
        """Return how many foreign mappings there would be around what is in an object of ``kind``."""
        around = self._frames[-1].made if self._frames else 0
        return around + (kind not in CONTAINERS and issubclass(kind, Mapping))

    def _stand_in(self, value: Any) -> Any:
        if id(value) not in self._told:
            self._told[id(value)] = value, stand_in(value)
        return self._told[id(value)][1]

    # -- the account ----------------------------------------------------------------------------

    def _stopped(self, frame: _Frame) -> str:
        """Return why the rest of a container is not shown, "" if it is."""
        if self._once + self._twice > MAX_SIZE:
            return "too large"
        if frame.again and self._exhausted():
            return "shown before"
        return "took too long" if self._clock() > self._until else ""

    def _exhausted(self, more: int = 0) -> bool:
        """Tell whether as much was repeated as may be."""
        return self._twice + more > MAX_REPEATED + REPEATS * self._once

    def _is_refused(self, value: Any) -> bool:
        """Tell whether ``value`` was shown before, and may not be again."""
        known = self._known.get(id(value))
        return known is not None and self._exhausted(known[1])

    def _write_whole(self, value: Any, text: bytes) -> None:
        """Write all of ``value``."""
        again = not self.is_new(value)
        self._known[id(value)] = value, len(text)
        self._write(text, again)

    def _write(self, text: bytes, again: bool = False) -> None:
        self._parts.append(text)
        if again or (self._frames and self._frames[-1].again):
            self._twice += len(text)
        else:
            self._once += len(text)

    def _mark(self, kind: type, why: str) -> None:
        self._write(bytes(described(kind, f"<{why}>")), again=True)


def _leaf(value: Any, kind: type) -> bytes:
    try:
        return _ENCODER.encode(value)
    except Exception:  # noqa: BLE001 - a lone surrogate, an endless number, somebody's time zone
        if kind is str:
            return _ENCODER.encode(clean(value))
        if kind is int:
            return bytes(described(kind, f"<{value.bit_length()} bits>"))
        return bytes(described(kind, asked(repr, value)))


def _pairs(told: dict[Any, Any], depth: int) -> Iterator[tuple[bytes, Any]]:
    pairs = list(told.items())
    for start in range(0, len(pairs), _RUN):
        run = dict(pairs[start : start + _RUN])
        text = _whole(run, run.values(), depth)
        if text is None:
            yield from ((_name(key), item) for key, item in run.items())
        else:
            yield b"", text


def _items(items: list[Any], depth: int) -> Iterator[tuple[bytes, Any]]:
    for start in range(0, len(items), _RUN):
        run = items[start : start + _RUN]
        text = _whole(run, run, depth)
        if text is None:
            yield from zip(repeat(b""), run)
        else:
            yield b"", text


def _whole(run: list[Any] | dict[Any, Any], items: Collection[Any], depth: int) -> msgspec.Raw | None:
    """Return the JSON of a few items, without brackets, if none of them needs an account of its own."""
    unlike = len(set(map(id, items))) == len(items) or SCALARS.issuperset(map(type, items))
    text = quick(run, depth) if unlike and len(items) > 1 else None
    return None if text is None else msgspec.Raw(text[1:-1])


def _name(key: Any) -> bytes:
    """Return a key of a mapping as JSON has it, with what follows it."""
    if type(key) is str:
        return _ENCODER.encode(asked(str, key)) + b":"
    # As the quick way says it: the same key has the same JSON, whatever is beside it.
    text = quick({key: None})
    return _ENCODER.encode(text_of(key)) + b":" if text is None else text[1:-5]
