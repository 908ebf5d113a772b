"""Streams through Kafka: ``KafkaSink`` sends the parts of runs, ``remote_stream`` receives them elsewhere.

Needs ``otel-stream[kafka]``. What a record looks like is in ``docs/kafka.md``.
"""

from __future__ import annotations

from otel_stream.kafka.errors import ProducerLostError, RemoteRunError
from otel_stream.kafka.records import ForeignRecordError
from otel_stream.kafka.remote import remote_stream
from otel_stream.kafka.sink import KafkaSink

__all__ = ["ForeignRecordError", "KafkaSink", "ProducerLostError", "RemoteRunError", "remote_stream"]
