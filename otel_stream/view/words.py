"""The words of a run, for searches: once when it has ended, each word once."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

from otel_stream.encoding import decode
from otel_stream.view.retention import logs_of

#: Nanoseconds without news after which a unit that has ended, or has not, is looked at.
_QUIET: Final = 500_000_000
_SILENT: Final = 30_000_000_000
#: Different words that are kept of a unit, and how long one may be.
_MOST: Final = 200_000
_WORD: Final = re.compile(r"\w{1,40}")


def index_one(connection: sqlite3.Connection, now: int) -> bool:
    """Index one unit that has changed since, and is quiet; say whether there was one."""
    row = connection.execute(
        "SELECT id, trace, version, listed FROM unit WHERE indexed < version"
        " AND (seen < ?1 AND state <> 'running' OR seen < ?2) ORDER BY seen LIMIT 1",
        (now - _QUIET, now - _SILENT),
    ).fetchone()
    if row is None:
        return False
    id, trace, version, listed = row
    found: set[str] = set()
    for text, attributes in _texts(connection, id, trace) if listed else ():
        found.update(_WORD.findall(text.lower()))
        found.update(of_attribute(*one) for one in attributes.items())
        if len(found) > _MOST:
            break
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM words WHERE rowid = ?", (id,))
    connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (id, " ".join(sorted(found))))
    connection.execute("UPDATE unit SET indexed = ? WHERE id = ?", (version, id))
    connection.execute("COMMIT")
    return True


def of_attribute(key: str, value: Any) -> str:
    """Return the one word that stands for an attribute with its value."""
    text = value if isinstance(value, str) else str(value)
    return f"_{blake2b(f'{key}={text}'.encode(errors='replace'), digest_size=6).hexdigest()}"


def of_query(text: str) -> list[str]:
    """Return the words of a query, as they are in the index."""
    return _WORD.findall(text.lower())


def _texts(connection: sqlite3.Connection, id: int, trace: int) -> Iterator[tuple[str, dict[str, Any]]]:
    unit = connection.execute("SELECT name, thread, service, key, trace_id FROM unit WHERE id = ?", (id,))
    yield " ".join(text for text in unit.fetchone() if text), {}
    for name, about in connection.execute("SELECT name, about FROM span WHERE trace = ?", (trace,)):
        told = decode(about)
        yield f"{name} {' '.join(_leaves(told))}", told["attributes"]
    for name, body, about in connection.execute(
        "SELECT name, body, about FROM log WHERE id BETWEEN ? AND ?", logs_of(id)
    ):
        told = decode(about)
        yield f"{name} {body} {' '.join(_leaves(told))}", told["attributes"]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
