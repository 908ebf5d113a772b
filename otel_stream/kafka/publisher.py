"""Who has something to send: the runs of a sink, and the line that looks after them while there are any."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Protocol

from otel_stream.forking import in_child
from otel_stream.kafka import line
from otel_stream.kafka.client import Broker
from otel_stream.stream.wakeup import Waiter, waiter


class Sender(line.Sender, Protocol):
    """What is asked of a sender besides."""

    def rest(self) -> bool:
        """See that ``Publisher.ready`` is called when there is something again; False: there is already."""
        ...

    def due_in(self) -> float | None:
        """Return in how many seconds there is something by the clock alone, None if never."""

    def done(self) -> None:
        """Take note that nothing more is sent of it."""


class Publisher:
    """The senders of one sink. A line lasts while there are any, or as long as it is to be kept.

    What other threads tell it is a mark that there is news: it never waits for a broker, and never raises.
    """

    def __init__(self, broker: Broker, beat: float) -> None:
        self._broker = broker
        self._beat = beat
        self._kept = False
        self._begin()
        in_child(self._begin)

    def _begin(self) -> None:
        """Begin with nothing: the runs of a parent process are its own."""
        self._lock = threading.Lock()
        self._senders: dict[Sender, None] = {}
        self._ready: deque[Sender] = deque()
        self._sleeper: Waiter | None = None
        self._line: line.Line | None = None

    def keep(self, kept: bool) -> None:
        """Have the line stay though there is nothing to send; or not."""
        with self._lock:
            self._kept = kept
        self._news()

    def ready(self, sender: Sender) -> None:
        """Take note that ``sender`` has something, for the first time or again."""
        self._ready.append(sender)
        if self._line is None or sender not in self._senders:
            self._admit(sender)
        self._news()

    def _admit(self, sender: Sender) -> None:
        with self._lock:
            if sender.given_up:
                return
            self._senders[sender] = None
            if self._line is not None:
                return
            started = line.Line(self._broker, self, self._beat)
            try:
                started.start()
            except RuntimeError as error:  # no thread is to be had
                del self._senders[sender]
                failed = error
            else:
                self._line = started
                return
        sender.fail(failed)

    def forget(self, sender: Sender) -> None:
        """Send nothing more of ``sender``. If nobody waits for anything, what is under way is left."""
        leaving = None
        with self._lock:
            known = sender in self._senders
            self._senders.pop(sender, None)
            if sender.given_up and self._deserted:
                leaving, self._line = self._line, None
        if known:
            sender.done()
        if leaving is not None:
            leaving.leave()
        self._news()

    def _news(self) -> None:
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            sleeper.wake()

    @property
    def _deserted(self) -> bool:
        return not (self._kept or self._senders)

    def senders(self) -> tuple[Any, ...]:
        """Return those that are not done."""
        with self._lock:
            return tuple(self._senders)

    # --- For the line -----------------------------------------------------------------------------------

    def ends(self, asking: line.Line, /) -> bool:
        """Return whether the line that asks is to end, since there is nothing to send any more."""
        with self._lock:
            if self._line is asking:
                if not self._deserted:
                    return False
                self._line = None
            return True

    def next_sender(self) -> Sender | None:
        """Return who has something, None if nobody has. Its turn ends with ``had_its_turn``."""
        return self._ready.popleft() if self._ready else None

    def had_its_turn(self, sender: Sender) -> None:
        """Let ``sender`` come again when it has something."""
        if not sender.rest():
            self._ready.append(sender)

    async def rest(self, until: float) -> None:
        """Wait for news, or until then, by the monotonic clock."""
        sleeper = self._sleeper = waiter()
        if self._ready or self._deserted:
            return
        due = [one for sender in self.senders() if (one := sender.due_in()) is not None]
        await sleeper.wait(max(0.0, min([until - time.monotonic(), *due])))
        self._ready += [sender for sender in self.senders() if sender.due_in() == 0]
