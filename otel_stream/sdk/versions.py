"""The SDK's names for log records as its newest version has them, whichever version is installed.

Up to 1.38 a processor and an exporter got one ``LogData``; since 1.39 the first gets a record to write, the
second one to read. Processors are asked whether they are ``enabled`` since 1.45.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk import _logs
from opentelemetry.sdk._logs import LogRecordProcessor, _internal, export
from opentelemetry.sdk.resources import Resource

if TYPE_CHECKING:
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk._logs import (
        ReadableLogRecord,
        ReadWriteLogRecord,
        SynchronousMultiLogRecordProcessor,
    )
    from opentelemetry.sdk._logs.export import (
        InMemoryLogRecordExporter,
        LogRecordExporter,
        LogRecordExportResult,
    )
else:

    def _first(module: Any, *names: str) -> Any:
        return next(getattr(module, name) for name in names if hasattr(module, name))

    ReadableLogRecord = _first(_logs, "ReadableLogRecord", "LogData")
    ReadWriteLogRecord = _first(_logs, "ReadWriteLogRecord", "LogData")
    SynchronousMultiLogRecordProcessor = _internal.SynchronousMultiLogRecordProcessor
    LogRecordExporter = _first(export, "LogRecordExporter", "LogExporter")
    LogRecordExportResult = _first(export, "LogRecordExportResult", "LogExportResult")
    InMemoryLogRecordExporter = _first(export, "InMemoryLogRecordExporter", "InMemoryLogExporter")

__all__ = [
    "InMemoryLogRecordExporter",
    "LogRecordExportResult",
    "LogRecordExporter",
    "ReadWriteLogRecord",
    "ReadableLogRecord",
    "SynchronousMultiLogRecordProcessor",
    "flushed",
    "readable",
    "resource_of",
    "rewritten",
    "wants",
    "with_record",
]

_Item = TypeVar("_Item", ReadableLogRecord, ReadWriteLogRecord)


def with_record(item: _Item, log_record: LogRecord) -> _Item:
    """Return what ``item`` is, but for its ``log_record``."""
    if isinstance(log_record, type(item)):
        return log_record  # a lean one, which is both
    made = object.__new__(type(item))
    vars(made).update(vars(item), log_record=log_record)
    return made


def readable(item: Any, log_record: LogRecord) -> ReadableLogRecord:
    """Return ``log_record`` for exporters; everything else is as in ``item``, which is for processors."""
    if isinstance(item, ReadableLogRecord):
        return with_record(item, log_record)
    resource = item.resource or Resource.create({})
    return ReadableLogRecord(log_record, resource, item.instrumentation_scope, item.limits)


def rewritten(item: ReadableLogRecord, body: str, attributes: dict[str, Any]) -> ReadableLogRecord:
    """Return what ``item`` is, with another body and other attributes."""
    log_record = copy(item.log_record)
    log_record.body = body
    log_record.attributes = attributes
    if isinstance(item.log_record.attributes, BoundedAttributes):  # encoders may ask it what was dropped
        log_record.attributes = BoundedAttributes(attributes=attributes, immutable=False)
    return with_record(item, log_record)


def resource_of(item: ReadableLogRecord) -> Resource:
    """Return what ``item`` is about."""
    held: Any = item if hasattr(item, "resource") else item.log_record
    resource: Resource = held.resource
    return resource


def wants(processor: LogRecordProcessor, **about: Any) -> bool:
    """Return whether ``processor`` is ``enabled`` for such a record; one that can't say is."""
    enabled = getattr(processor, "enabled", None)
    return enabled is None or bool(enabled(**about))


def flushed(exporter: LogRecordExporter, timeout_millis: int) -> bool:
    """Flush ``exporter``, if there is anything to flush, and return whether it was in time."""
    flush = getattr(exporter, "force_flush", None)
    return flush is None or bool(flush(timeout_millis))
