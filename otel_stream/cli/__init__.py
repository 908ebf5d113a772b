"""The program ``otel-stream``."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the program with the arguments of the command line, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold what the terminal's encoding can't say; that must not end a run.
            stream.reconfigure(errors="backslashreplace")
    # Imported here: who imports the package for something else should not wait for typer and rich.
    from otel_stream.cli.app import app

    app(prog_name="otel-stream")
