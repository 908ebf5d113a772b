"""The one place that knows aiokafka: producers and consumers, and patience with a broker that is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from otel_stream.stream.guard import say
from otel_stream.trouble import placed

try:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import (
        AuthenticationFailedError,
        ClusterAuthorizationFailedError,
        InvalidTopicError,
        KafkaError,
        MessageSizeTooLargeError,
        RecordListTooLargeError,
        SaslAuthenticationFailed,
        TopicAuthorizationFailedError,
        UnsupportedSaslMechanismError,
    )
    from aiokafka.partitioner import DefaultPartitioner
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"otel_stream.kafka needs {missing.name}: install 'otel-stream[kafka]'", name=missing.name
    ) from missing

__all__ = ["REFUSALS", "TOO_LARGE", "UNREACHABLE", "Broker", "TopicPartition"]

_logger = logging.getLogger("otel_stream.kafka")

#: What time and patience do not mend.
REFUSALS: Final = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
#: What a broker, or the way to it, may be the cause of.
UNREACHABLE: Final = (KafkaError, OSError, asyncio.TimeoutError)

#: Seconds between attempts to connect: doubled from the first to the second.
_PAUSES: Final = (0.1, 2.0)
#: Seconds that a client may take to say goodbye.
_GOODBYE: Final = 2.0
#: Bytes of a batch: what a broker takes by default, less what the headers of a request may be.
BATCH_BYTES: Final = 1_000_000
#: Bytes of a value that fit into one, beside its key and headers.
MAX_VALUE: Final = BATCH_BYTES - 16 * 1024


class _Client(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Broker:
    """How to reach the brokers of one topic; ``settings`` are aiokafka's own, for TLS and SASL, say."""

    def __init__(self, topic: str, servers: str | list[str], settings: Mapping[str, Any] | None) -> None:
        self.topic = topic
        self._settings = {"bootstrap_servers": servers, "client_id": "otel-stream", **(settings or {})}
        self._away = False

    async def producer(self) -> Any:
        """Return a connected producer that keeps the order and writes nothing twice, however long that takes.

        Raises:
            Exception: one of ``REFUSALS``.
        """
        return await self._connected(
            lambda: AIOKafkaProducer(
                acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, **self._settings
            )
        )

    async def consumer(self) -> Any:
        """Return a connected consumer of no group, however long that takes.

        Raises:
            Exception: one of ``REFUSALS``.
        """
        return await self._connected(
            lambda: AIOKafkaConsumer(
                enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed",
                **self._settings,
            )
        )  # fmt: skip

    async def partition(self, producer: Any, key: bytes) -> int:
        """Return the partition that Kafka's own rule puts ``key`` in.

        Raises:
            Exception: one of ``UNREACHABLE``, also where there is no such topic.
        """
        return _partition(key, await producer.partitions_for(self.topic))

    async def place(self, key: bytes) -> Any:
        """Return where to read what has ``key``, waiting until there is the topic.

        Raises:
            Exception: one of ``REFUSALS``.
        """
        admin = await self._connected(lambda: _Admin(**self._settings))
        pause = _PAUSES[0]
        try:
            while True:
                with contextlib.suppress(*UNREACHABLE):
                    (described,) = await admin.describe_topics([self.topic])
                    numbers = {one["partition"] for one in described["partitions"]}
                    if numbers:
                        return TopicPartition(self.topic, _partition(key, numbers))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _PAUSES[1])
        finally:
            await leave(admin)

    async def _connected(self, made: Any) -> Any:
        pause = _PAUSES[0]
        while True:
            client = made()
            try:
                await client.start()
            except BaseException as error:
                await leave(client)
                if isinstance(error, REFUSALS) or not isinstance(error, UNREACHABLE):
                    raise
                self.missed(placed(error))
            else:
                return client
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])

    def missed(self, why: str) -> None:
        """Say once that the broker is away."""
        if not self._away:
            self._away = True
            say(_logger, logging.WARNING, "Kafka can't be reached, and is tried again until it can: %s", why)

    def found(self) -> None:
        """Say that the broker is there again, if it was away."""
        if self._away:
            self._away = False
            say(_logger, logging.INFO, "Kafka is reached again")


class _Admin(AIOKafkaAdminClient):  # type: ignore[misc] # it has no types
    """Is stopped as the others are."""

    async def stop(self) -> None:
        await self.close()


def _partition(key: bytes, numbers: set[int]) -> int:
    return int(DefaultPartitioner()(key, sorted(numbers), []))


async def leave(client: _Client) -> None:
    """Close ``client``, whatever state it is in."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.stop(), _GOODBYE)
