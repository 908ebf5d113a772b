"""Log events on their way out: small deltas put together, big requests taken apart.

A log event costs more than most of what changes in a state; and a request that is longer than whoever
receives it accepts, often 4 MiB, costs all the log events in it their place.

In the process, and for every processor, each state is a log event of its own, as it happens. What waits
in a batch anyway leaves as one: a row for each delta, with what differs from the row before. ``replay``
takes them apart again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final
from zlib import crc32

from otel_stream import semconv
from otel_stream.sdk.export.repair import size_of
from otel_stream.sdk.versions import (
    LogRecordExporter,
    LogRecordExportResult,
    ReadableLogRecord,
    flushed,
    resource_of,
    rewritten,
)

#: Longest body of deltas put together, in characters.
MAX_BODY: Final = 64 * 1024

#: Longest sum of bodies and attributes in one request, in bytes; what is around them comes on top.
MAX_REQUEST: Final = 2 * 1024 * 1024

#: What rows may differ in, beside what they say themselves.
_OWN: Final = frozenset(
    {
        semconv.GRAPH_LOG_SEQ,
        semconv.GRAPH_STREAM_SEQ,
        semconv.GRAPH_SUPERSTEP,
        semconv.GRAPH_VALUES_BASE_SEQ,
        semconv.GRAPH_VALUES_DIGEST,
        semconv.GRAPH_REDACTION_COUNT,
    }
)
#: What says that a delta has to stay alone.
_ALONE: Final = frozenset(
    {
        semconv.GRAPH_VALUES_INTERRUPTS,
        semconv.GRAPH_VALUES_ROWS,
        semconv.GRAPH_STREAM_BODY_CHUNKS,
        semconv.GRAPH_STREAM_BODY_FORM,
    }
)


class CompactingLogExporter(LogRecordExporter):
    """Hands batches on to ``exporter``, compacted, in requests of a length that is accepted.

    Its place is behind a batch processor. A batch has succeeded if all of its requests have.
    """

    def __init__(self, exporter: LogRecordExporter) -> None:
        self._exporter = exporter

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        results = [self._exporter.export(request) for request in requests(compacted(batch))]
        failed = LogRecordExportResult.FAILURE
        return failed if failed in results else LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return flushed(self._exporter, timeout_millis)


def requests(
    items: Iterable[ReadableLogRecord], longest: int = MAX_REQUEST
) -> Iterator[list[ReadableLogRecord]]:
    """Yield ``items`` in lists whose texts are at most ``longest`` bytes together, or a single one."""
    request: list[ReadableLogRecord] = []
    size = 0
    for item in items:
        record = item.log_record
        about: Any = record.attributes or {}
        length = size_of(about)
        if length is None:
            length = sum(map(_length, about.values()))
        body = record.body
        length += len(body) if type(body) is str and body.isascii() else _length(body)
        if request and size + length > longest:
            yield request
            request, size = [], 0
        request.append(item)
        size += length
    if request:
        yield request


def rows(item: ReadableLogRecord) -> int:
    """Return how many log events ``item`` stands for."""
    number = (item.log_record.attributes or {}).get(semconv.GRAPH_VALUES_ROWS, 1)
    return number if isinstance(number, int) and number > 0 else 1


def _length(value: Any) -> int:
    text = value if isinstance(value, str) else str(value or "")
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def compacted(batch: Sequence[ReadableLogRecord]) -> Iterator[ReadableLogRecord]:
    """Yield what is to be exported instead of ``batch``."""
    open_rows: dict[Hashable, _Rows] = {}
    for item in batch:
        record = item.log_record
        if record.event_name != _VALUES:
            yield item
            continue
        about: Any = record.attributes or {}
        key = about.get(semconv.GRAPH_RUN_ID), about.get(semconv.GRAPH_NS)
        rows = open_rows.get(key)
        if rows is not None and not rows.takes(item):
            yield rows.closed()
            rows = None
            del open_rows[key]
        if about.get(semconv.GRAPH_VALUES_ENCODING) != "delta" or not _ALONE.isdisjoint(about):
            yield item
        elif rows is None:
            open_rows[key] = _Rows(item)
        else:
            rows.add(item)
    for rows in open_rows.values():
        yield rows.closed()


_VALUES: Final = semconv.EVENT_BY_MODE["values"]


class _Rows:
    """Deltas of one run that follow each other."""

    def __init__(self, first: ReadableLogRecord) -> None:
        self._first = self._last = first
        self._shared = _shared(first)
        self._before = (0, 0, 0, 0)
        self._rows: list[str] = []
        self._size = self._redacted = 0
        self.add(first)

    def takes(self, item: ReadableLogRecord) -> bool:
        """Tell whether ``item`` builds on the last row, is the same in all else, and there is room."""
        base = (item.log_record.attributes or {}).get(semconv.GRAPH_VALUES_BASE_SEQ)
        # A full queue may have lost what was between.
        return (
            base == self._before[1]
            and self._size + len(str(item.log_record.body)) <= MAX_BODY
            and _shared(item) == self._shared
        )

    def add(self, item: ReadableLogRecord) -> None:
        """Make a row of ``item``."""
        record = item.log_record
        about: Any = record.attributes
        now = (
            about[semconv.GRAPH_LOG_SEQ],
            about[semconv.GRAPH_STREAM_SEQ],
            record.timestamp or 0,
            about.get(semconv.GRAPH_SUPERSTEP, 0),
        )
        steps = ",".join(str(new - old) for new, old in zip(now, self._before, strict=True))
        row = f"[{steps},{record.body!s}]"
        self._rows.append(row)
        self._size += len(row)
        self._redacted += about.get(semconv.GRAPH_REDACTION_COUNT, 0)
        self._before, self._last = now, item

    def closed(self) -> ReadableLogRecord:
        """Return the log event that stands for the rows; a single one as it was."""
        if len(self._rows) == 1:
            return self._first
        last = self._last.log_record
        attributes = dict(last.attributes or {})
        attributes[semconv.GRAPH_VALUES_ROWS] = len(self._rows)
        body = f"[{','.join(self._rows)}]"
        # Digests of states but the last are left out; this vouches for what led there.
        attributes[semconv.GRAPH_VALUES_ROWS_DIGEST] = f"{crc32(body.encode()):08x}"
        attributes[semconv.GRAPH_VALUES_BASE_SEQ] = (self._first.log_record.attributes or {})[
            semconv.GRAPH_VALUES_BASE_SEQ
        ]
        if self._redacted:
            attributes[semconv.GRAPH_REDACTION_COUNT] = self._redacted
        return rewritten(self._last, body, attributes)


def _shared(item: ReadableLogRecord) -> tuple[Any, ...]:
    record = item.log_record
    same = {name: value for name, value in (record.attributes or {}).items() if name not in _OWN}
    return record.trace_id, record.span_id, record.severity_number, resource_of(item), same
