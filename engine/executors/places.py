"""How many tasks may run at once: ``max_concurrency`` where there is an event loop."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from ..core.task import NodeTask


class Places:
    """So many tasks may run at once. One that waits for tasks it has called lends them its place.

    Else those who wait could take all places from those they wait for. Used on one event loop's thread alone.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._queue: deque[anyio.Event] = deque()
        self._holders: set[NodeTask] = set()
        #: Who has called tasks that have not ended: how many, and whether they have its place.
        self._calls: Counter[NodeTask] = Counter()
        self._lenders: set[NodeTask] = set()

    async def take(self, task: NodeTask) -> None:
        """Wait for a place, in the order of asking."""
        if self._free > 0:
            self._free -= 1
        else:
            turn = anyio.Event()
            self._queue.append(turn)
            try:
                await turn.wait()
            except BaseException:
                if turn.is_set():
                    self._give_up_one()
                else:
                    self._queue.remove(turn)
                raise
        self._holders.add(task)

    def leave(self, task: NodeTask) -> None:
        """Give up the place of a task, if it has one."""
        if task in self._holders:
            self._holders.remove(task)
            self._give_up_one()

    def _give_up_one(self) -> None:
        self._free += 1
        while self._queue and self._free > 0:
            self._free -= 1
            self._queue.popleft().set()

    @asynccontextmanager
    async def of_call(self, task: NodeTask, caller: NodeTask) -> AsyncIterator[None]:
        """Hold a place for a task that ``caller`` has called: the first has the caller's own."""
        self._calls[caller] += 1
        try:
            if caller in self._holders:
                self._holders.remove(caller)
                self._lenders.add(caller)
                self._holders.add(task)
            else:
                await self.take(task)
            yield
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                del self._calls[caller]
                self._return_to(caller)
            self.leave(task)

    def _return_to(self, caller: NodeTask) -> None:
        """Let a caller have a place again, now that it need not wait: at once, even if none is free."""
        if caller in self._lenders:
            self._lenders.remove(caller)
            self._holders.add(caller)
            self._free -= 1
