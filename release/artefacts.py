"""Sources and wheel, built from a commit, twice, in two places: they are the same, or there is no release."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


class NotReproducibleError(Exception):
    """Two builds of one commit differ."""


def git(*arguments: str) -> str:
    """Return what git says of the repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()  # noqa: S603


def build(commit: str, place: Path) -> list[Path]:
    """Build sources and wheel of ``commit`` into ``place``, and again elsewhere, to compare.

    Raises:
        NotReproducibleError: a file is not the same twice.
        subprocess.CalledProcessError: the build fails.
    """
    shutil.rmtree(place, ignore_errors=True)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(prefix="another-place-") as two:
        first = _built(commit, Path(one), {"TZ": "UTC", "PYTHONHASHSEED": "1"})
        second = _built(commit, Path(two), {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2"})
        differing = [name for name in first | second if first.get(name) != second.get(name)]
        if differing:
            raise NotReproducibleError(f"built twice, and not the same: {', '.join(sorted(differing))}")
        place.mkdir(parents=True)
        return [Path(shutil.copy2(Path(one) / "dist" / name, place)) for name in sorted(first)]


def _built(commit: str, place: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of what is built, by name."""
    sources = place / "sources"
    with (place / "sources.tar").open("wb") as file:
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit]
        subprocess.run(command, stdout=file, check=True)  # noqa: S603
    with tarfile.open(place / "sources.tar") as archive:
        archive.extractall(sources, filter="data")
    installer = ["--installer", "uv"] if shutil.which("uv") else []
    command = [sys.executable, "-m", "build", *installer, "--outdir", str(place / "dist"), str(sources)]
    epoch = git("show", "--no-patch", "--format=%ct", commit)
    env = {**os.environ, **environment, "SOURCE_DATE_EPOCH": epoch}
    subprocess.run(command, env=env, check=True, capture_output=True)  # noqa: S603
    return {path.name: digest(path) for path in (place / "dist").iterdir()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
