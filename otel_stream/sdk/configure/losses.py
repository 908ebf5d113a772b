"""What is said of telemetry that does not arrive: while it happens, and in sum at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from threading import Lock
from typing import Final

_logger = logging.getLogger("otel_stream.sdk")

#: Seconds between two lines about the same cause.
_PAUSE: Final = 60.0
#: Causes that are told apart; what is said about the others is said of all of them together.
_MOST: Final = 16


#: Longest reason that is repeated, in characters: receivers say what they like.
_LONGEST: Final = 300


def _in_one_line(said: str) -> str:
    """Return what somebody else said as a part of a line of ours, which it can't end or colour."""
    line = "".join(character if character.isprintable() else " " for character in said[: _LONGEST + 1])
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


class Losses:
    """Losses on the way to ``destination``, by cause."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._lock = Lock()
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}
        #: What the first item that was lost was lost for.
        self._first = ""

    def note(self, reason: str) -> None:
        """Remember why something was lost, if it is the first time."""
        self._first = self._first or _in_one_line(reason)

    def add(self, size: int, reason: str) -> None:
        """Say that ``size`` items were lost, unless the same was said in the last minute.

        With ``size`` 0 the receiver took everything, and warned.
        """
        reason = _in_one_line(reason)
        if size:
            self.note(reason)
        number = self._due(size, reason)
        if number is None:
            return
        if number:
            _logger.warning(
                "Telemetry does not arrive at %s; %d items are lost, and more may be. %s",
                self._destination,
                number,
                reason,
            )
        else:
            _logger.warning("%s takes telemetry, and warns: %s", self._destination, reason)

    def _due(self, size: int, reason: str) -> int | None:
        cause = f"{bool(size)} {reason[:40]}"
        now = time.monotonic()
        with self._lock:
            if cause not in self._said and len(self._said) >= _MOST:
                cause = f"{bool(size)}"
            self._unsaid[cause] = self._unsaid.get(cause, 0) + size
            if now - self._said.get(cause, -_PAUSE) < _PAUSE:
                return None
            self._said[cause] = now
            return self._unsaid.pop(cause)

    def sum_up(self, lost: Mapping[str, int], cause: str = "") -> None:
        """Say at the end what was lost, by signal, and why: for ``cause``, or what was the first."""
        if lost:
            what = ", ".join(f"{number} {name}" for name, number in lost.items())
            _logger.warning(
                "Telemetry was lost on its way to %s: %s. %s: `otel-stream doctor` looks for the reason.",
                self._destination,
                what,
                cause or self._first.rstrip(".") or "It took too long",
            )
