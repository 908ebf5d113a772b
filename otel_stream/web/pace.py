"""Whose turn it is to be sent something: readers, however many, take little of what runs beside them.

A server of runs has one loop for its runs and their readers. So readers are served one after another, what
each takes is measured, and the next one's turn comes so much later that all of them together take a small
share of the loop's time as long as runs go on. The more readers there are, the longer they wait for a turn,
and the larger are the pieces that they find then.
"""

from __future__ import annotations

import asyncio
import types
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from time import monotonic, thread_time
from typing import Any, Final

#: Seconds until the next turn, for each that a reader has taken: while runs go on, and while none does.
_BESIDE_RUNS: Final = 25
_ALONE: Final = 1
#: What took longer was not the reader, but what came between, such as a collection of garbage.
_LONGEST_PAUSE: Final = 0.25


class Pace:
    """Turns of a server's readers."""

    def __init__(self) -> None:
        #: The loop that it is in, once a reader has asked for its turn.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[asyncio.Future[None]] = deque()
        self._due = False
        #: Seconds that readers have taken since the last turn, and when the next one may be.
        self._spent = self._next = 0.0
        #: How many runs go on in the loop.
        self.runs = 0
        #: Whether nobody has to wait any more.
        self.hurry = False

    def spend(self, seconds: float) -> None:
        """Say what a reader has taken of the loop."""
        self._spent += seconds

    def turn(self) -> asyncio.Future[None]:
        """Return what is done when it is somebody's turn, once it is given to ``queue``."""
        self.loop = asyncio.get_running_loop()
        return self.loop.create_future()

    def queue(self, turn: asyncio.Future[None]) -> None:
        """Let a reader have its turn behind those that wait already: ``turn`` is done then."""
        self._queue.append(turn)
        if not self._due:
            self._due = True
            self._call()

    def _call(self) -> None:
        loop, pause = asyncio.get_running_loop(), self._next - monotonic()
        if self.hurry or pause <= 0:
            loop.call_soon(self._turn)
        else:
            loop.call_later(pause, self._turn)

    def _turn(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        # Behind the reader's own step, which has been called for just now.
        asyncio.get_running_loop().call_soon(self._after)

    def _after(self) -> None:
        pause = self._spent * (_BESIDE_RUNS if self.runs else _ALONE)
        self._next = monotonic() + min(pause, _LONGEST_PAUSE)
        self._spent = 0.0
        self._due = bool(self._queue)
        if self._due:
            self._call()


@types.coroutine
def measured(work: Awaitable[Any], spend: Callable[[float], None]) -> Generator[Any, Any, Any]:
    """Await ``work`` and tell ``spend`` how many seconds of its thread each step of it takes."""
    steps: Any = work.__await__()
    step, given = steps.send, None
    while True:
        began = thread_time()
        try:
            waits = step(given)
        except StopIteration as end:
            return end.value
        finally:
            spend(thread_time() - began)
        try:
            given = yield waits
            step = steps.send
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the work
            step, given = steps.throw, error
