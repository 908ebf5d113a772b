"""The one place where text reaches the terminal: nothing but text does, and a line stays one line.

Names, data and errors come from files, traces and models. What a terminal would obey (escape sequences,
control characters, changes of direction) is shown as Python writes it in a string instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from otel_stream.cli.options import UsageError
from otel_stream.encoding import printable


def say(text: str, *, err: bool = False) -> None:
    """Print one line."""
    typer.echo(printable(text), err=err)


def complain(error: object) -> None:
    """Print one line on standard error that begins with the program's name."""
    say(f"otel-stream: {error}", err=True)


def exit_code(work: Callable[[], int]) -> int:
    """Return what ``work`` returns; 2 if it can't be done as it was asked for, 141 if nobody reads on."""
    try:
        code = work()
        sys.stdout.flush()
    except UsageError as error:
        complain(error)
        return 2
    except BrokenPipeError:
        nobody_reads()
        return 141
    return code


def nobody_reads() -> None:
    """Let stdout lead nowhere: Python flushes it once more at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(text: bytes) -> None:
    """Print JSON, byte for byte; on a terminal with everything escaped that it would obey."""
    sys.stdout.flush()
    if sys.stdout.isatty():
        text = b"\n".join(printable(line, json=True).encode() for line in text.decode().split("\n"))
    # Not through text mode: the bytes are the point.
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()


def line(*parts: str | tuple[str, str]) -> Text:
    """Return texts, each alone or with its style, as one line."""
    return Text.assemble(
        *(printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts)
    )


class Output(Console):
    """Standard output or error: text is text, and a reader that left is an error like any other."""

    def __init__(self, **more: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **more)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render, and escape what the terminal would obey; what rich itself tells it is marked as such."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, text.split("\n"))), style)

    def on_broken_pipe(self) -> None:
        """Let it be raised, so that the run is stopped and telemetry shut down; rich would just exit."""
        raise BrokenPipeError
