"""What a node's process says of it: a queue that its graph's process empties when its audience has room."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any, Final

from otel_stream.events import CustomWritten, Event, MessageWritten
from otel_stream.stream.wakeup import Waiter, in_event_loop, stop_asked, waiter

from ...core.task import NodeTask
from ...executors.ray import Said
from .pickling import dumps
from .told import Teller

#: Parts that an awaited write leaves under way: enough that a node need not wait for each to be heard.
WINDOW: Final = 64
#: Parts under way at which the thread of a sync node is held even if it does not ask to be.
LIMIT: Final = 1024
#: Parts that are sent at a time.
_GROUP: Final = 256


class Outlet:
    """The observer of a node that runs elsewhere than its graph."""

    def __init__(self, task: NodeTask, interest: int) -> None:
        self.interest = interest
        self._task = task
        self._teller: Teller | None = None
        self._items: deque[Any] = deque()
        #: How many were handed over and are not known to have been heard.
        self._handed = 0
        self._end: Any = None
        self._lock = Lock()
        self._puller: Waiter | None = None
        self._held: list[Waiter] = []

    def emit(self, event: Event) -> None:
        """Send ``event``, as it is now.

        Raises:
            TypeError: it holds what can't be pickled. It is the node that is told, which has written it.
        """
        if isinstance(event, CustomWritten) and event.task is self._task:
            self.say(("custom", dumps(event.data), event.time))
        elif isinstance(event, MessageWritten) and event.task is self._task:
            self.say(("message", dumps((event.chunk, dict(event.metadata))), event.time))
        else:
            self._teller = self._teller or Teller(self._task)
            self.say(("event", tuple(self._teller.tell(event))))

    async def drain(self) -> None:
        """Wait until most of what was said has been heard, and whoever heard it has room for more."""
        await self._until_less_than(WINDOW)

    def say(self, item: Any) -> None:
        """Send anything; from any thread. One without an event loop is held when too much is under way."""
        with self._lock:
            self._items.append(item)
            puller, self._puller = self._puller, None
            much = len(self._items) + self._handed > LIMIT
        if puller is not None:
            puller.wake()
        if much and not in_event_loop():
            coroutine = self._until_less_than(LIMIT)
            try:
                coroutine.send(None)  # it is this thread that waits
            except StopIteration:
                return
            coroutine.close()

    def finish(self, end: Any) -> None:
        """Say how the task has ended: the last that is said of it."""
        with self._lock:
            self._end = end
            puller, self._puller = self._puller, None
        if puller is not None:
            puller.wake()

    async def next(self, interest: int) -> Said:
        """Return what there is to say, as soon as there is something; what was said before has been heard."""
        self.interest = interest
        while True:
            with self._lock:
                self._handed = 0
                held, self._held = self._held, []
                said = self._take()
                self._puller = news = None if said is not None else waiter()
            for one in held:
                one.wake()
            if said is not None:
                return said
            assert news is not None
            await news.wait()

    def _take(self) -> Said | None:
        items = [self._items.popleft() for _ in range(min(_GROUP, len(self._items)))]
        self._handed = len(items)
        end = self._end if not self._items else None
        return Said(items, end) if items or end is not None else None

    async def _until_less_than(self, most: int) -> None:
        while not stop_asked():
            with self._lock:
                if len(self._items) + self._handed < most or self._end is not None:
                    return
                news = waiter()
                self._held.append(news)
            await news.wait()
