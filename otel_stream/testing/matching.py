"""What data is compared with: plain values, and matchers that stand anywhere among them.

A matcher equals whatever it accepts, so ``{"id": anything, "text": regex("^Hi")}`` is an ordinary mapping
that happens to be equal to many others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

#: Characters of a value that a failure message shows.
_WIDTH: Final = 100


class Matcher:
    """Equals every value that ``accepts`` is true of."""

    __slots__ = ("_accepts", "_description")

    def __init__(self, description: str, accepts: Callable[[Any], Any]) -> None:
        self._description = description
        self._accepts = accepts

    def __eq__(self, other: object) -> bool:
        return other is self or bool(self._accepts(other))

    __hash__ = object.__hash__  # equal to many, so looking one up finds itself alone

    def __repr__(self) -> str:
        return self._description


class _Subset(Matcher):
    """Equals a mapping that has these entries, and maybe others."""

    __slots__ = ("entries",)

    def __init__(self, entries: Mapping[Any, Any]) -> None:
        super().__init__(f"subset({dict(entries)!r})", lambda value: not differences(self, value))
        self.entries = entries


#: Equals everything.
anything: Final[Any] = Matcher("anything", lambda _: True)


def subset(entries: Mapping[Any, Any]) -> Any:
    """Match a mapping that has these ``entries``, and maybe others."""
    return _Subset(entries)


def regex(pattern: str) -> Any:
    """Match text in which ``pattern`` is found."""
    compiled = re.compile(pattern)
    return Matcher(f"regex({pattern!r})", lambda value: isinstance(value, str) and compiled.search(value))


def instance(*kinds: type) -> Any:
    """Match an object of one of these types."""
    names = ", ".join(kind.__name__ for kind in kinds)
    return Matcher(f"instance({names})", lambda value: isinstance(value, kinds))


def where(predicate: Callable[[Any], Any], description: str | None = None) -> Any:
    """Match what ``predicate`` is true of; what it raises means that it is not."""

    def accepts(value: Any) -> bool:
        try:
            return bool(predicate(value))
        except Exception:  # noqa: BLE001 - a predicate for one kind of data may choke on another
            return False

    return Matcher(description or f"where({getattr(predicate, '__name__', predicate)})", accepts)


def as_expected(value: Any) -> Any:
    """Read a function as a predicate; everything else stands for itself, matchers included."""
    return where(value) if callable(value) and not isinstance(value, Matcher) else value


def short(value: Any) -> str:
    """Return ``value`` as one line of a failure message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def differences(expected: Any, got: Any, place: str = "") -> list[str]:
    """Return one line for each place where ``got`` is not what was ``expected``; [] if they match."""
    if isinstance(expected, _Subset):
        if not isinstance(got, Mapping):
            return [f"{_named(place)}expected a mapping, got {short(got)}"]
        return _of_entries(expected.entries, got, place)
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        extra = [f"{_named(_key(place, key))}not expected" for key in got if key not in expected]
        return _of_entries(expected, got, place) + extra
    if _are_lists(expected, got) and len(expected) == len(got):
        pairs = zip(expected, got, strict=True)
        return [line for i, (e, g) in enumerate(pairs) for line in differences(e, g, f"{place}[{i}]")]
    if _equal(expected, got):
        return []
    return [f"{_named(place)}expected {short(expected)}, got {short(got)}"]


def _equal(expected: Any, got: Any) -> bool:
    try:
        return bool(expected == got)  # the expected value stands on the left: a matcher in it decides
    except Exception:  # noqa: BLE001 - arrays, say, which have no one answer
        return False


def _of_entries(expected: Mapping[Any, Any], got: Mapping[Any, Any], place: str) -> list[str]:
    lines: list[str] = []
    for key, value in expected.items():
        spot = _key(place, key)
        if key in got:
            lines += differences(value, got[key], spot)
        else:
            lines.append(f"{_named(spot)}expected {short(value)}, is not there")
    return lines


def _are_lists(one: Any, other: Any) -> bool:
    return type(one) is type(other) and isinstance(one, Sequence) and not isinstance(one, str | bytes)


def _key(place: str, key: Any) -> str:
    return f"{place}[{key!r}]"


def _named(place: str) -> str:
    return f"{place}: " if place else ""
