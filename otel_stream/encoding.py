"""JSON of anything a graph may carry. Never fails; what JSON can't say is described.

The quick way is msgspec's own walk with a hook for foreign types. Whatever stops it (a cycle, a key
that is no string, a model that can't dump itself) sends the value down the careful way, which looks
at each item by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import msgspec

#: Containers nested deeper than this are described instead of shown.
MAX_DEPTH: Final = 64

#: No value of any field.
_REQUIRED: Final = object()


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON in UTF-8.

    Pydantic models (LangChain messages among them) become their fields, an exception
    ``{"type", "message"}``, anything else unknown ``{"type", "repr"}``.
    """
    try:
        return _ENCODER.encode(value)
    except Exception:  # noqa: BLE001 - a foreign value may raise anything; the careful way meets it
        return _ENCODER.encode(_plain(value, (), 0))


def encode_plain(value: Any) -> bytes:
    """Return the same as ``encode``, where the quick way can tell all of it.

    Raises:
        Exception: whatever stopped it.
    """
    return _ENCODER.encode(value)


def decode(text: bytes | str) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: it is no JSON.
    """
    return _DECODER.decode(text)


def _foreign(value: Any) -> Any:
    """Return what stands for a value of a type that JSON doesn't know."""
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": str(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump()
    if isinstance(value, Mapping):
        return dict(value)
    return {"type": type(value).__name__, "repr": repr(value)}


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_foreign)
_DECODER: Final = msgspec.json.Decoder()


def _plain(value: Any, above: tuple[int, ...], depth: int) -> Any:
    """Return ``value`` in terms of what the encoder takes for certain."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if id(value) in above:
        return {"type": type(value).__name__, "repr": "<cycle>"}
    if depth >= MAX_DEPTH:
        return {"type": type(value).__name__, "repr": "<too deep>"}
    try:
        return _opened(value, (*above, id(value)), depth + 1)
    except Exception:  # noqa: BLE001 - see above: this item can't be shown, the others can
        return _described(value)


def _opened(value: Any, above: tuple[int, ...], depth: int) -> Any:
    pairs = _pairs(value)
    if pairs is not None:
        return {_key(key): _plain(item, above, depth) for key, item in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, above, depth) for item in value]
    return msgspec.Raw(_ENCODER.encode(value))


def _pairs(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the names and values that ``value`` consists of, None if it is no such thing."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return _struct_pairs(value)
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in fields(value)]
    dump = getattr(value, "model_dump", None)
    dumped: Any = dump() if callable(dump) else None
    return list(dumped.items()) if isinstance(dumped, Mapping) else None


def _struct_pairs(value: msgspec.Struct) -> list[tuple[str, Any]]:
    """Return the fields that the quick way shows."""
    config = value.__struct_config__
    pairs = [(name, getattr(value, name)) for name in value.__struct_fields__]
    if not config.omit_defaults:
        return pairs
    required = len(pairs) - len(value.__struct_defaults__)
    defaults = (*[_REQUIRED] * required, *value.__struct_defaults__)
    return [pair for pair, default in zip(pairs, defaults, strict=True) if pair[1] is not default]


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    try:
        # As the quick way says it: the same value has the same JSON, whatever is beside it.
        (name,) = _DECODER.decode(_ENCODER.encode({key: None}))
    except Exception:  # noqa: BLE001 - see above
        return _described(key)["repr"]
    return str(name)


def _text(value: str) -> str:
    """Return ``value`` without lone surrogates, which UTF-8 can't say."""
    return value.encode(errors="replace").decode()


def _described(value: Any) -> dict[str, str]:
    try:
        text = _text(repr(value))
    except Exception:  # noqa: BLE001 - even that may be broken
        text = "<no repr>"
    return {"type": type(value).__name__, "repr": text}
