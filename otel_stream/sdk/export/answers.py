"""What a receiver makes of a request, and how long one goes on asking."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event
from typing import Any, Final

import msgspec

#: Seconds before the second try, unless the receiver says; doubled for each that follows.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
#: Tries of one request.
MOST_TRIES: Final = 8


class Answer(msgspec.Struct, frozen=True):
    """What became of one request.

    ``taken``: as a whole, but for ``rejected`` items. ``too_large``: a shorter one might be taken.
    ``again``: the same request may be taken later, in so many seconds if it is above 0. ``reason`` is what
    the receiver, or the way to it, said.
    """

    taken: bool
    rejected: int = 0
    too_large: bool = False
    again: float | None = None
    reason: str = ""


def read_answer(body: Any, field: str) -> Answer:
    """Return what an OTLP response says: success, but for what it names."""
    partial = body.partial_success
    rejected = max(0, getattr(partial, field))
    return Answer(True, rejected, reason=partial.error_message)


class Patience:
    """How requests to one receiver are made until answered for good, each for ``seconds`` at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: Set when no further try is to be made.
        self.stopped = Event()
        #: Whether a request has been refused and waits for its next try.
        self.retrying = False

    def persist(self, attempt: Callable[[float], Answer]) -> Answer:
        """Make a request; ``attempt`` is given the seconds that are left."""
        try:
            return self._persist(attempt, time.monotonic() + self._seconds)
        finally:
            self.retrying = False

    def _persist(self, attempt: Callable[[float], Answer], deadline: float) -> Answer:
        pause, answer = FIRST_PAUSE, Answer(False)
        for _ in range(MOST_TRIES):
            answer = attempt(max(0.001, deadline - time.monotonic()))
            if answer.again is None or self.stopped.is_set():
                return answer
            self.retrying = True
            wait = answer.again or pause * random.uniform(0.8, 1.2)
            if wait > deadline - time.monotonic() or self.stopped.wait(wait):
                return answer
            pause = min(LONGEST_PAUSE, pause * 2)
        return answer
