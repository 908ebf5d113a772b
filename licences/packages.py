"""Packages of npm: those of a lock file, by the licence that they declare there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from licences.policy import Dependency

#: Folders that hold what others made.
_NOT_OURS = frozenset({"node_modules", ".venv"})


def locks(root: Path) -> Iterator[Path]:
    """Yield the lock files of a clone."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NOT_OURS)
        if "package-lock.json" in files:
            yield Path(folder) / "package-lock.json"


def dependencies(lock: Path) -> list[Dependency]:
    """Return the packages of a lock file."""
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    return sorted(
        Dependency(
            place.rpartition("node_modules/")[2],
            str(one["version"]),
            (str(one["license"]),) if "license" in one else (),
        )
        for place, one in packages.items()
        if place and not one.get("link")
    )
