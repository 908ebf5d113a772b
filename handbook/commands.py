"""The page of the program's commands, by what it says itself: written anew whenever the site is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from otel_stream.cli.app import app

PAGE: Final = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
_INTRODUCTION: Final = """# otel-stream, the program

`python -m otel_stream` is the same. Exit codes are 0: it worked, 1: it failed, 2: it was asked for wrongly,
130: interrupted.
"""


def page() -> str:
    """Return the page."""
    return _INTRODUCTION + "".join(_sections(()))


def _sections(path: tuple[str, ...]) -> Iterator[str]:
    text = _help(path)
    title = " ".join(("otel-stream", *path))
    yield f"\n## {title}\n\n```text\n{text}\n```\n"
    _, _, commands = text.partition("\nCommands:\n")
    for name in re.findall(r"^  ([a-z-]+) ", commands, re.MULTILINE):
        yield from _sections((*path, name))


def _help(path: tuple[str, ...]) -> str:
    told = CliRunner().invoke(app, [*path, "--help"], prog_name="otel-stream", env={"COLUMNS": "100"})
    return "\n".join(line.rstrip() for line in told.stdout.strip().splitlines())
