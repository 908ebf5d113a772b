"""Where things are: configurations in the package or the clone, binaries and state in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from otel_stream.cli.backends.errors import BackendsError

_PACKAGE = Path(__file__).parents[2]


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
    """Return the folder ``collector-config`` of the installed package, or of the clone.

    Raises:
        BackendsError: it is in neither.
    """
    for folder in (_PACKAGE / "collector-config", _PACKAGE.parent / "collector-config"):
        if folder.is_dir():
            return folder
    raise BackendsError(
        "the folder collector-config was not installed with otel-stream: use a clone of its repository"
    )


def pins() -> Path:
    """Return the clone's folder ``backends``, which says what is built.

    Raises:
        BackendsError: this is no clone.
    """
    folder = _PACKAGE.parent / "backends"
    if not (folder / "pins.toml").is_file():
        raise BackendsError(
            "backends are built in a clone of the repository, and this is an installed package: "
            "run make backends in a clone, or use docker"
        )
    return folder
