"""Leases of threads: of all workers that share a database, one at a time runs a thread of conversation.

A lease is asked for and given back by blocking calls, which the run makes where they may block. What is held
lasts as long as its worker does: PostgreSQL lets go with the connection, and a row of SQLite's runs out.
"""

from __future__ import annotations

import math
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from weakref import finalize

from ..errors import LeaseLostError

#: Milliseconds that SQLite waits for another writer.
_BUSY: Final = 10_000


class Held:
    """A thread that is held, until it is released."""

    __slots__ = ("_lease", "lost", "thread_id")

    def __init__(self, lease: ThreadLease, thread_id: str) -> None:
        self._lease = lease
        self.thread_id = thread_id
        #: Why it is held no longer.
        self.lost: str | None = None

    def check(self) -> None:
        """See that it is still held.

        Raises:
            LeaseLostError: somebody else may have the thread.
        """
        self.lost = self._lease.why_lost(self)
        if self.lost is not None:
            raise LeaseLostError(
                f"the lease of thread {self.thread_id!r} is lost, so another worker may run it: {self.lost}; "
                "invoke the graph with None to go on from the last checkpoint"
            )

    def release(self) -> None:
        """Let go of it. Never raises."""
        self._lease.release(self)


class ThreadLease:
    """Who may run a thread: ``graph.compile(checkpointer=saver, lease=PostgresLease(url))``.

    ``wait``: the seconds that a run, or an update of the state, waits for a thread that another one has,
    ``math.inf`` for as long as it takes; then, or at once by default, it fails with ``ThreadBusyError``.

    Raises:
        ValueError: ``wait`` is no time.
    """

    def __init__(self, wait: float) -> None:
        self.wait = _seconds("wait", wait, wait >= 0.0)
        self._held: dict[str, Held] = {}
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def take(self, thread_id: str) -> Held | str:
        """Take ``thread_id``, or return who has it."""
        self._forget_parents()
        with self._lock:
            if thread_id in self._held:
                return "another run, or update, of this process"
            who = self._take(thread_id)
            if who is not None:
                return who
            held = self._held[thread_id] = Held(self, thread_id)
            return held

    def holds(self, thread_id: str) -> bool:
        """Whether this process has taken ``thread_id``."""
        self._forget_parents()
        return thread_id in self._held

    def release(self, held: Held) -> None:
        """Let go of ``held``. Never raises: what can't be told the database lasts no longer than it must."""
        self._forget_parents()
        with self._lock:
            if self._held.get(held.thread_id) is held:
                del self._held[held.thread_id]
                if held.lost is None:
                    with suppress(Exception):
                        self._release(held.thread_id)

    def why_lost(self, held: Held) -> str | None:
        """Return why ``held`` is held no longer, None if it is."""
        self._forget_parents()
        with self._lock:  # once lost, it stays so
            if self._held.get(held.thread_id) is not held:
                return held.lost or "its process was forked"
            return held.lost or self._why_lost(held)

    def _forget_parents(self) -> None:
        """Hold nothing that a parent process does."""
        if self._pid != os.getpid():
            self._pid, self._held, self._lock = os.getpid(), {}, threading.Lock()
            self._forked()

    def _take(self, thread_id: str) -> str | None:
        raise NotImplementedError

    def _release(self, thread_id: str) -> None:
        raise NotImplementedError

    def _why_lost(self, held: Held) -> str | None:
        raise NotImplementedError

    def _forked(self) -> None:
        raise NotImplementedError


def _seconds(name: str, value: float, fits: bool) -> float:
    if not fits:
        raise ValueError(f"lease: {name}={value!r} is no time; give seconds, more than 0")
    return float(value)


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class PostgresLease(ThreadLease):
    """Advisory locks of one connection to PostgreSQL, for all threads that this process runs.

    ``url``: as psycopg takes it, of the checkpointer's database. If its process dies, or the connection, the
    threads are free at once. Its role needs no rights but to connect.
    """

    def __init__(self, url: str, *, wait: float = 0.0) -> None:
        super().__init__(wait)
        self._url = url
        self._connection: Any = None
        #: Closes it, at the latest when this is gone.
        self._close: Callable[[], Any] = _nothing

    def _connected(self) -> Any:
        import psycopg

        if self._connection is None or self._connection.broken:
            self._close()
            connection = psycopg.connect(
                self._url, autocommit=True, application_name=f"otel-stream {_worker()}"
            )
            self._connection, self._close = connection, finalize(self, connection.close)
        return self._connection

    def _take(self, thread_id: str) -> str | None:
        if self._connection is not None and self._connection.broken:
            for held in self._held.values():
                held.lost = held.lost or "its connection to PostgreSQL was lost"
        connection, key = self._connected(), _key(thread_id)
        if connection.execute("select pg_try_advisory_lock(%s)", (key,)).fetchone()[0]:
            return None
        # The two halves of the key, as the view of locks shows them.
        found = connection.execute(
            "select a.application_name from pg_locks l join pg_stat_activity a using (pid) "
            "where l.granted and l.locktype = 'advisory' and l.objsubid = 1 "
            "and l.classid::bigint = %s and l.objid::bigint = %s",
            ((key >> 32) & 0xFFFF_FFFF, key & 0xFFFF_FFFF),
        ).fetchone()
        return f"the worker {found[0]!r}" if found else "another worker"

    def _release(self, thread_id: str) -> None:
        self._connected().execute("select pg_advisory_unlock(%s)", (_key(thread_id),))

    def _why_lost(self, held: Held) -> str | None:
        try:
            self._connection.execute("select 1")
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is known of the lock
            return f"its connection to PostgreSQL was lost ({type(error).__name__})"
        return None

    def _forked(self) -> None:
        # It is the parent's, and stays open there: so it is neither closed nor let go of here.
        if isinstance(self._close, finalize):
            self._close.detach()
        self._parents = self._connection
        self._connection, self._close = None, _nothing


def _nothing() -> None:
    """Do nothing: there is no connection."""


def _key(thread_id: str) -> int:
    digest = blake2b(f"otel-stream thread {thread_id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class SqliteLease(ThreadLease):
    """Rows of a table of its own in a SQLite database, for all threads that this process runs.

    ``path``: the checkpointer's database. A row says until when it holds, and is written anew in time by a
    thread of this process: if that dies, the thread of conversation is free after ``ttl`` seconds.

    Raises:
        ValueError: ``ttl`` or ``wait`` is no time.
    """

    def __init__(self, path: str | Path, *, wait: float = 0.0, ttl: float = 10.0) -> None:
        super().__init__(wait)
        self._path = str(path)
        self._ttl = _seconds("ttl", ttl, 0.0 < ttl < math.inf)
        self._holder = f"{_worker()} {uuid.uuid4().hex}"
        #: When what is held was last written anew, by the monotonic clock.
        self._renewed = 0.0
        self._renewing: threading.Thread | None = None

    def _write(self, change: Callable[[sqlite3.Connection], Any]) -> Any:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY / 1000)
        try:
            connection.execute(
                "create table if not exists otel_stream_leases "
                "(thread_id text primary key, holder text not null, until real not null)"
            )
            connection.execute("begin immediate")
            with connection:
                return change(connection)
        finally:
            connection.close()

    def _take(self, thread_id: str) -> str | None:
        before = time.monotonic()

        def change(connection: sqlite3.Connection) -> str | None:
            now = time.time()
            found = connection.execute(
                "select holder from otel_stream_leases where thread_id = ? and until > ? and holder != ?",
                (thread_id, now, self._holder),
            ).fetchone()
            if found is not None:
                return f"the worker {found[0].split()[0]!r}"
            connection.execute(
                "insert or replace into otel_stream_leases values (?, ?, ?)",
                (thread_id, self._holder, now + self._ttl),
            )
            return None

        who: str | None = self._write(change)
        if who is None:
            self._renewed = before if not self._held else min(before, self._renewed)
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, name="otel-stream-lease", daemon=True)
                self._renewing.start()
        return who

    def _renew(self) -> None:
        """Write anew what is held, three times as often as it must be, until nothing is held."""
        while True:
            time.sleep(self._ttl / 3)
            with self._lock:
                if not self._held:
                    self._renewing = None
                    return
                before = time.monotonic()
                with suppress(sqlite3.Error):
                    kept = self._write(self._prolonged)
                    for thread_id in self._held.keys() - kept:
                        self._held[
                            thread_id
                        ].lost = "another worker has taken it, as it was not renewed in time"
                    self._renewed = before

    def _prolonged(self, connection: sqlite3.Connection) -> set[str]:
        rows = connection.execute(
            "update otel_stream_leases set until = ? where holder = ? returning thread_id",
            (time.time() + self._ttl, self._holder),
        )
        return {thread_id for (thread_id,) in rows}

    def _release(self, thread_id: str) -> None:
        self._write(
            lambda connection: connection.execute(
                "delete from otel_stream_leases where thread_id = ? and holder = ?", (thread_id, self._holder)
            )
        )

    def _why_lost(self, held: Held) -> str | None:
        silent = time.monotonic() - self._renewed
        return None if silent < self._ttl else f"it was not renewed for {silent:.1f} s"

    def _forked(self) -> None:
        self._holder = f"{_worker()} {uuid.uuid4().hex}"
        self._renewing = None
