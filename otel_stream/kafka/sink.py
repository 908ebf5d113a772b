"""``KafkaSink``: the parts of runs go to a topic, by the rules that receivers have."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from otel_stream.config import ConfigError, StreamConfig, as_config
from otel_stream.encoding import encode
from otel_stream.kafka.client import MAX_VALUE, Broker
from otel_stream.kafka.line import Record
from otel_stream.kafka.publisher import Publisher
from otel_stream.kafka.records import Headers, Kind, Origin, end_part
from otel_stream.parts import StreamPart
from otel_stream.stream.gap import Gap
from otel_stream.stream.guard import say
from otel_stream.stream.receiver import Outgoing
from otel_stream.stream.statistics import NOTHING, ReceiverStatistics
from otel_stream.stream.wakeup import Waiter, leave, waiter, wake_all
from otel_stream.trouble import placed

_logger = logging.getLogger("otel_stream.kafka")
#: Why a part was dropped that no broker takes.
_TOO_LARGE: Final = "too_large"


class KafkaSink:
    """Sends the parts of runs to ``topic``: ``graph.open_stream(x, StreamConfig(...), KafkaSink("runs"))``.

    ``config`` says which parts, and what happens when brokers take them too slowly or are away: up to
    ``buffer_size`` parts of each run wait, then ``overflow`` decides. A part counts as delivered when the
    brokers have acknowledged it. Its ``name`` tells several streams of one run apart in the topic.

    Entered as a context manager it keeps its connection until it is left; otherwise it connects for the runs
    that there are. Leaving a run, or the sink, waits until all is delivered, for ``flush_timeout`` seconds at
    most; what is left then is dropped, and counted.

    ``servers`` are host:port, a text or several; ``client`` are settings of aiokafka's, for TLS, say.
    Every ``heartbeat`` seconds the topic is told of runs that go on, so that consumers know of a lost one.

    Raises:
        ConfigError: a setting that can't be used.
    """

    def __init__(
        self,
        topic: str,
        config: StreamConfig | None = None,
        *,
        servers: str | list[str] = "127.0.0.1:9092",
        heartbeat: float = 5.0,
        flush_timeout: float = 30.0,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        self.topic = _text("topic", topic)
        asked = StreamConfig() if config is None else as_config(config)
        #: Of each run's parts; all metadata goes along, and the end is told in any case.
        self.config = replace(asked, include_metadata=True, include_end=False)
        self._stream = asked.name or ""
        self._heartbeat = _seconds("heartbeat", heartbeat)
        self._flush_timeout = _seconds("flush_timeout", flush_timeout)
        self._publisher = Publisher(Broker(topic, servers, client), self._heartbeat)
        self._gone = NOTHING

    def __repr__(self) -> str:
        return f"KafkaSink({self.topic!r})"

    def outgoing(self) -> RunSender:
        """Return what takes the parts of one run; ``open_stream`` asks for it."""
        return RunSender(self.config, self._publisher, Origin(self._stream, uuid.uuid4().hex[:16]), self)

    @property
    def heartbeat(self) -> float:
        """Seconds between the heartbeats of a run."""
        return self._heartbeat

    @property
    def flush_timeout(self) -> float:
        """Seconds that who leaves waits for the brokers."""
        return self._flush_timeout

    def add_up(self, statistics: ReceiverStatistics) -> None:
        """Keep the account of a run that is gone."""
        self._gone += statistics

    def statistics(self) -> ReceiverStatistics:
        """Return what became of every part of every run so far. What is under way counts as held."""
        return sum((one.statistics() for one in self._publisher.senders()), self._gone)

    async def aclose(self) -> None:
        """Send what is held, tell the topic of runs that go on without it, and close the connection."""
        self._publisher.keep(False)
        senders = self._publisher.senders()
        for sender in senders:
            sender.depart()
        for sender in senders:
            await sender.aclose()

    async def __aenter__(self) -> Self:
        self._publisher.keep(True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"KafkaSink.{name}: {value!r} is no {name}; give a non-empty string")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"KafkaSink.{name}: {value!r} is no time; give seconds, more than 0")
    return float(value)


class RunSender(Outgoing):
    """The parts of one run on their way to a topic. The line of its publisher reads it, in its own thread."""

    def __init__(self, config: StreamConfig, publisher: Publisher, origin: Origin, sink: KafkaSink) -> None:
        super().__init__(config)
        self._publisher = publisher
        self._origin = origin
        self._sink = sink
        self._run_id: str | None = None
        #: Where the records go, once the line knows.
        self.partition: int | None = None
        #: Of the next record that is a part or an end.
        self._number = 0
        #: Whether the topic knows of the run, has heard nothing since the last heartbeat, and of its end.
        self._greeted, self._silent, self._told = False, True, False
        self._done = False
        self._bell = _Bell(self, publisher)
        self._consumers.append(self._bell)
        self._flushing: deque[Waiter] = deque()

    def belongs_to(self, run_id: str) -> None:
        if self._run_id is None:
            self._run_id = run_id
            self._wake()

    @property
    def was_read(self) -> bool:
        """Whether somebody takes parts: the line does, as soon as there are brokers."""
        return True

    async def aclose(self) -> None:
        """Wait until all is delivered, or the sink's ``flush_timeout`` is over; then drop what is left."""
        deadline = time.monotonic() + (self._sink.flush_timeout if self._bell.rung else 0.0)
        while not self._done and (left := deadline - time.monotonic()) > 0:
            flushing = waiter()
            self._flushing.append(flushing)
            try:
                if not self._done:
                    await flushing.wait(left)
            finally:
                leave(self._flushing, flushing)
        if not self._done:
            self.close()

    def close(self) -> None:
        """Leave the stream and the topic at once: what is held or under way counts as dropped."""
        held = self._buffer.waiting()[0]
        super().close()
        if held:
            say(
                _logger,
                logging.WARNING,
                "%d parts of a run for topic %r are dropped, since no broker took them in time",
                held,
                self._sink.topic,
            )
        self._publisher.forget(self)

    def depart(self) -> None:
        """Send what is held, and no more of the run."""
        if not self._over:
            self._leave()

    # --- In the thread of the line -----------------------------------------------------------------------

    @property
    def key(self) -> bytes:
        """The id of the run, which keeps its records together."""
        return (self._run_id or "").encode()

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any longer."""
        return self._buffer.closed

    def next_record(self) -> Record | None:
        """Return what is to be sent next, None if there is nothing now."""
        over = self._over  # read before taking: what came until then must be sent
        if not self._greeted and self._run_id is not None:
            return self.beat()
        if self.admission is not None:
            self.admission.tick()
        part = self._buffer.lend()
        if part is not None:
            if self._producers and not self._buffer.over_capacity:
                wake_all(self._producers)
            return self._record_of(part)
        return self._last_record() if over and not self._told else None

    def _record_of(self, part: StreamPart) -> Record:
        self._run_id = self._run_id or part.run_id
        self._greeted, self._silent = True, False
        origin = None if part.type == "gap" else part
        record = Record(
            self,
            self._headers(Kind.PART, part),
            part.to_json(),
            _milliseconds(part),
            origin,
        )
        if len(record.value) > MAX_VALUE:
            self.too_large(record)
        return record

    def _last_record(self) -> Record | None:
        self._told = True
        if self._run_id is None:  # it never began
            self._publisher.forget(self)
            return None
        if self.end is not None:
            end = end_part(self._run_id, self.end, self._error)
            return Record(self, self._headers(Kind.END), end.to_json(), _now(), last=True)
        why = "the sink was closed" if self.failed is None else placed(self.failed)
        return Record(self, self._headers(Kind.LEFT), encode({"why": why}), _now(), last=True)

    def _headers(self, kind: Kind, part: StreamPart | None = None) -> Headers:
        number = None if kind is Kind.BEAT else self._number
        self._number += number is not None
        return self._origin.headers(kind, number, part)

    def beat(self) -> Record | None:
        """Return a heartbeat if nothing was sent since this was last asked."""
        silent, self._silent = self._silent, True
        if not silent or self._told or self._run_id is None:
            return None
        self._greeted = True
        return Record(self, self._headers(Kind.BEAT), encode({"every": self._sink.heartbeat}), _now())

    def rest(self) -> bool:
        """Ring the bell when there is something; False: there is already."""
        leave(self._consumers, self._bell)
        self._consumers.append(self._bell)
        return self._buffer.idle and (not self._over or self._told)

    def due_in(self) -> float | None:
        """Return in how many seconds a window closes, None if no clock decides."""
        return None if self.admission is None else self.admission.due_in()

    def acknowledged(self, record: Record) -> None:
        """Count what ``record`` stands for as delivered."""
        if record.part is not None:
            self._buffer.settled(record.part.type, record.part.weight)

    def too_large(self, record: Record) -> None:
        """Send a mark of the gap in the place of a part that no broker takes, which counts as dropped."""
        part = record.part
        if part is None:
            self.fail(ValueError(f"brokers take no record of {len(record.value)} bytes"))
            self.close()
            return
        self._buffer.forfeit(part.type, part.weight, _TOO_LARGE)
        gap = Gap()
        gap.add(part, _TOO_LARGE)
        record.value, record.part = gap.part().to_json(), None

    def done(self) -> None:
        """Let go of those who wait for the delivery, and keep the account."""
        self._buffer.close()
        self._sink.add_up(self._buffer.statistics())
        self._done = True
        wake_all(self._flushing)


class _Bell:
    """Wakes the line, as a waiter would its consumer."""

    def __init__(self, sender: RunSender, publisher: Publisher) -> None:
        self._sender = sender
        self._publisher = publisher
        #: Whether anything ever came.
        self.rung = False

    def wake(self) -> None:
        self.rung = True
        self._publisher.ready(self._sender)

    async def wait(self, seconds: float | None = None) -> None:
        """Nobody waits."""


def _milliseconds(part: StreamPart) -> int:
    return _now() if part.time_unix_nano is None else part.time_unix_nano // 1_000_000


def _now() -> int:
    return time.time_ns() // 1_000_000
