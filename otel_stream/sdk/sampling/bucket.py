"""So many a second, and some at once: what both limits of a rate, of spans and of traces, are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock


class TokenBucket:
    """Is full at first, with ``most`` tokens, and gets ``per_second`` new ones; ``clock`` tells seconds."""

    __slots__ = ("_clock", "_filled", "_lock", "_most", "_per_second", "_tokens")

    def __init__(self, per_second: float, most: float, clock: Callable[[], float] | None = None) -> None:
        self._per_second, self._most = per_second, most
        self._clock = clock or time.monotonic
        self._tokens = most
        self._filled = self._clock()
        self._lock = Lock()

    def take(self) -> bool:
        """Take a token, if there is one. From any thread."""
        now = self._clock()
        with self._lock:
            new = max(0.0, now - self._filled) * self._per_second
            self._filled = max(now, self._filled)
            self._tokens = min(self._most, self._tokens + new)
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def after_fork(self) -> None:
        """Replace what a thread of the parent may hold."""
        self._lock = Lock()
