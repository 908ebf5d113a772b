"""Between a provider and an exporter: a bounded queue, the thread that exports it, and the account.

The SDK's batch processor wakes its thread for every item beyond the first batch, counts what it drops
only roughly, ignores the timeout of a flush, and starts a thread in every forked process. This one
loses nothing unseen: ``emitted == exported + lost + waiting`` at every moment.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, get_value, set_value
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import TraceFlags

from otel_stream import semconv
from otel_stream.forking import in_child
from otel_stream.sdk.export.accounting import Account, CountedLogExporter, CountedSpanExporter
from otel_stream.sdk.export.limits import BatchLimits
from otel_stream.sdk.versions import ReadableLogRecord, ReadWriteLogRecord, readable

#: Bytes from which on the length of an item counts.
LONG: Final = 1024


class Batch:
    """Items on their way to one exporter.

    Any number of threads may ``offer``. When the queue is full, the new item is lost, and counted: what
    was accepted before is never taken back. A loss is told while the program runs. ``weigh`` gives the
    bytes of an item where they count: the queue holds only so many of them. ``rank`` gives the room that it
    has, as a multiple of what all have: what says how a run began and ended is not lost to what is between.
    """

    def __init__(
        self,
        exporter: CountedSpanExporter | CountedLogExporter,
        account: Account,
        limits: BatchLimits,
        name: str,
        weigh: Callable[[Any], int] | None = None,
        rank: Callable[[Any], float] = lambda _: 1.0,
    ) -> None:
        self._exporter = exporter
        self._account = account
        self._limits = limits
        self._name = name
        self._queue: deque[Any] = deque()
        self._capacity = limits.queue
        self._weigh = weigh
        self._rank = rank
        #: An offer that finds this many items, or more, has the worker called, once.
        self._enough = limits.batch - 1
        account.queued = self._queue.__len__
        self._closed = False
        self._start_anew()
        self._begin()
        in_child(self._after_fork)

    def _start_anew(self) -> None:
        #: Whether the worker has been called and has not yet looked.
        self._called = False
        #: How many have to pass until every flush so far has got what it waits for.
        self._due = 0
        self._wake = threading.Event()
        self._passed = threading.Condition()
        self._worker: threading.Thread | None = None
        #: Bytes of long items that wait, and the lock that only those take.
        self._bytes = 0
        self._weighing = threading.Lock()
        #: Items that were lost to the full queue and have been told of.
        self._told = 0

    def _begin(self) -> None:
        worker = threading.Thread(target=self._work, name=f"otel-stream-{self._name}", daemon=True)
        # When the interpreter is about to end no thread can be started: the last flush exports then.
        with suppress(RuntimeError):
            worker.start()
            self._worker = worker

    def _after_fork(self) -> None:
        # What waited at the fork is the parent's to export. Most forked processes export nothing: they
        # get a thread with the first item, if there ever is one.
        self._queue.clear()
        self._account.reset()
        self._start_anew()

    def offer(self, item: Any) -> None:
        """Queue ``item``, or count it as lost. Never blocks on an export, never raises."""
        queue = self._queue
        waiting = len(queue)
        # Asked of only where it matters: nearly always there is room for anything.
        if self._closed or (waiting >= self._capacity and waiting >= self._capacity * self._rank(item)):
            self._account.drop()
            self._call()
            return
        if self._weigh is not None and not self._has_room(item):
            self._account.drop()
            self._call()
            return
        queue.append(item)
        if self._worker is None:
            self._begin()
        if waiting >= self._enough:
            self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._wake.set()

    def _has_room(self, item: Any) -> bool:
        """Make room for a long item; most are short, and bounded by their number alone."""
        size = self._weigh(item) if self._weigh is not None else 0
        if size < LONG:
            return True
        with self._weighing:
            if self._bytes + size > self._limits.bytes * self._rank(item):
                return False
            self._bytes += size
            return True

    def flush(self, seconds: float) -> bool:
        """Have everything exported that was offered until now; return whether it was, in that time."""
        if self._worker is None or not self._worker.is_alive():
            # After a fork, or when the interpreter is about to end: nobody else would do it.
            self._export_all()
            return True
        with self._passed:
            due = self._due = self._account.offered()
            self._wake.set()
            return self._passed.wait_for(lambda: self._account.passed() >= due, seconds)

    def close(self, seconds: float) -> bool:
        """Take nothing more, export what waits, and end; return whether it did, in that time."""
        self._closed = True
        worker = self._worker
        self._wake.set()
        if worker is None:
            self._export_all()
        else:
            worker.join(seconds)
        self._exporter.shutdown()
        return worker is None or not worker.is_alive()

    # --- The thread ----------------------------------------------------------------------------------

    def _work(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        wake = self._wake
        while not self._closed:
            called = wake.wait(self._limits.delay)
            wake.clear()
            self._called = False
            if not called and self._queue:
                self._export_one()
            while len(self._queue) > self._enough or (self._queue and self._account.passed() < self._due):
                self._export_one()
            self._tell()
        self._export_all()

    def _export_all(self) -> None:
        while self._queue:
            self._export_one()

    def _export_one(self) -> None:
        batch = self._account.take(self._queue, self._limits.batch)
        if self._weigh is not None:
            long = sum(size for size in map(self._weigh, batch) if size >= LONG)
            with self._weighing:
                self._bytes -= long
        self._exporter.export(batch)
        self._tell()
        with self._passed:
            self._passed.notify_all()

    def _tell(self) -> None:
        """Say how many items the full queue has cost since the last time."""
        lost = self._account.dropped - self._told
        if lost and not self._closed:
            self._told += lost
            self._account.report(
                lost,
                f"The queue for {self._name} of {self._capacity} was full: set a larger one by "
                f"OTEL_{'BSP' if self._name == 'spans' else 'BLRP'}_MAX_QUEUE_SIZE, or export less.",
            )


class BatchSpans(SpanProcessor):
    """Queues sampled spans when they end."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._offer = batch.offer

    def on_end(self, span: ReadableSpan) -> None:
        about = span.context
        if about is not None and about.trace_flags & TraceFlags.SAMPLED:
            self._offer(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.batch.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        self.batch.close(_PATIENCE)


class BatchLogs(LogRecordProcessor):
    """Queues log records when they are emitted."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._offer = batch.offer

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        # Lean records are both. The others are copied, as whoever comes after us may change them.
        if getattr(log_record, "lean", False):
            self._offer(log_record)
        elif not get_value(_SUPPRESS_INSTRUMENTATION_KEY):  # what exporting says would be exported again
            self._offer(_own(log_record))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.batch.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        self.batch.close(_PATIENCE)


#: Room in a queue, as a multiple of what everything has: for what tells of a whole run, and of its steps.
_RANKS: Final = {
    semconv.EVENT_RUN_START: 2.0,
    semconv.EVENT_RUN_END: 2.0,
    semconv.EVENT_STRUCTURE: 2.0,
    semconv.EVENT_INTERRUPT: 2.0,
    semconv.EVENT_SUPERSTEP_START: 1.5,
    semconv.EVENT_NODE_START: 1.5,
}


def rank_of(record: ReadableLogRecord) -> float:
    """Return how much of a queue a log record may find taken, as a multiple of its capacity."""
    return _RANKS.get(record.log_record.event_name or "", 1.0)


def body_size(record: ReadableLogRecord) -> int:
    """Return about how many bytes the body of a log record takes up."""
    body = record.log_record.body
    return len(body) if isinstance(body, str) else 0


#: Seconds that a provider which nobody gave a deadline waits for an exporter at its shutdown.
_PATIENCE: Final = 30.0


def _own(record: ReadWriteLogRecord) -> ReadableLogRecord:
    log_record = copy(record.log_record)
    # The context holds the span and whatever else the program put into it.
    log_record.context = Context()
    return readable(record, log_record)
