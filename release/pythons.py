"""The Pythons that we say we run on, and where they are on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Final

_PROJECT: Final = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
ADVERTISED: Final = re.findall(r"Python :: (3\.\d+)", "\n".join(_PROJECT["project"]["classifiers"]))


def found(version: str) -> str | None:
    """Return an interpreter of ``version``: the path's, or the newest that pyenv has."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted((pyenv / "versions").glob(f"{version}.*/bin/python"), key=_patch)
    for candidate in (shutil.which(f"python{version}"), *map(str, reversed(kept))):
        if candidate and _tells(candidate, version):
            return candidate
    return None


def _patch(python: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", python.parent.parent.name)]


def _tells(python: str, version: str) -> bool:
    """Whether it runs and is what its name says: a shim of pyenv's may be neither."""
    told = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)  # noqa: S603
    return told.returncode == 0 and told.stdout.startswith(f"Python {version}.")
