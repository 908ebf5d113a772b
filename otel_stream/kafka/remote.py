"""``remote_stream``: the parts of a run in another process, out of a topic, in a receiver like any other."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from otel_stream.config import MODES, ConfigError, Custom, OverflowPolicy, StreamConfig, as_config
from otel_stream.encoding import decode
from otel_stream.kafka import client
from otel_stream.kafka.client import Broker
from otel_stream.kafka.errors import ProducerLostError, RemoteRunError
from otel_stream.kafka.records import (
    Envelope,
    ForeignRecordError,
    Kind,
    end_of,
    envelope,
    part_of,
)
from otel_stream.parts import StreamPart
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.sink import Outlet

#: Heartbeats that may be missing before the producer counts as lost.
_MISSING: Final = 3
#: Seconds that brokers are given to say whether there is more.
_ANSWER: Final = 3.0
#: Records that are taken at once; seconds to wait for the first.
_RECORDS, _WAIT = 512, 1.0


def remote_stream(
    topic: str,
    config: StreamConfig | None = None,
    *,
    run_id: str,
    stream: str = "",
    from_seq: int | None = None,
    since: dt.datetime | None = None,
    servers: str | list[str] = "127.0.0.1:9092",
    patience: float | None = None,
    client: Mapping[str, Any] | None = None,
) -> StreamReceiver:
    """Return a receiver of the parts that a ``KafkaSink`` sends of the run ``run_id``, from their beginning.

    It is like a receiver in the run's process, on asyncio, trio and threads, but that data is what JSON says
    of it: iterate it, and close it. Without ``config`` it gets all that is sent; with ``overflow="block"``
    what there is no room for stays in the topic. What is missing there is told by a gap. Iteration ends with
    the run, and raises ``RemoteRunError`` if that has failed, or ``ProducerLostError`` if nothing has come
    of it for ``patience`` seconds (by default three of the sink's heartbeats) while brokers were there.

    ``stream`` is the name of the sink's config. To go on where another receiver has stopped, give the ``seq``
    to begin with as ``from_seq``; ``since`` spares reading what was sent before.
    ``servers`` and ``client`` are as those of ``KafkaSink``.

    Raises:
        ConfigError: a setting that can't be used.
    """
    for name, value in (("topic", topic), ("run_id", run_id)):
        _check_text(name, value)
    if since is not None and since.tzinfo is None:
        raise ConfigError(f"remote_stream.since: {since!r} has no time zone; give one, datetime.UTC say")
    asked = StreamConfig(modes=MODES, subgraphs=True) if config is None else as_config(config)
    receiver = _RemoteReceiver(asked)
    reader = _Reader(
        Broker(topic, servers, client), run_id, stream, from_seq, since, patience, everything=config is None
    )
    reader.attach(receiver)
    reader.start()
    return receiver


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"remote_stream.{name}: {value!r} is no {name}; give a non-empty string")


class _RemoteReceiver(StreamReceiver):
    """Makes nobody wait but its reader, which is no cause for a warning: the topic keeps what has no room."""

    def _warn_of_stall(self) -> None:
        pass


class _Reader(threading.Thread):
    """Reads the records of one run and gives their parts to receivers, until the end or the last has left."""

    def __init__(
        self,
        broker: Broker,
        run_id: str,
        stream: str,
        from_seq: int | None,
        since: dt.datetime | None,
        patience: float | None,
        *,
        everything: bool,
    ) -> None:
        super().__init__(name="otel-stream-kafka-reader", daemon=True)
        self._broker = broker
        self._run_id, self._stream = run_id, stream
        self._since = since
        self._everything = everything
        self._outlets: tuple[_Outlet, ...] = ()
        self._giving = threading.RLock()
        self._attaching = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._sequence = _Sequence(from_seq, joined_late=since is not None)
        self._silence = _Silence(patience)

    # --- From any thread ------------------------------------------------------------------------------

    def attach(self, *receivers: StreamReceiver) -> None:
        """Give them the parts from now on."""
        joining = [_Outlet(one, one.join(self._giving), everything=self._everything) for one in receivers]
        with self._attaching:
            self._outlets = (*self._outlets, *joining)
        for one in receivers:
            one.attached(self)

    def detach(self, receiver: StreamReceiver) -> None:
        """Give it no more; read on only if there are others."""
        with self._attaching:
            self._outlets = tuple(one for one in self._outlets if one.receiver is not receiver)
            loop, task, left = self._loop, self._task, not self._outlets
        receiver.detached(self)
        if left and loop is not None and task is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(task.cancel)

    # --- In its thread --------------------------------------------------------------------------------

    def run(self) -> None:
        """Read until the end."""
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who waits
            for one in self._outlets:
                one.receiver.fail(error, str(error))

    async def _main(self) -> None:
        with self._attaching:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if not self._outlets:
                return
        place = await self._broker.place(self._run_id.encode())
        consumer = await self._broker.consumer()
        try:
            consumer.assign([place])
            await self._seek(consumer, place)
            while not await self._read(consumer, place):
                await self._silence.check(consumer, place)
        finally:
            await client.leave(consumer)

    async def _seek(self, consumer: Any, place: Any) -> None:
        offset = None
        if self._since is not None:
            milliseconds = int(self._since.timestamp() * 1000)
            found = (await consumer.offsets_for_times({place: milliseconds})).get(place)
            offset = None if found is None else found.offset
        if offset is None:
            await consumer.seek_to_beginning(place)
        else:
            consumer.seek(place, offset)

    async def _read(self, consumer: Any, place: Any) -> bool:
        """Take what there is; return whether it was the end."""
        found = await consumer.getmany(place, timeout_ms=int(_WAIT * 1000), max_records=_RECORDS)
        key = self._run_id.encode()
        try:
            for record in found.get(place, ()):
                if record.key == key and self._take(record):
                    return True
                for one in self._outlets:
                    if one.blocks and one.given >= one.stride and one.receiver.over_capacity:
                        self._settle()
                        await one.receiver.room(self)
                        one.given = 0
                        self._silence.heard()
        finally:
            self._settle()
        return False

    def _settle(self) -> None:
        """Wake who waits for parts: not for each of them, as that costs more than the part."""
        for one in self._outlets:
            if one.waiting:
                one.settle()

    def _take(self, record: Any) -> bool:
        told = envelope(record.headers)
        if told is None or told.origin.stream != self._stream:
            return False
        self._silence.heard()
        if told.kind is Kind.BEAT:
            self._silence.promised(_every(record.value))
            return False
        if told.kind is Kind.LEFT:
            raise ProducerLostError(
                f"run {self._run_id!r} was left by its producer before its end: {_why(record.value)}"
            )
        part = part_of(record.value)
        for one in self._sequence.told(told, part):
            self._offer(one)
        if told.kind is Kind.END:
            self._finish(part)
        return told.kind is Kind.END

    def _offer(self, part: StreamPart) -> None:
        for one in self._outlets:
            if one.wants(part):
                one.given += 1
                with self._giving:
                    one.put(part, None)

    def _finish(self, part: StreamPart) -> None:
        end, told = end_of(part)
        error = None
        if end.failed:
            error = RemoteRunError(
                str((told or {}).get("type", end.value)), str((told or {}).get("message", ""))
            )
        self._settle()
        for one in self._outlets:
            one.receiver.finish(end, error)


class _Outlet:
    """How parts come to one receiver, and which."""

    __slots__ = (
        "_deep", "_end", "_modes", "blocks", "given", "put", "receiver", "settle", "stride", "waiting",
    )  # fmt: skip

    def __init__(self, receiver: StreamReceiver, outlet: Outlet, *, everything: bool) -> None:
        config = receiver.config
        self.receiver = receiver
        self.put, self.waiting, self.settle = outlet
        self.blocks = config.overflow is OverflowPolicy.BLOCK
        #: Parts that are given before it is asked again whether there is room: for two threads to wake each
        #: other for each of them would cost more than the part.
        self.stride, self.given = max(1, config.buffer_size // 8), 0
        names = (mode.name if isinstance(mode, Custom) else mode for mode in config.modes)
        #: None: all there are.
        self._modes = None if everything else frozenset(names)
        self._deep, self._end = config.subgraphs, config.include_end

    def wants(self, part: StreamPart) -> bool:
        """Return whether ``part`` is for it."""
        if part.type in ("gap", "end"):
            return self._end or part.type == "gap"
        return self._modes is None or (part.type in self._modes and (self._deep or not part.ns))


def _every(value: bytes) -> float | None:
    told = _told(value).get("every")
    return float(told) if isinstance(told, int | float) else None


def _why(value: bytes) -> str:
    return str(_told(value).get("why", "nobody knows why"))


def _told(value: bytes) -> dict[str, Any]:
    try:
        told = decode(value)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


class _Sequence:
    """Which records are the next ones: none is shown twice, and what is missing is told."""

    def __init__(self, from_seq: int | None, *, joined_late: bool) -> None:
        self._from_seq = from_seq
        self._joined_late = joined_late
        self._producer: str | None = None
        self._next = 0
        self._last_seq: int | None = None

    def told(self, about: Envelope, part: StreamPart) -> list[StreamPart]:
        """Return what to show of a record: its part, before it a gap where records are missing."""
        if about.number is None:
            raise ForeignRecordError("a record of a part has no number")
        if about.origin.producer != self._producer:  # the first, or the run is sent anew
            self._producer = about.origin.producer
            self._next = about.number if self._joined_late else 0
        if about.number < self._next:
            return []  # it was sent again, as nobody knew whether it had arrived
        missing, self._next = about.number - self._next, about.number + 1
        shown = [self._gap(missing, part)] if missing and self._may_miss(part) else []
        if part.type == "end" or not self._is_before(part):
            shown.append(part)
        self._last_seq = part.seq if part.seq is not None else self._last_seq
        return shown

    def _is_before(self, part: StreamPart) -> bool:
        """Return whether ``part`` is of what was not asked for."""
        if self._from_seq is None:
            return False
        seq = part.data.get("last_seq") if part.type == "gap" else part.seq
        return seq is not None and seq < self._from_seq

    def _may_miss(self, part: StreamPart) -> bool:
        """Return whether something that was asked for may be missing before ``part``."""
        return self._from_seq is None or part.seq is None or part.seq > self._from_seq

    def _gap(self, missing: int, part: StreamPart) -> StreamPart:
        first = 0 if self._last_seq is None else self._last_seq + 1
        data = {
            "dropped": missing,
            "modes": {},
            "reasons": {"expired": missing},
            "first_seq": max(first, self._from_seq or 0),
            "last_seq": None if part.seq is None else part.seq - 1,
        }
        return StreamPart("gap", (), data, time_unix_nano=part.time_unix_nano, run_id=part.run_id)


class _Silence:
    """Tells a producer that is lost from one that has nothing to say, and from brokers that are away."""

    def __init__(self, patience: float | None) -> None:
        self._given = patience
        self._patience = patience
        self._heard: float | None = None

    def heard(self) -> None:
        """Take note of a sign of life."""
        self._heard = time.monotonic()

    def promised(self, every: float | None) -> None:
        """Take note that heartbeats come so often, in seconds."""
        if self._given is None and every is not None:
            self._patience = _MISSING * every

    async def check(self, consumer: Any, place: Any) -> None:
        """Ask the brokers, if nothing has come for a while.

        Raises:
            ProducerLostError: they are there, and have nothing for us since too long a time.
        """
        if self._heard is None or self._patience is None:
            return
        silent = time.monotonic() - self._heard
        if silent < min(_WAIT, self._patience):
            return
        try:
            end = (await asyncio.wait_for(consumer.end_offsets([place]), _ANSWER))[place]
            more = await consumer.position(place) < end
        except client.UNREACHABLE:
            more = True  # nobody knows
        if more:
            self.heard()
        elif silent >= self._patience:
            raise ProducerLostError(
                f"nothing has come of the run for {silent:.0f} s, while brokers were there: its process is "
                "gone, or can't reach them"
            )
