"""How long stored checkpoints are, for savers that serialise them as LangGraph's do: with a ``serde``."""

from __future__ import annotations

import copy
from typing import Any


class CountingSerde:
    """A saver's serialiser that counts the bytes it makes; all else is the serialiser's own."""

    def __init__(self, serde: Any) -> None:
        self._serde = serde
        #: Bytes made since somebody set this to 0.
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serde, name)

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        """Serialise ``value``; return the kind of encoding and the bytes."""
        kind, data = self._serde.dumps_typed(value)
        self.bytes += len(data)
        return kind, data


def counted(saver: Any) -> tuple[Any, CountingSerde | None]:
    """Return a view of ``saver``, and what counts its bytes; the saver itself and None if it has no serde."""
    if not callable(getattr(getattr(saver, "serde", None), "dumps_typed", None)):
        return saver, None
    view = copy.copy(saver)
    view.serde = CountingSerde(saver.serde)
    return view, view.serde
