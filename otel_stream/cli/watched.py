"""A viewer beside a command: the one that runs already, or one of its own in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Self

from otel_stream.cli.options import UsageError
from otel_stream.cli.terminal import say
from otel_stream.cli.view import environment, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_stream.view.places import Listening

#: Seconds that a viewer may take to start, and that a page is waited for.
_START: Final = 20
_PAGE: Final = 10


class Watched:
    """Lets this process export to a viewer, whose page shows it. To be used as a context manager.

    Raises:
        UsageError: there is no viewer, and none can be started.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            from otel_stream.view.places import data_folder
        except ImportError as error:
            raise UsageError(
                f"--view needs what is not installed ({error.name}): install otel-stream[view]"
            ) from None
        folder = data_folder()
        listening = running(folder) or self._start(folder)
        os.environ.update(environment(listening))
        say(f"Open {listening.link}")
        sys.stdout.flush()
        show(listening, folder)
        # A run of two seconds is over before a browser has started.
        _until(lambda: bool(about(listening).get("listeners")), _PAGE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def stay(self) -> None:
        """Keep the page there until Ctrl-C, if the viewer is ours."""
        if self._process is not None:
            say("The page stays there until Ctrl-C.")
            sys.stdout.flush()
            with contextlib.suppress(KeyboardInterrupt):
                self._process.wait()

    def _start(self, folder: Path) -> Listening:
        with tempfile.TemporaryFile("w+") as errors:
            self._process = process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-m", "otel_stream", "view", "--no-open", "--data", str(folder)],
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            _until(lambda: process.poll() is not None or running(folder) is not None, _START)
            found = running(folder)
            if found is None:
                self.__exit__()
                errors.seek(0)
                raise UsageError(f"the viewer did not start: {errors.read().strip() or 'it does not answer'}")
            return found


def running(folder: Path) -> Listening | None:
    """Return the viewer of a folder, if it answers."""
    from otel_stream.view.places import announced

    found = announced(folder)
    return found if found is not None and about(found) else None


def about(listening: Listening) -> dict[str, Any]:
    """Return what a viewer says of itself, nothing if it does not answer."""
    request = urllib.request.Request(  # noqa: S310 - our own, on loopback
        f"{listening.http}/api/about", headers={"Authorization": f"Bearer {listening.token}"}
    )
    with (
        contextlib.suppress(OSError, ValueError),
        urllib.request.urlopen(request, timeout=5) as answer,  # noqa: S310
    ):
        return dict(json.load(answer))
    return {}


def _until(fulfilled: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not fulfilled() and time.monotonic() < until:
        time.sleep(0.05)
