"""What stands for an object that JSON knows nothing of: a builtin container of it, or a description."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from enum import Enum
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import msgspec

from otel_stream.encoding.measure import PLAIN, definer, fits, is_model

__all__ = [
    "NO_TEXT",
    "REST",
    "asked",
    "can_be_walked",
    "clean",
    "described",
    "dumped",
    "is_model",
    "stand_in",
    "text_of",
]

#: Longest text of a foreign object or an exception that is shown, in characters.
MAX_TEXT: Final = 1024 * 1024
#: Most entries of a foreign mapping that are asked for.
MAX_ENTRIES: Final = 100_000
#: The key of what stands for the rest of a mapping.
REST: Final = "…"

#: Trees larger than this, in bytes, or deeper, are not left to foreign code. A model is two levels.
_LARGE: Final = 16 * 1024 * 1024
_DEPTH: Final = 128
#: What is walked through without asking how large it is, in bytes of JSON.
_ROOM: Final = 4 * 1024
#: What is said instead of what foreign code would say of them.
TOO_LARGE: Final = "<too large>"
#: What is said where it breaks.
NO_TEXT: Final = "<no repr>"
_REQUIRED: Final = object()
_ENCODER: Final = msgspec.json.Encoder()


def stand_in(value: Any) -> Any:
    """Return a builtin value for ``value``, or its description as JSON. Never fails."""
    kind = type(value)
    try:
        found = _described(value) if issubclass(kind, BaseException | type) else _found(value, kind)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - what a foreign value raises is no reason to show nothing
        return _described(value)
    return found if type(found) in PLAIN or type(found) is msgspec.Raw else _described(value)


def dumped(value: Any) -> Any:
    """Return what a pydantic model, or something like it, says it consists of.

    Raises:
        BaseException: whatever it raises instead.
    """
    if not _is_small(value) and not can_be_walked(gc.get_referents(value)):
        # A model's own walk knows nothing of trees without end.
        return described(type(value), TOO_LARGE)
    return value.model_dump()


def can_be_walked(values: Collection[Any]) -> bool:
    """Tell whether foreign code that walks through ``values`` comes to an end soon."""
    return fits(values, _LARGE, _DEPTH)


def described(kind: type, text: str) -> msgspec.Raw:
    """Return what is shown in place of an object of ``kind``, as JSON."""
    return msgspec.Raw(_ENCODER.encode({"type": clean(kind.__name__), "repr": text}))


def text_of(value: Any) -> str:
    """Return ``repr(value)`` if ``value`` may be asked for it. Never fails."""
    kind = type(value)
    harmless = definer(kind, "__repr__") is object or issubclass(kind, type)
    return asked(repr, value) if harmless or can_be_walked(_inside(value)) else TOO_LARGE


def asked(ask: Callable[[Any], str], value: Any) -> str:
    """Return what ``repr`` or ``str`` says of ``value``, cut if it says too much. Never fails."""
    try:
        text = str.__str__(ask(value))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - even that may be broken
        return NO_TEXT
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    return clean(text)


def clean(text: str) -> str:
    """Return ``text`` as UTF-8 can say it: every lone surrogate in it becomes U+FFFD.

    They come from names of files (``os.fsdecode``) and from models that are cut in the middle of a
    character; two that belong together become the character that they stand for.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _found(value: Any, kind: type) -> Any:
    if is_model(kind) or definer(kind, "model_dump"):
        return dumped(value)
    for odd, told in _ODD:
        if issubclass(kind, odd):
            return told(value)
    for names in ("__dataclass_fields__", "__attrs_attrs__"):
        if definer(kind, names):
            return _attributes(value, getattr(kind, names))
    return _described(value)


def _described(value: Any) -> msgspec.Raw:
    kind = type(value)
    if issubclass(kind, BaseException):
        text = asked(str, value) if can_be_walked(_inside(value)) else TOO_LARGE
        return msgspec.Raw(_ENCODER.encode({"type": clean(kind.__name__), "message": text}))
    return described(kind, text_of(value))


def _inside(value: Any) -> list[Any]:
    return [one for one in gc.get_referents(value) if one is not type(value)] or [None]


# -- models ---------------------------------------------------------------------------------------


def _is_small(value: Any) -> bool:
    """Tell whether a model has few fields: their JSON, made without its code, has room in a buffer."""
    buffer = bytearray(_ROOM)
    try:
        with memoryview(buffer):
            _INSIDE.encode_into((value.__dict__, value.__pydantic_extra__), buffer)
    except Exception:  # noqa: BLE001 - not known: it takes a closer look
        return False
    return True


def _fields(value: Any) -> Any:
    return (value.__dict__, value.__pydantic_extra__) if is_model(type(value)) else None


_INSIDE: Final = msgspec.json.Encoder(enc_hook=_fields)


# -- other classes --------------------------------------------------------------------------------


def _attributes(value: Any, declared: Any) -> dict[str, Any]:
    names = list(declared) if isinstance(declared, dict) else [one.name for one in declared]
    # As msgspec does: what begins with an underscore is private.
    return {name: getattr(value, name) for name in names if name[:1] != "_" and hasattr(value, name)}


def _struct_fields(value: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that the quick way shows."""
    config = value.__struct_config__
    pairs = [(name, getattr(value, name)) for name in value.__struct_fields__]
    if config.omit_defaults:
        required = len(pairs) - len(value.__struct_defaults__)
        defaults = (*[_REQUIRED] * required, *value.__struct_defaults__)
        pairs = [pair for pair, default in zip(pairs, defaults, strict=True) if pair[1] is not default]
    return dict(pairs)


def _entries(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what a foreign mapping says it contains, as far as it comes to an end."""
    told = iter(value.items())
    entries = dict(islice(told, MAX_ENTRIES))
    with suppress(StopIteration):
        next(told)
        entries[REST] = described(type(value), TOO_LARGE)
    return entries


_ODD: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (Enum, lambda value: value.value),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, lambda value: dict(dict.items(value))),
    (list, lambda value: list(list.__iter__(value))),
    (tuple, lambda value: list(tuple.__iter__(value))),
    (set, lambda value: list(set.__iter__(value))),
    (frozenset, lambda value: list(frozenset.__iter__(value))),
    (deque, lambda value: list(deque.__iter__(value))),
    (msgspec.Struct, _struct_fields),
    (MappingProxyType, _entries),
    (Mapping, _entries),
)
