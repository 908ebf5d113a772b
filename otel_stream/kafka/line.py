"""The line to the brokers: a thread with one connection, which sends what there is.

Rules of this file
------------------
1. Of each partition one batch is under way at a time, and what was not acknowledged comes first in the next
   one: so the parts of a run are in the topic in their order, whatever fails.
2. A part has been delivered when the brokers have acknowledged it. Until then it is sent again, for as long
   as somebody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from otel_stream.kafka import client
from otel_stream.kafka.records import Headers

#: Records, and bytes of their values, that are under way at most before more are asked for.
_GROUP: Final = 1024
_GROUP_BYTES: Final = 256 * 1024
#: Records that one run gives before it is the next one's turn.
_TURN: Final = 16
#: Seconds before what has failed is tried again.
_PAUSE: Final = 0.1


class Sender(Protocol):
    """One run's parts on their way: what is asked of it, in the thread of the line."""

    #: Where they go, once that is known.
    partition: int | None

    @property
    def key(self) -> bytes:
        """What keeps its records together."""
        ...

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any longer."""
        ...

    def next_record(self) -> Record | None:
        """Return what is to be sent next, None if there is nothing now."""

    def beat(self) -> Record | None:
        """Return a heartbeat if nothing was sent since this was last asked."""

    def acknowledged(self, record: Record) -> None:
        """Take note that brokers have ``record``."""

    def too_large(self, record: Record) -> None:
        """Make of ``record``, which no broker takes, what can be sent in its place."""

    def fail(self, error: BaseException, why: str = "") -> None:
        """Give up."""


class Record(msgspec.Struct, eq=False):
    """What is sent, and what it stands for."""

    sender: Any  # a Sender
    headers: Headers
    value: bytes
    #: When what it tells came into being, in milliseconds since the Unix epoch.
    time: int
    #: The part whose delivery it is; None of marks of our own.
    part: Any = None
    #: Whether nothing of its run comes after it.
    last: bool = False


class Work(Protocol):
    """Where the line gets its work from."""

    def next_sender(self) -> Any:
        """Return a sender that has something, None if there is none. Its turn ends with ``had_its_turn``."""

    def had_its_turn(self, sender: Any) -> None:
        """Let ``sender`` come again when it has something."""

    def senders(self) -> tuple[Any, ...]:
        """Return all senders."""
        ...

    async def rest(self, until: float) -> None:
        """Wait for work, or until then, by the monotonic clock."""

    def ends(self, line: Any, /) -> bool:
        """Return whether there will be no work any more."""
        ...

    def forget(self, sender: Any) -> None:
        """Take note that ``sender`` is done."""


class Line(threading.Thread):
    """Sends until its work ends; ``beat``: the seconds between heartbeats."""

    def __init__(self, broker: client.Broker, work: Work, beat: float) -> None:
        super().__init__(name="otel-stream-kafka", daemon=True)
        self._broker = broker
        self._work = work
        self._beat = beat
        self._next_beat = time.monotonic() + beat
        #: What is not acknowledged, in its order.
        self._way: list[Record] = []
        #: Whether records are sent one by one, to find out which is too large.
        self._singly = False
        self._producer: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._left = False

    def leave(self) -> None:
        """End now, whatever is under way. From any thread."""
        self._left = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(task.cancel)

    def run(self) -> None:
        """Send, until there is no more to do."""
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, runs go on
            self._give_up(self._work.senders(), error)

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            while not self._left:
                self._collect()
                if self._way:
                    await self._deliver()
                elif self._work.ends(self):
                    return
                else:
                    await self._work.rest(self._next_beat)
        finally:
            await self._disconnect()

    def _collect(self) -> None:
        size = 0
        while len(self._way) < _GROUP and size < _GROUP_BYTES:
            sender = self._work.next_sender()
            if sender is None:
                break
            records = list(islice(iter(sender.next_record, None), _TURN))
            self._work.had_its_turn(sender)
            self._way += records
            size += sum(len(record.value) for record in records)
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + self._beat
            beats = (sender.beat() for sender in self._work.senders())
            self._way += [record for record in beats if record is not None]

    async def _deliver(self) -> None:
        """Send all that is under way until it is acknowledged."""
        while self._way:
            try:
                if self._producer is None:
                    self._producer = await self._broker.producer()
                await self._send()
            except client.REFUSALS as error:
                self._give_up({record.sender: None for record in self._way}, error)
            except client.UNREACHABLE as error:
                self._broker.missed(repr(error))
                await self._disconnect()
                await asyncio.sleep(_PAUSE)
            else:
                self._broker.found()
            self._way = [record for record in self._way if not record.sender.given_up]
        self._singly = False

    def _give_up(self, senders: Any, error: Exception) -> None:
        for sender in senders:
            sender.fail(error)
            self._work.forget(sender)

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await client.leave(producer)

    async def _send(self) -> None:
        """Send one batch to each partition that something is under way to, and wait for the answers.

        Raises:
            Exception: what one of them was refused with.
        """
        batches = await self._batches()
        topic = self._broker.topic
        futures = [await self._producer.send_batch(batch, topic, partition=n) for n, batch, _ in batches]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        sent: list[Record] = []
        failures = []
        for (_, _, records), answer in zip(batches, answers, strict=True):
            if not isinstance(answer, BaseException):
                sent += records
            elif not isinstance(answer, client.TOO_LARGE):
                failures.append(answer)
            elif len(records) > 1:
                self._singly = True
            else:
                records[0].sender.too_large(records[0])
        self._acknowledged(sent)
        if failures:
            raise failures[0]

    def _acknowledged(self, sent: list[Record]) -> None:
        known = {id(record) for record in sent}
        self._way = [record for record in self._way if id(record) not in known]
        for record in sent:
            record.sender.acknowledged(record)
            if record.last:
                self._work.forget(record.sender)

    async def _batches(self) -> list[tuple[int, Any, list[Record]]]:
        """Return for each partition a batch of the first records that go there."""
        batches: dict[int, tuple[Any, list[Record]]] = {}
        full: set[int] = set()
        for record in self._way:
            partition = await self._partition(record.sender)
            if partition in full:
                continue
            if partition not in batches:
                batches[partition] = self._producer.create_batch(), []
            batch, records = batches[partition]
            if (self._singly and records) or not _fits(batch, record):
                full.add(partition)
            else:
                records.append(record)
        for batch, _ in batches.values():
            batch.close()
        return [(partition, batch, records) for partition, (batch, records) in batches.items()]

    async def _partition(self, sender: Sender) -> int:
        known = sender.partition
        if known is None:
            known = sender.partition = await self._broker.partition(self._producer, sender.key)
        return known


def _fits(batch: Any, record: Record) -> bool:
    """Put ``record`` into ``batch``; False: there is no room."""
    added = batch.append(
        timestamp=record.time, key=record.sender.key, value=record.value, headers=record.headers
    )
    return added is not None
