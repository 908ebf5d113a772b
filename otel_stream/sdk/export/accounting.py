"""An exact account of what was meant for exporters and what became of it.

The SDK ignores the result of an export: a batch that an exporter could not deliver is gone, and
``force_flush`` still reports success. So the exporters are wrapped, and the loss is counted: by our own
exporters request by request, as the receiver answers, and by others as they say.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Final, cast

import msgspec
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stream.sdk.export.compaction import compacted, requests, rows
from otel_stream.sdk.export.points import points
from otel_stream.sdk.export.repair import as_sound, sound_log_record, sound_span
from otel_stream.sdk.versions import LogRecordExporter, LogRecordExportResult, ReadableLogRecord, flushed


class Counts(msgspec.Struct, frozen=True):
    """Numbers of spans, log events or metric points: ``emitted == exported + lost + waiting``.

    ``lost``: an exporter failed to deliver them, or the queue before it was full. With several
    exporters for one signal each of them counts.
    """

    emitted: int = 0
    exported: int = 0
    lost: int = 0
    waiting: int = 0


class Account:
    """The account of one exporter: of what was taken from its queue, and of what never got into it."""

    def __init__(self, failed: Callable[[int, str], None]) -> None:
        #: Called with how many items a request lost, and the reason as far as it is known; with 0 for a
        #: receiver's warning.
        self._report = failed
        #: How many wait in the queue; a batch says it.
        self.queued: Callable[[], int] = lambda: 0
        #: Whether the exporter waits for the next try of what was refused.
        self.retries: Callable[[], bool] = lambda: False
        self.reset()

    def reset(self) -> None:
        """Start anew: in a forked child, whose queues are empty and whose locks nobody holds."""
        self._lock = Lock()
        self._exported = 0
        self._failed = 0
        self._in_export = 0
        self._dropped = 0
        self._closed = False

    @property
    def in_trouble(self) -> bool:
        """Whether the exporter is making an export and has been refused already: it tries again."""
        return self.retries()

    def drop(self) -> None:
        """Count one item that the queue had no room for."""
        with self._lock:
            self._dropped += 1

    @property
    def dropped(self) -> int:
        """How many items the queue had no room for."""
        return self._dropped

    def report(self, size: int, reason: str) -> None:
        """Tell whoever is responsible of a loss."""
        self._report(size, reason)

    def take(self, queue: deque[Any], most: int) -> list[Any]:
        """Move the oldest items, ``most`` at most, from ``queue`` to the exporter's hands."""
        with self._lock:
            batch = [queue.popleft() for _ in range(min(most, len(queue)))]
            self._in_export += len(batch)
            return batch

    def begin(self, number: int) -> None:
        """Count ``number`` items that never wait in a queue as being exported."""
        with self._lock:
            self._in_export += number

    def passed(self) -> int:
        """Return how many have been exported, or lost by the exporter."""
        with self._lock:
            return self._exported + self._failed

    def offered(self) -> int:
        """Return how many have passed, are being exported, or wait."""
        with self._lock:
            return self._exported + self._failed + self._in_export + self.queued()

    def counts(self) -> Counts:
        """Return the numbers as they are now."""
        with self._lock:
            waiting = self.queued() + self._in_export
            lost = self._failed + self._dropped + (waiting if self._closed else 0)
            emitted = self._exported + self._failed + self._dropped + waiting
        return Counts(emitted, self._exported, lost, 0 if self._closed else waiting)

    def close(self) -> None:
        """Count what still waits as lost: nobody will export it any more."""
        self._closed = True

    def settle(self, exported: int, lost: int, reason: str = "") -> None:
        """Book what became of items that were being exported."""
        with self._lock:
            self._in_export -= exported + lost
            self._exported += exported
            self._failed += lost
        if lost or reason:
            self._report(lost, reason or "The exporter did not say why.")

    def export_all(self, batch: Sequence[Any], call: Callable[[Sequence[Any]], Any], success: object) -> bool:
        """Have an exporter that is not ours export ``batch``, and book what it makes of it.

        If it raises, what it can't take is found, so that only that is lost. What raises is the encoding
        of one item, before anything has been sent: an exporter that can't reach anybody returns a failure.
        """
        try:
            delivered, reason = _asked(lambda: call(batch), success)
        except Exception as error:  # noqa: BLE001 - an exporter may raise anything
            half = len(batch) // 2
            if half:
                first = self.export_all(batch[:half], call, success)
                return self.export_all(batch[half:], call, success) and first
            delivered, reason = False, f"{type(error).__qualname__}: {error}"
        size = sum(map(weight, batch))
        self.settle(size if delivered else 0, 0 if delivered else size, reason)
        return delivered


def weight(item: Any) -> int:
    """Return how many of what the program emitted ``item`` stands for: a log event may be several."""
    return rows(item) if isinstance(item, ReadableLogRecord) else 1


def _asked(call: Callable[[], Any], success: object) -> tuple[bool, str]:
    """Return whether an exporter succeeded, and if not, what it said."""
    with _listening() as said:
        delivered = call() is success
    # The first thing it said is the cause; the last one may be that it gives up.
    return delivered, "" if delivered or not said else said[0]


# -- what exporters say while they fail -------------------------------------------------------

_said: ContextVar[list[str] | None] = ContextVar("otel_stream_export", default=None)


@contextmanager
def _listening() -> Iterator[list[str]]:
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


class _OnlyTheReason(logging.Filter):
    """Keeps a failing exporter of ours from logging every try; what it says is the reason we log."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = _said.get()
        if said is None:
            return True
        said.append(record.getMessage())
        return False


#: Loggers that the exporters of OpenTelemetry report to.
_EXPORTER_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
)
_filter: Final = _OnlyTheReason()


def quiet_exporters() -> None:
    """Route what our OTLP exporters log about failures into our own single line."""
    for name in _EXPORTER_LOGGERS:
        filters = logging.getLogger(name).filters
        if _filter not in filters:
            filters.insert(0, _filter)  # before one that leaves out what another signal's exporter has said


# -- wrapped exporters ------------------------------------------------------------------------


class _Counted:
    """What the wrappers have in common: an account, and one shutdown that may come from two sides."""

    def __init__(self, exporter: Any, account: Account) -> None:
        self._exporter = exporter
        self._account = account
        self._stopped = False
        #: An exporter of ours tells of every request by itself.
        self._tells = hasattr(exporter, "delivery")
        if self._tells:
            exporter.delivery.book = account.settle
            account.retries = lambda: exporter.delivery.retrying

    def stop(self, *args: Any, **kwargs: Any) -> None:
        if not self._stopped:
            self._stopped = True
            self._exporter.shutdown(*args, **kwargs)


class CountedSpanExporter(_Counted, SpanExporter):
    """``exporter`` with an account."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._tells:
            return cast("SpanExportResult", self._exporter.export(spans))
        sound = [as_sound(sound_span, one) for one in spans]
        done = self._account.export_all(sound, self._exporter.export, SpanExportResult.SUCCESS)
        return SpanExportResult.SUCCESS if done else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.stop()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._exporter.force_flush(timeout_millis))


class CountedLogExporter(_Counted, LogRecordExporter):
    """``exporter`` with an account; what waits in a batch leaves as little as it can be."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        if self._tells:
            return cast("LogRecordExportResult", self._exporter.export(list(compacted(batch))))
        done = True
        for request in requests(as_sound(sound_log_record, one) for one in compacted(batch)):
            exported = self._account.export_all(request, self._exporter.export, LogRecordExportResult.SUCCESS)
            done = exported and done
        return LogRecordExportResult.SUCCESS if done else LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        self.stop()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return flushed(self._exporter, timeout_millis)


class CountedMetricExporter(_Counted, MetricExporter):
    """``exporter`` with an account of metric points."""

    def __init__(self, exporter: MetricExporter, account: Account) -> None:
        _Counted.__init__(self, exporter, account)
        temporality, aggregation = exporter._preferred_temporality, exporter._preferred_aggregation  # noqa: SLF001
        MetricExporter.__init__(self, temporality, aggregation)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        number = len(points(metrics_data))
        self._account.begin(number)
        if self._tells:
            return cast("MetricExportResult", self._exporter.export(metrics_data, timeout_millis, **kwargs))
        try:
            delivered, reason = _asked(
                lambda: self._exporter.export(metrics_data, timeout_millis, **kwargs),
                MetricExportResult.SUCCESS,
            )
        except Exception as error:  # noqa: BLE001 - an exporter may raise anything
            delivered, reason = False, f"{type(error).__qualname__}: {error}"
        self._account.settle(number if delivered else 0, 0 if delivered else number, reason)
        return MetricExportResult.SUCCESS if delivered else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.stop(timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return bool(self._exporter.force_flush(timeout_millis))
