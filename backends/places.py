"""Where things are: pins and configurations in this clone, binaries and state in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

_CLONE = Path(__file__).parents[1]


def cache() -> Path:
    """Return the folder for what is built and what runs; it need not exist.

    ``OTEL_STREAM_BACKENDS_HOME`` names another one.
    """
    chosen = os.environ.get("OTEL_STREAM_BACKENDS_HOME")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    # A relative path is to be ignored, says the XDG specification.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "otel-stream" / "backends"


def binary(name: str) -> Path:
    """Return where the binary of a backend is when it is built."""
    return cache() / "bin" / name


def configurations() -> Path:
    """Return the folder ``collector-config``."""
    return _CLONE / "collector-config"


def pins() -> Path:
    """Return the folder ``backends``, which says what is built."""
    return _CLONE / "backends"
