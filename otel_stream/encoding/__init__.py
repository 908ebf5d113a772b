"""JSON of anything a graph may carry. Never fails; what JSON can't say, or is too much, is described.

The quick way is msgspec's own walk (``quick``), into a buffer that can't grow, for a few objects that refer
to each other can stand for a tree without end. What is too large for it, nested too deeply or foreign goes
the careful way (``careful``): item by item, without recursion, and on an account of what it costs. Both say
the same of the same value.

Where the careful way stops, ``{"type": ..., "repr": "<why>"}`` stands for what is not shown; for the rest of
a mapping, under the key ``…``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from otel_stream.encoding.careful import Encoding
from otel_stream.encoding.foreign import NO_TEXT, TOO_LARGE, clean, text_of
from otel_stream.encoding.printing import printable
from otel_stream.encoding.quick import MAX_DEPTH, quick, tiny

__all__ = ["MAX_DEPTH", "Encoding", "clean", "decode", "encode", "joined", "printable", "shown", "tiny"]

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON in UTF-8.

    Pydantic models (LangChain messages among them) become their fields, an exception
    ``{"type", "message"}``, anything else unknown ``{"type", "repr"}``.
    """
    text = quick(value)
    return Encoding().text(value) if text is None else text


def joined(value: Any) -> bytes:
    """Return the JSON of what consists of what JSON knows, or of JSON (``msgspec.Raw``).

    Raises:
        Exception: it consists of something else.
    """
    return _ENCODER.encode(value)


def decode(text: bytes | str) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def shown(value: Any) -> str:
    """Return ``repr(value)``, or its JSON if that is broken, or too much to ask for. Never fails."""
    text = text_of(value)
    return encode(value).decode() if text in (NO_TEXT, TOO_LARGE) else text
