"""What goes when the store is full: the oldest traces, with everything of theirs."""

from __future__ import annotations

import sqlite3
from typing import Final

from otel_stream.view.schema import LOG_BITS

#: How full it may be before something goes.
_SHARE: Final = 0.9
#: Traces that go in one commit at most, so that nobody waits for long.
_AT_ONCE: Final = 200


def used(connection: sqlite3.Connection) -> int:
    """Return how many bytes of the file are in use: what was deleted is used again."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def make_room(connection: sqlite3.Connection, capacity: int) -> int:
    """Delete the oldest traces while the store is too full; return how many went."""
    deleted = 0
    while deleted < _AT_ONCE and used(connection) > capacity * _SHARE:
        row = connection.execute(
            "SELECT trace FROM unit WHERE trace = id ORDER BY seen = 0, seen, id LIMIT 1"
        ).fetchone()
        if row is None:
            break
        delete(connection, row[0])
        deleted += 1
    return deleted


def delete(connection: sqlite3.Connection, trace: int) -> None:
    """Delete a trace, its runs, and all that they have."""
    connection.execute("DELETE FROM span WHERE trace = ?", (trace,))
    for (id,) in connection.execute("SELECT id FROM unit WHERE trace = ?", (trace,)).fetchall():
        connection.execute("DELETE FROM log WHERE id BETWEEN ? AND ?", logs_of(id))
        connection.execute("DELETE FROM words WHERE rowid = ?", (id,))
    connection.execute("DELETE FROM unit WHERE trace = ?", (trace,))


def logs_of(unit: int) -> tuple[int, int]:
    """Return the first and the last id that a log event of a unit may have."""
    return unit << LOG_BITS, ((unit + 1) << LOG_BITS) - 1
