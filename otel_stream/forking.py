"""What a forked process does first: locks may be held by threads that it does not have."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod


def in_child(method: Callable[[], Any]) -> None:
    """Call the bound ``method`` in every forked child, as long as its object lives."""
    # The interpreter keeps what it is given for ever, so it is given something that keeps nothing.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_weakly(WeakMethod(method)))


def _weakly(method: WeakMethod[Callable[[], Any]]) -> Callable[[], None]:
    def call() -> None:
        alive = method()
        if alive is not None:
            alive()

    return call
