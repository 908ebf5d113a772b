"""States as keyframes and deltas: what one state changed of the one before, and a digest of both.

Rules of this file
------------------
1. What is the same object as before, and can't change, is not looked at again.
2. What can change is compared as JSON, since that is what ``replay`` has to give back.
3. What is trusted (a message or a model that is still the same object) is checked at every keyframe.

A delta is a mapping whose keys are those of the state behind one character that says what to do, in order::

    {"-a": null,            a is gone
     "=b": value,           b is set; if it is new, it comes last
     "+c": [item],          c gets more items, or more text
     "~d": [7, 1, [item]],  from place 7 of d, 1 item is gone and others are there instead
     ">e": delta}           e changed inside

Where the order of keys changes otherwise, the value that they belong to is set as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

import msgspec

from otel_stream.encoding import decode, encode, joined
from otel_stream.telemetry.redaction import Path, Writer

#: Mappings nested deeper than this are set as a whole.
MAX_DEPTH: Final = 4
#: States up to this size, in bytes, are always exported as they are: a delta would save nothing.
SMALL: Final = 512
#: A keyframe is due when the deltas since the last one are this many times its size, so keyframes
#: cost a tenth of what changed, and the longer a chain gets, the more it would cost to break it.
KEYFRAME_AFTER: Final = 10
#: A text shorter than this is set rather than appended to, in bytes of its JSON.
_SHORT: Final = 64

_CONTAINERS: Final = frozenset({dict, list, set, tuple})
#: Types of items that may be compared by value: equal ones have the same JSON.
_COMPARABLE: Final = frozenset({str, bytes, int, tuple})
#: Stands for "this can't be told as a change: set it as a whole".
_SET: Final[Any] = type("Set", (), {"__repr__": lambda _: "SET"})()


def digest(value: Any, depth: int = 0) -> int:
    """Return the digest of ``value``, which consists of what JSON knows.

    A mapping's is made of its keys' and values', so that it is cheap to know after one has changed;
    anything else's is the CRC-32 of its JSON. Order counts.
    """
    if type(value) is dict and depth < MAX_DEPTH:
        return crc32(b"".join([_piece(joined(k), digest(v, depth + 1)) for k, v in value.items()]))
    return crc32(joined(value))


def _piece(key: bytes, crc: int) -> bytes:
    return b"%b:%08x" % (key, crc)


class Frame(NamedTuple):
    """A state on its way out. ``text`` is JSON: all of it if ``keyframe``, else a delta.

    ``drift`` names the keys whose value changed since the last keyframe without anybody noticing.
    """

    keyframe: bool
    text: bytes
    digest: str
    drift: tuple[str, ...] = ()


# -- what is remembered of the state before: one cell per value ----------------------------------


class _Leaf:
    """A value that is set as a whole, or a text that may be appended to."""

    __slots__ = ("crc", "text", "value")

    def __init__(self, value: Any, text: bytes, depth: int) -> None:
        self.value = value
        self._take(text, depth)

    def _take(self, text: bytes, depth: int) -> None:
        self.text = text
        self.crc = digest(decode(text), depth) if text[:1] == b"{" else crc32(text)

    def update(self, value: Any, depth: int, path: Path, writer: Writer) -> Any:
        if type(value) in _CONTAINERS:
            return _SET
        before, text = self.text, writer.text(value, path)
        self.value = value
        if text == before:
            return None
        self._take(text, depth)
        if len(before) > _SHORT and before[:1] == b'"' and text.startswith(before[:-1]):
            return "+", msgspec.Raw(b'"' + text[len(before) - 1 :])
        return "=", msgspec.Raw(text)


class _Items:
    """A list, item by item: objects by identity, containers by their JSON (a tuple of one)."""

    __slots__ = ("_open", "crc", "marks")
    #: Equal to no value: lists are always looked at.
    value: Final[Any] = _SET

    def __init__(self, marks: list[Any], texts: Sequence[bytes]) -> None:
        self._begin(marks, texts)

    def _begin(self, marks: list[Any], texts: Sequence[bytes]) -> None:
        self.marks = marks
        #: CRC of the JSON up to where the next item goes.
        self._open = crc32(b"[" + b",".join(texts))
        self.crc = crc32(b"]", self._open)

    def update(self, value: Any, _: int, path: Path, writer: Writer) -> Any:
        if type(value) is not list and type(value) is not tuple:
            return _SET
        marks = _marks(value, writer)
        before, length = self.marks, len(self.marks)
        grown = len(marks) >= length and all(map(is_, before, marks))
        start = length if grown else _common(before, marks)
        if start < length:
            return self._spliced(marks, start, path, writer)
        self.marks = marks
        if start == len(marks):
            return None
        added = b",".join(_texts(marks, start, len(marks), path, writer))
        self._open = crc32(b"," + added if length else added, self._open)
        self.crc = crc32(b"]", self._open)
        return "+", msgspec.Raw(b"[" + added + b"]")

    def _spliced(self, marks: list[Any], start: int, path: Path, writer: Writer) -> Any:
        before = self.marks
        most = min(len(before), len(marks)) - start
        kept = _common(before[::-1][:most], marks[::-1][:most])
        end = len(marks) - kept
        texts = _texts(marks, 0, len(marks), path, writer)
        removed = len(before) - kept - start
        self._begin(marks, texts)
        added = b"[" + b",".join(texts[start:end]) + b"]"
        if start == kept == 0:
            return "=", msgspec.Raw(added)
        return "~", [start, removed, msgspec.Raw(added)]


class _Fields:
    """A mapping with string keys, value by value."""

    __slots__ = ("cells", "pieces")
    value: Final[Any] = _SET

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self.pieces: dict[str, bytes] = {}

    @property
    def crc(self) -> int:
        return crc32(b"".join(self.pieces.values()))

    def put(self, key: str, value: Any, depth: int, path: Path, writer: Writer) -> bytes:
        """Remember ``value`` and return its JSON."""
        cell, text = _cell(value, depth + 1, (*path, key), writer)
        self.cells[key] = cell
        self.pieces[key] = _piece(encode(key), cell.crc)
        return text

    def update(self, value: Any, depth: int, path: Path, writer: Writer) -> Any:
        if type(value) is not dict:
            return _SET
        cells = self.cells
        delta: dict[str, Any] = {}
        if not cells.keys() <= value.keys():
            for key in [key for key in cells if key not in value]:
                delta[f"-{key}"] = None
                del cells[key], self.pieces[key]
        for key, item in value.items():
            cell = cells.get(key)
            # A container may have changed inside; anything else that is the same object is the same.
            if cell is not None and cell.value is item and type(item) not in _CONTAINERS:
                continue
            if cell is None and (type(key) is not str or not writer.keeps((key,))):
                return _SET
            change = self._change(key, cell, item, depth, path, writer)
            if change is not None:
                delta[change[0] + key] = change[1]
        if list(cells) != list(value):
            return _SET
        return (">", delta) if delta else None

    def _change(
        self, key: str, cell: Cell | None, item: Any, depth: int, path: Path, writer: Writer
    ) -> tuple[str, Any] | None:
        change = _SET if cell is None else cell.update(item, depth + 1, (*path, key), writer)
        if change is _SET:
            text = self.put(key, item, depth, path, writer)
            return None if isinstance(cell, _Leaf) and cell.text == text else ("=", msgspec.Raw(text))
        if change is not None and cell is not None:
            self.pieces[key] = _piece(encode(key), cell.crc)
        return change  # type: ignore[no-any-return]


Cell: TypeAlias = _Leaf | _Items | _Fields


def _cell(value: Any, depth: int, path: Path, writer: Writer) -> tuple[Cell, bytes]:
    """Return a cell for ``value``, and its JSON."""
    kind = type(value)
    if (
        kind is dict
        and depth < MAX_DEPTH
        and writer.opens(path)
        and all(type(key) is str for key in value)
        and writer.keeps(value)
        and writer.is_new(value)
    ):
        fields = _Fields()
        texts = [
            encode(key) + b":" + fields.put(key, item, depth, path, writer) for key, item in value.items()
        ]
        return fields, b"{" + b",".join(texts) + b"}"
    if (kind is list or kind is tuple) and writer.opens(path):
        marks = _marks(value, writer)
        texts = _texts(marks, 0, len(marks), path, writer)
        return _Items(marks, texts), b"[" + b",".join(texts) + b"]"
    text = writer.text(value, path)
    return _Leaf(value, text, depth), text


def _marks(value: Any, writer: Writer) -> list[Any]:
    """Return what to compare the items by."""
    if _CONTAINERS.isdisjoint(map(type, value)):
        return list(value)
    return [(writer.json(item),) if type(item) in _CONTAINERS else item for item in value]


def _texts(marks: list[Any], start: int, end: int, path: Path, writer: Writer) -> list[bytes]:
    found = []
    for index in range(start, end):
        mark = marks[index]
        if type(mark) is tuple:
            found.append(mark[0] if writer.plain else writer.text(decode(mark[0]), (*path, str(index))))
        else:
            found.append(writer.text(mark, (*path, str(index))))
    return found


def _common(before: list[Any], after: list[Any]) -> int:
    """Return how many items at the beginning are the same."""
    count = 0
    for old, new in zip(before, after, strict=False):
        if old is not new and not (type(old) is type(new) and type(old) in _COMPARABLE and old == new):
            return count
        count += 1
    return count


# -- the chain ------------------------------------------------------------------------------------


class Chain:
    """The states of one run, one after the other. For one thread at a time."""

    __slots__ = ("_root", "_size", "_spent", "seq")

    def __init__(self) -> None:
        #: Place of the part that showed the state before, for whoever keeps the chain.
        self.seq: int | None = None
        #: The state before; None if the next one has to be a keyframe.
        self._root: _Fields | None = None
        self._size = 0
        self._spent = 0

    def next(self, state: Any, writer: Writer) -> Frame:
        """Return the frame for ``state``."""
        root, self._root = self._root, None
        change = _SET if root is None else root.update(state, 0, (), writer)
        if root is not None and change is not _SET:
            text = b"{}" if change is None else joined(change[1])
            self._spent += len(text)
            if len(text) < self._size and self._spent < KEYFRAME_AFTER * self._size:
                self._root = root
                return Frame(False, text, f"{root.crc:08x}")
        before = root.pieces if root is not None and change is not _SET else {}
        return self._keyframe(state, before, writer)

    def restart(self) -> None:
        """Make the next frame a keyframe: the last one could not be exported."""
        self._root = None

    def _keyframe(self, state: Any, before: dict[str, bytes], writer: Writer) -> Frame:
        writer.restart()
        text = writer.text(state, ())
        if len(text) > SMALL and type(state) is dict:
            writer.restart()
            root, composed = _cell(state, 0, (), writer)
            if isinstance(root, _Fields):
                self._root, self._size, self._spent = root, len(composed), 0
                drift = tuple(key for key, piece in before.items() if root.pieces.get(key) != piece)
                return Frame(True, composed, f"{root.crc:08x}", drift)
        return Frame(True, text, f"{digest(decode(text)):08x}")


# -- the way back ---------------------------------------------------------------------------------


def applied(state: Any, delta: dict[str, Any]) -> Any:
    """Return what ``delta`` makes of ``state``, which stays as it is.

    Raises:
        LookupError, TypeError, ValueError: the delta is not one of this state.
    """
    fields = dict(state)
    for name, change in delta.items():
        do, key = name[0], name[1:]
        if do == "-":
            del fields[key]
        elif do == "=":
            fields[key] = change
        elif do == "+":
            fields[key] = fields[key] + change
        elif do == "~":
            start, removed, added = change
            items = fields[key]
            fields[key] = [*items[:start], *added, *items[start + removed :]]
        elif do == ">":
            fields[key] = applied(fields[key], change)
        else:
            raise ValueError(f"{name!r} is no change that is known")
    return fields
