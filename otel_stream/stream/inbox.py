"""What is done for one receiver, in order, outside of every lock.

A stream gives its parts away under a lock, so that their order is the same for all. Foreign code, a filter or
whoever prints, must not run there: it might take a lock of its own, which somebody else has who waits for the
stream's. So under the lock a job is only put here; whoever put it comes back without the lock and does it. If
another thread is at work already the job is left to that one: nobody waits for foreign code but who runs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeAlias

#: What is to be done, and with what: nearly always with a part and the event that it is made of.
Job: TypeAlias = tuple[Callable[[Any, Any], None], Any, Any]


class Inbox:
    """Jobs that one thread at a time does, in the order in which they came. They must not raise."""

    __slots__ = ("_busy", "jobs", "put")

    def __init__(self) -> None:
        #: Those that nobody has begun.
        self.jobs: deque[Job] = deque()
        self.put = self.jobs.append
        self._busy = Lock()

    def settle(self) -> None:
        """Do what is there, unless somebody does already."""
        jobs, busy = self.jobs, self._busy
        # Looked at again after letting go: a job that came just before must not be left there.
        while jobs and busy.acquire(False):
            try:
                while jobs:
                    do, part, event = jobs.popleft()
                    do(part, event)
            finally:
                busy.release()

    def do(self, job: Callable[[], None]) -> None:
        """Put ``job``, and see that it is done."""
        self.jobs.append((_call, job, None))
        self.settle()


def _call(job: Callable[[], None], _: None) -> None:
    job()
