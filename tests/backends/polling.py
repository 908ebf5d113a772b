"""Asking again until something is so."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(ask: Callable[[], T], accept: Callable[[T], bool] = bool, seconds: float = 45) -> T:
    """Return the first answer of ``ask`` that is accepted; after ``seconds`` the last one, accepted or not.

    The caller compares what it got with what it wants, so that a failure shows the difference.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if accept(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)
