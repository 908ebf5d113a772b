"""Which files an audit reads."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .state import SourceFile

#: Packages of the running Python's own standard library: real code that is on every machine.
DEFAULT_PACKAGES = (
    "asyncio",
    "concurrent",
    "email",
    "html",
    "http",
    "importlib",
    "json",
    "logging",
    "multiprocessing",
    "tomllib",
    "urllib",
    "wsgiref",
    "xml",
    "zoneinfo",
)

#: Files above this many bytes are generated more often than written, and would crowd out the rest.
LARGEST = 1_048_576

#: Folders that hold other people's code or none at all; hidden ones are left out as well.
_NOT_OURS = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


class NothingToAudit(ValueError):
    """The path does not exist or has no Python source in it; the text is one sentence with a remedy."""


class Target(NamedTuple):
    """Where to look: ``paths`` are files or folders below ``root``."""

    root: str
    paths: tuple[str, ...]


class Selection(NamedTuple):
    """What was found. ``left_out`` counts files by reason: ``"too large"``, ``"beyond the limit"``."""

    files: list[SourceFile]
    left_out: dict[str, int]


def target(path: str | None) -> Target:
    """Return what an audit of ``path`` looks at; None stands for parts of the standard library.

    Raises:
        NothingToAudit: there is no such file or folder.
    """
    if path is None:
        library = Path(sysconfig.get_path("stdlib"))
        return Target(str(library), tuple(name for name in DEFAULT_PACKAGES if (library / name).is_dir()))
    place = Path(path)
    if not place.exists():
        raise NothingToAudit(
            f"PATH {path!r} does not exist: name a file or folder with Python source, "
            "or leave PATH out to audit parts of the standard library."
        )
    return Target(str(place.parent), (place.name,)) if place.is_file() else Target(str(place), (".",))


def select(root: str, paths: Sequence[str], limit: int) -> Selection:
    """Find at most ``limit`` Python files, sorted by path.

    Raises:
        NothingToAudit: there is no Python source at all.
    """
    found: dict[str, int] = {}
    too_large = 0
    for path in paths:
        for file in _python_files(Path(root, path)):
            size = file.stat().st_size
            if size > LARGEST:
                too_large += 1
            else:
                found[file.relative_to(root).as_posix()] = size
    if not found:
        large = f" of at most {LARGEST} bytes" if too_large else ""
        raise NothingToAudit(
            f"PATH {str(Path(root, *paths[:1]))!r} has no Python source (*.py{large}) in it: "
            "name another folder, or leave PATH out to audit parts of the standard library."
        )
    names = sorted(found)
    left_out = {"beyond the limit": max(0, len(names) - limit), "too large": too_large}
    return Selection([SourceFile(path=name, size=found[name]) for name in names[:limit]], left_out)


def _python_files(place: Path) -> Iterator[Path]:
    if place.is_file():
        if place.suffix == ".py":
            yield place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if name not in _NOT_OURS and not name.startswith("."))
        # A link that leads nowhere and a pipe have a name like a file's, but nothing to read.
        yield from (
            Path(folder, name) for name in names if name.endswith(".py") and Path(folder, name).is_file()
        )
