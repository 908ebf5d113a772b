"""Which licence a text is: Google's licensecheck is asked, by the program in the folder recognise."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

#: Names of files that hold a licence; NOTICE is about other things.
_NAME: Final = re.compile(r"(un)?licen[sc]e|copying", re.IGNORECASE)
#: Endings of files that are programs or pictures of the same name.
_NO_TEXT: Final = frozenset({".go", ".py", ".pyc", ".json", ".svg", ".png", ".js", ".ts", ".html", ".tmpl"})
#: The share of a text, in percent, that must be that of licences it was recognised as.
_ENOUGH: Final = 75.0
_PROGRAM: Final = Path(__file__).parent / "recognise"


def texts(folder: Path) -> list[Path]:
    """Return the files of a folder that hold a licence."""
    if not folder.is_dir():
        return []
    files = (file for file in folder.iterdir() if _NAME.match(file.name) and file.is_file())
    return sorted(file for file in files if file.suffix.lower() not in _NO_TEXT)


def recognised(files: Iterable[Path]) -> Mapping[Path, tuple[str, ...]]:
    """Return the identifiers of the licences in each file; one that is hardly recognised has "unknown", too.

    Raises:
        OSError: there is no Go.
        subprocess.CalledProcessError: a file cannot be read.
    """
    asked = "".join(f"{file}\n" for file in sorted(set(files)))
    environment = {**os.environ, "GOWORK": "off"}
    command = ["go", "run", "-mod=readonly", "."]
    done = subprocess.run(  # noqa: S603 - a program of ours
        command, input=asked, cwd=_PROGRAM, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[Path, tuple[str, ...]] = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        unknown = ["unknown"] if answer["share"] < _ENOUGH else []
        found[Path(answer["path"])] = tuple(dict.fromkeys([*answer["ids"], *unknown]))
    return found
