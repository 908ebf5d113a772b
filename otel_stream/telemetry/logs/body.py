"""Bodies of log events: one JSON string, or a summary without content.

A string because it is encoded twenty times faster into OTLP than a nested body, and because one
value that OTLP cannot carry would cost the whole batch its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final

from otel_stream.encoding import encode

#: Modes whose payload's keys are the program's own identifiers (channels, nodes, fields of the
#: payload). The keys of anything else may be content.
_NAMED_KEYS: Final = frozenset({"values", "updates", "tasks", "checkpoints", "debug"})
_MAX_KEYS: Final = 64

#: Where redaction finds the payload of a mode that has no path of its own.
PATHS: Final = {"messages": ("messages",), "custom": ("custom",)}


def head(text: bytes, length: int) -> str:
    """Return at most the first ``length`` bytes of ``text``, no character of which is cut in two."""
    return text[:length].decode(errors="ignore")


def sha256(text: bytes) -> str:
    """Return the digest that tells whether two bodies that were cut were the same."""
    return hashlib.sha256(text).hexdigest()


def chunks(text: bytes, length: int) -> list[str]:
    """Return ``text`` in pieces of at most ``length`` bytes, or of a single character."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = start + length
        # Bytes 10xxxxxx go on with a character.
        while end > start and end < len(text) and text[end] & 0xC0 == 0x80:
            end -= 1
        if end <= start:
            end = start + 1
            while end < len(text) and text[end] & 0xC0 == 0x80:
                end += 1
        pieces.append(text[start:end].decode())
        start = end
    return pieces


def summary(mode: str, data: Any, names: Collection[str]) -> str:
    """Describe ``data`` without its content: JSON with its type, keys and sizes.

    Sizes are lengths as ``len()`` gives them, null for what has none; nothing is serialised to
    learn them. In *values* and *updates* the keys are channels, the latter below their node; where one is
    not among the ``names`` of the graph's, all of them are the user's, and counted only.
    """
    try:
        return _describe(mode, data, names)
    except Exception:  # noqa: BLE001 - len() of a user's object is the user's code
        return "{}"


def sized(value: Any, size: int) -> str:
    """Describe ``value`` by its type and a size that is known already."""
    return _kind_and_size(type(value).__name__, str(size))


def _describe(mode: str, data: Any, names: Collection[str]) -> str:
    if mode == "updates" and type(data) is dict and len(data) == 1:
        node, update = next(iter(data.items()))
        if type(update) is dict:
            return _keyed(update, node, names)
    if mode == "messages" and isinstance(data, tuple | list) and data:
        return _sized(type(data[0]).__name__, getattr(data[0], "content", data[0]))
    if type(data) is dict and mode in _NAMED_KEYS:
        return _keyed(data, None, names if mode == "values" else data)
    return _sized(type(data).__name__, data)


def _keyed(data: dict[Any, Any], node: Any, names: Collection[str]) -> str:
    if len(data) > _MAX_KEYS or not all(map(names.__contains__, data)):
        return _sized("dict", data)
    sizes = [_size(value) for value in data.values()]
    return f"{_prefix(node, *data)}{','.join(sizes)}]}}"


@lru_cache(maxsize=1024)
def _prefix(node: Any, *keys: Any) -> str:
    # The keys of a node's updates rarely change, so their JSON is made once.
    named = {} if node is None else {"node": str(node)}
    shape = encode({**named, "type": "dict", "keys": [str(key) for key in keys]}).decode()
    return f'{shape[:-1]},"sizes":['


def _sized(kind: str, value: Any) -> str:
    return _kind_and_size(kind, _size(value))


def _kind_and_size(kind: str, size: str) -> str:
    return f'{{"type":{encode(kind).decode()},"size":{size}}}'


def _size(value: Any) -> str:
    return "null" if getattr(type(value), "__len__", None) is None else str(len(value))
