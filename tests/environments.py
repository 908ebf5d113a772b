"""Environments of their own for what can't run in ours: other versions, other people's suites."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def made(place: Path, *packages: str, of: str = "") -> str:
    """Return the interpreter of an environment with ``packages``, arguments of pip's.

    It is made anew if they have changed, or ``of``, what else it is made of.
    """
    python = str(place / "bin" / "python")
    made_of = (ROOT / "pyproject.toml").read_text() + repr(packages) + of + sys.version
    stamp = hashlib.sha256(made_of.encode()).hexdigest()
    if not (place / "stamp").exists() or (place / "stamp").read_text() != stamp:
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        install(python, *packages)
        (place / "stamp").write_text(stamp)
    return python


def install(python: str, *arguments: str) -> None:
    """Install what ``arguments`` of pip's say: with uv where it is there, since it is faster."""
    uv = shutil.which("uv")
    start = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    subprocess.run([*start, "--quiet", *arguments], check=True)
