"""Waiting until backends answer."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

from backends.errors import BackendsError

_PAUSE = 0.2


def answers(url: str, timeout: float = 2.0) -> bool:
    """Tell whether a GET of ``url`` is answered with 200 within ``timeout`` seconds."""
    # A proxy of the environment must not be asked for what listens on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def wait(
    ready: Mapping[str, str],
    deadline: float,
    say: Callable[[str], None],
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Wait until each of ``ready`` (name to URL) answers; ``deadline`` is in seconds from now.

    ``watch`` is called again and again meanwhile; what it raises ends the wait.

    Raises:
        BackendsError: some do not answer in time; names them.
    """
    missing = dict(ready)
    end = time.monotonic() + deadline
    told: list[str] = []
    while True:
        missing = {name: url for name, url in missing.items() if not answers(url)}
        if not missing:
            return
        watch()
        if time.monotonic() > end:
            shown = ", ".join(f"{name} at {url}" for name, url in missing.items())
            raise BackendsError(
                f"{shown} did not get ready within {deadline:g} s: see its log, or give it --wait"
            )
        if told != list(missing):
            told = list(missing)
            say(f"waiting for {', '.join(told)}")
        time.sleep(_PAUSE)
