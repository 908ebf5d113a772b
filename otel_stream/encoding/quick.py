"""The quick way to JSON: of a small value that runs no foreign code but pydantic's, as a whole."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otel_stream.encoding.foreign import dumped, is_model

#: Containers nested deeper than this are described instead of shown.
MAX_DEPTH: Final = 64
#: Sizes of buffers that are tried, in bytes; most values fit into the first.
_TINY: Final = (4 * 1024,)
_ROOMS: Final = (*_TINY, 64 * 1024)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class _Foreign(Exception):
    """There is something that only the careful way may ask."""


def tiny(value: Any) -> bytes | None:
    """Return the JSON of ``value`` if there is next to nothing of it."""
    return quick(value, rooms=_TINY)


def quick(value: Any, depth: int = MAX_DEPTH, rooms: tuple[int, ...] = _ROOMS) -> bytes | None:
    """Return the JSON of ``value``; None if that takes the careful way to tell."""
    for room in rooms:
        buffer = bytearray(room)
        try:
            # While somebody looks at it a buffer can't grow, so that this ends where the room does.
            with memoryview(buffer):
                _ENCODER.encode_into(value, buffer)
        except BufferError:
            continue
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a foreign value may raise anything; the careful way meets it
            return None
        text = bytes(buffer)
        return text if _is_shallow(text, depth) else None
    return None


def _is_shallow(text: bytes, depth: int) -> bool:
    """Tell whether containers are nested at most ``depth`` deep; brackets in texts may say no."""
    if text.count(b"[") + text.count(b"{") <= depth:
        return True
    brackets = text.translate(None, _NO_BRACKETS)
    for _ in range(depth):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not brackets:
            return True
    return False


def _models(value: Any) -> Any:
    if is_model(type(value)):
        return dumped(value)
    raise _Foreign


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_models)
