"""Clean environments: an interpreter, and what is named, at the versions that the project is tried with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from release.artefacts import ROOT


def made(place: Path, python: str, *requirements: str) -> Path:
    """Return the interpreter of a new environment in ``place`` that has ``requirements`` and nothing else."""
    uv = shutil.which("uv")
    shutil.rmtree(place, ignore_errors=True)
    found = place / "bin" / "python"
    start = [uv, "venv", "--quiet", "--python", python] if uv else [python, "-m", "venv"]
    subprocess.run([*start, str(place)], check=True)  # noqa: S603
    install = [uv, "pip", "install", "--python", str(found)] if uv else [str(found), "-m", "pip", "install"]
    pinned = ["--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, *pinned, *requirements], check=True)  # noqa: S603
    return found
