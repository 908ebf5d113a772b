"""Runs in progress when their process is about to end: they are stopped, and waited for a while."""

from __future__ import annotations

import os
import time
from typing import Final, Protocol

from otel_stream.leaving import before_leaving


class Leavable(Protocol):
    """A run that can be stopped from any thread."""

    def leave(self) -> bool:
        """Cancel its nodes; return whether this thread can wait for that: it may be the one that runs it."""
        ...


#: The outermost runs, from their beginning to their end.
IN_PROGRESS: Final[set[Leavable]] = set()
#: Seconds between two looks at whether they have ended.
_LOOK: Final = 0.005


def end_runs(seconds: float) -> None:
    """Stop the runs in progress, and wait for their end, not longer than that."""
    deadline = time.monotonic() + seconds
    waiting = [run for run in tuple(IN_PROGRESS) if run.leave()]
    while time.monotonic() < deadline and not IN_PROGRESS.isdisjoint(waiting):
        time.sleep(_LOOK)


before_leaving(end_runs)
if hasattr(os, "register_at_fork"):
    # What is in progress at a fork is the parent's to end.
    os.register_at_fork(after_in_child=IN_PROGRESS.clear)
