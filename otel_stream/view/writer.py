"""The one thread that writes: it commits what is queued, and only then is it acknowledged.

The queue is bounded in bytes. What is committed together came while the commit before it took place, so
there is no timer to wait for, and the more comes the fewer commits there are.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Thread
from typing import Any, Final, NamedTuple

from otel_stream import semconv
from otel_stream.encoding import encode, joined
from otel_stream.view import beginnings, retention, schema, words
from otel_stream.view.items import Attributes, Batch, Log, Span
from otel_stream.view.units import Unit, Units, learn_from_log, learn_from_span

#: Longest text of a body that is kept, in characters; what is behind it is counted.
MAX_BODY: Final = 16 * 2**20
#: Items that are committed together at most, so that who is acknowledged waits no longer than need be.
_AT_ONCE: Final = 20_000
#: Seconds that the writer waits for more before it indexes what has ended.
_IDLE: Final = 0.25

_INSERT_SPAN: Final = "INSERT OR IGNORE INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#: What was told when it began is told again when it ends; a copy of its end changes nothing.
_END_SPAN: Final = """UPDATE span SET parent = ?3, name = ?4, kind = ?5, started = ?6, ended = ?7,
    status = ?8, version = ?9, about = ?10
    WHERE trace = ?1 AND id = ?2 AND ended IS NULL AND ?7 IS NOT NULL"""
_INSERT_LOG: Final = "INSERT OR IGNORE INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_POINT: Final = """INSERT INTO point VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
    SET time = ?4, value = ?5 WHERE ?4 >= time"""


class Job(NamedTuple):
    """A batch, and what to call when it is committed (with None) or cannot be (with the error)."""

    batch: Batch
    done: Callable[[Exception | None], None]


class Counts(NamedTuple):
    """What was written, and what had no place, since the start."""

    spans: int
    logs: int
    unplaced: int
    deleted: int


class Writer:
    """Writes batches into the store at ``path``, in a thread of its own.

    Args:
        path: the store.
        capacity: how many bytes the store may take up; the oldest runs go beyond it.
        queue: how many bytes may wait to be written.
        told: called in the writer's thread after each commit, with its number.
    """

    def __init__(
        self,
        path: Path,
        capacity: int = 2**30,
        queue: int = 64 * 2**20,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._connection = schema.connect(path)
        self._units = Units(self._connection)
        self._capacity = capacity
        self._most = queue
        self._told = told
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._changed = Condition()
        self._closing = False
        self._tidied = 0.0
        self._more_to_index = False
        self._spans = self._logs = self._unplaced = self._deleted = 0
        (self.version,) = self._connection.execute("SELECT coalesce(max(version), 0) FROM unit").fetchone()
        self._thread = Thread(target=self._run, name="otel-stream view: store", daemon=True)
        self._thread.start()

    def offer(self, job: Job) -> bool:
        """Queue a batch; False if there is no room for it, or the writer is closing."""
        with self._changed:
            if self._closing or (self._waiting and self._waiting + job.batch.size > self._most):
                return False
            self._waiting += job.batch.size
            self._jobs.append(job)
            self._changed.notify()
            return True

    def write(self, batch: Batch) -> None:
        """Write a batch and wait for its commit: for files, and tests.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        outcome: list[Exception | None] = []
        with self._changed:
            self._jobs.append(Job(batch, outcome.append))
            self._waiting += batch.size
            self._changed.notify_all()
            while not outcome:
                self._changed.wait(0.05)
        if outcome[0] is not None:
            raise outcome[0]

    @property
    def counts(self) -> Counts:
        """What was written since the start."""
        return Counts(self._spans, self._logs, self._unplaced, self._deleted)

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._waiting

    def close(self) -> None:
        """Write what is queued, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._connection.close()

    # -- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            jobs = self._next()
            if jobs is None:
                return
            if jobs:
                self._commit(jobs)
            # While more comes all the time, what has ended is found nevertheless.
            if not jobs or time.monotonic() - self._tidied > _IDLE:
                self._tidy()

    def _next(self) -> list[Job] | None:
        """Return what to commit together; nothing if there has been nothing for a while, None at the end."""
        with self._changed:
            if not self._jobs and not self._closing and not self._more_to_index:
                self._changed.wait(_IDLE)
            if not self._jobs:
                return None if self._closing else []
            jobs: list[Job] = []
            items = 0
            while self._jobs and items < _AT_ONCE:
                job = self._jobs.popleft()
                items += len(job.batch.spans) + len(job.batch.logs)
                jobs.append(job)
            return jobs

    def _commit(self, jobs: list[Job]) -> None:
        error: Exception | None = None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self.version += 1
            for job in jobs:
                self._write(job.batch)
            self._units.save(self.version)
            self._make_room()
            self._connection.execute("COMMIT")
        except Exception as trouble:  # noqa: BLE001 - a full disk, above all; who sent it is told
            error = trouble
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._units.forget()
        with self._changed:
            self._waiting -= sum(job.batch.size for job in jobs)
        for job in jobs:
            job.done(error)
        self._told(self.version)

    def _make_room(self) -> None:
        if deleted := retention.make_room(self._connection, self._capacity):
            self._deleted += deleted
            self._units.forget()

    def _tidy(self) -> None:
        self._tidied = time.monotonic()
        try:
            self._more_to_index = words.index_one(self._connection, time.time_ns())
        except sqlite3.Error:
            # A search misses a run, then; the next time it is tried again.
            self._more_to_index = False
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _write(self, batch: Batch) -> None:
        for span in batch.spans:
            self._write_span(span)
        for log in batch.logs:
            self._write_log(log)
        self._connection.executemany(
            _INSERT_POINT,
            [
                (one.service, one.name, joined(sorted(one.attributes.items())).decode(), one.time, one.value)
                for one in batch.points
            ],
        )

    def _write_span(self, span: Span) -> None:
        if not span.trace or not span.id:
            self._unplaced += 1
            return
        trace = self._units.trace(span.trace, span.service, span.start)
        row = (
            trace.trace, span.id, span.parent, span.name, span.kind, span.start, span.end, span.status,
            self.version, about_span(span),
        )  # fmt: skip
        new = self._connection.execute(_INSERT_SPAN, row).rowcount
        if not new and span.end is not None and self._connection.execute(_END_SPAN, row).rowcount:
            trace.spans -= 1  # it was counted when it began
            new = 1
        if new:
            self._spans += 1
            learn_from_span(self._units, trace, span)

    def _write_log(self, log: Log) -> None:
        if log.name == beginnings.STRUCTURE:
            self._connection.execute(
                "INSERT OR IGNORE INTO structure VALUES (?, ?, ?)", beginnings.piece(log)
            )
            return
        if (span := beginnings.span(log)) is not None:
            self._write_span(span)
        run_id = log.attributes.get(semconv.GRAPH_RUN_ID)
        number: Any = None
        if run_id is not None:
            graph = str(log.attributes.get(semconv.GRAPH_NAME, ""))
            unit = self._units.run(str(run_id), log.trace, graph, log.service, log.time)
            number = log.attributes.get(semconv.GRAPH_LOG_SEQ)
        elif log.trace:
            unit = self._units.trace(log.trace, log.service, log.time)
        else:
            self._unplaced += 1
            return
        name = log.name or _named(log.attributes)
        half = 1 << (schema.LOG_BITS - 1)
        # Ours are numbered, so that a copy is known as one; others are counted, in the upper half.
        own = type(number) is int and 0 <= number < half
        place = number if own else half + unit.logs
        row = (
            (unit.id << schema.LOG_BITS) + place, log.time, log.span, name, log.severity, self.version,
            body_text(log.body), joined(
                {"attributes": log.attributes, "service": log.service, "scope": log.scope}
            ),
        )  # fmt: skip
        if self._connection.execute(_INSERT_LOG, row).rowcount:
            self._logs += 1
            _learn(unit, log, name)


def _learn(unit: Unit, log: Log, name: str) -> None:
    if log.attributes.get(semconv.GRAPH_RUN_ID) is None:
        unit.logs += 1
    else:
        learn_from_log(unit, log._replace(name=name))


def _named(attributes: Attributes) -> str:
    """Return the name of a log event that came through something that knows no names of events."""
    mode = attributes.get(semconv.GRAPH_STREAM_MODE)
    return f"graph.{'run_end' if mode == 'end' else mode}" if isinstance(mode, str) else ""


def about_span(span: Span) -> bytes:
    """Return as JSON what has no column."""
    about: dict[str, Any] = {"attributes": span.attributes}
    for name in ("message", "events", "links", "service", "scope"):
        if value := getattr(span, name):
            about[name] = value
    return joined(about)


def body_text(body: Any) -> str:
    """Return a body as text, as long as it may be."""
    text = body if isinstance(body, str) else "" if body is None else encode(body).decode()
    if len(text) > MAX_BODY:
        return f"{text[:MAX_BODY]}… [{len(text) - MAX_BODY} more characters]"
    return text
