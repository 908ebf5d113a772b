"""What the page asks of the store. A reader never waits for the writer, nor the writer for it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import LifoQueue
from typing import Any, Final

from otel_stream import semconv
from otel_stream.encoding import decode
from otel_stream.view import query as queries
from otel_stream.view import retention, schema
from otel_stream.view.retention import logs_of
from otel_stream.view.shapes import Row, event, log_row, part, span, unit

#: Rows of the list at once, at most.
MAX_ROWS: Final = 200
#: Log events of a run that the page is told of; what they contain is asked for where it is shown.
MAX_EVENTS: Final = 20_000
#: Units whose attributes are looked at for a search.
_LOOKED_AT: Final = 300
#: Units that are not in the index yet and are read through for a search.
_READ_THROUGH: Final = 50
_READERS: Final = 4

_NEWEST: Final = "SELECT id FROM unit WHERE listed ORDER BY started DESC LIMIT ?"

_MATCH: Final = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT 10000"

_UNIT: Final = """SELECT unit.*,
    trace.spans AS all_spans, trace.tokens AS all_tokens, trace.errors AS all_errors
    FROM unit JOIN unit AS trace ON trace.id = unit.trace"""

_CHANGED: Final = (
    f"{_UNIT} WHERE unit.listed AND unit.trace IN (SELECT trace FROM unit WHERE version > ?)"  # noqa: S608
    " ORDER BY unit.version DESC LIMIT ?"
)
_LOG: Final = """SELECT id, time, name, span, severity, about,
    substr(body, 1, 4000) AS body, length(body) AS size FROM log"""


class NotThere(LookupError):
    """What was asked for is not in the store, or not any more."""


class Reader:
    """Answers from the store at ``path``, from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: LifoQueue[sqlite3.Connection] = LifoQueue()
        for _ in range(_READERS):
            self._free.put(schema.connect_reading(path))

    def close(self) -> None:
        """Close the connections."""
        for _ in range(_READERS):
            self._free.get().close()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = self._free.get()
        try:
            connection.execute("BEGIN")  # one state of the store, whatever is written meanwhile
            yield connection
        finally:
            connection.rollback()
            self._free.put(connection)

    # -- the list ---------------------------------------------------------------------------------

    def runs(
        self, text: str = "", limit: int = 100, before: int | None = None, *, failed_first: bool = False
    ) -> list[Row]:
        """Return the newest runs that ``text`` finds, begun before ``before``."""
        query = queries.parse(text)
        said, parameters = queries.conditions(query)
        values: list[Any] = list(parameters)
        if before is not None:
            said.append("unit.started < ?")
            values.append(before)
        limit = max(1, min(limit, MAX_ROWS))
        order = "unit.state NOT IN ('error', 'timeout', 'recursion_limit'), " if failed_first else ""
        with self._connected() as connection:
            if query.words or query.attributes:
                ids = _found(connection, query)
                said.append(f"unit.id IN ({', '.join(map(str, ids))})")
            where = " AND ".join(["unit.listed", *(_qualified(one) for one in said)])
            rows = connection.execute(
                f"{_UNIT} WHERE {where} ORDER BY {order}unit.started DESC LIMIT ?",
                (*values, limit),
            )
            return [unit(row) for row in rows]

    def changed(self, version: int, limit: int = MAX_ROWS) -> tuple[int, list[Row]]:
        """Return the newest version, and the listed units that changed after ``version``."""
        with self._connected() as connection:
            newest = _version(connection)
            rows = connection.execute(_CHANGED, (version, limit))
            return newest, [unit(row) for row in rows]

    def totals(self) -> dict[str, Any]:
        """Return how many runs there are by state, and of the last hour by minute; and the size of all."""
        minute = 60 * 10**9
        since = (time.time_ns() // minute - 59) * minute
        with self._connected() as connection:
            states = dict(
                connection.execute(
                    "SELECT CASE WHEN state = 'interrupted' AND answered IS NULL THEN 'waiting'"
                    " ELSE state END,"
                    " count(*) FROM unit WHERE listed GROUP BY 1"
                ).fetchall()
            )
            took = connection.execute(
                "SELECT (started - ?1) / ?2, (ended - started) / 1e6, state FROM unit"
                " WHERE listed AND started >= ?1 ORDER BY started DESC LIMIT 20000",
                (since, minute),
            ).fetchall()
            lost = connection.execute(
                "SELECT coalesce(sum(value), 0) FROM point WHERE name = 'otel_stream.export.lost'"
            ).fetchone()[0]
            return {
                "states": states,
                "minutes": _minutes(took),
                "bytes": retention.used(connection),
                "lost": lost,
            }

    # -- a run ------------------------------------------------------------------------------------

    def run(self, key: str, after: int = 0) -> dict[str, Any]:
        """Return a run, with the spans and log events of it that came after version ``after``.

        Raises:
            NotThere: there is no such run.
        """
        with self._connected() as connection:
            found = _unit(connection, key)
            spans = connection.execute(
                "SELECT id, parent, name, kind, started, ended, status, about FROM span"
                " WHERE trace = ? AND version > ? ORDER BY started",
                (found["trace"], after),
            ).fetchall()
            events = connection.execute(
                "SELECT id, time, name, span, severity, length(body) AS size, about FROM log"
                " WHERE id BETWEEN ? AND ? AND version > ? LIMIT ?",
                (*logs_of(found["id"]), after, MAX_EVENTS),
            ).fetchall()
            told = [event(row) for row in events]
            siblings = connection.execute(
                f"{_UNIT} WHERE unit.trace = ? AND unit.listed AND unit.id <> ?"
                " ORDER BY unit.started LIMIT 50",
                (found["trace"], found["id"]),
            )
            return {
                "version": _version(connection),
                "run": unit(found),
                "spans": [span(row) for row in spans],
                "events": told,
                "siblings": [unit(row) for row in siblings],
                "more": len(told) == MAX_EVENTS,
            }

    def span(self, key: str, id: str) -> dict[str, Any]:
        """Return everything that is known of a span, with the log records on it.

        Raises:
            NotThere: there is no such span.
        """
        with self._connected() as connection:
            found = _unit(connection, key)
            row = connection.execute(
                "SELECT * FROM span WHERE trace = ? AND id = ?", (found["trace"], id)
            ).fetchone()
            if row is None:
                raise NotThere(f"span {id[:40]!r} is not there (yet)")
            logs = connection.execute(
                "SELECT * FROM log WHERE id BETWEEN ? AND ? AND span = ? LIMIT 200",
                (*logs_of(found["id"]), id),
            ).fetchall() + connection.execute(
                "SELECT * FROM log WHERE id BETWEEN ? AND ? AND span = ? LIMIT 200",
                (*logs_of(found["trace"]), id),
            ).fetchall() * (found["trace"] != found["id"])
            return {**span(row), "about": decode(row["about"]), "logs": [log_row(one) for one in logs]}

    def parts(self, key: str, after: int = -1, modes: Iterable[str] = (), limit: int = 200) -> dict[str, Any]:
        """Return stream parts of a run by their number, the text of each as far as it is short.

        Raises:
            NotThere: there is no such run.
        """
        names = [f"graph.{mode}" for mode in modes]
        condition = f" AND name IN ({', '.join('?' * len(names))})" if names else ""
        limit = max(1, min(limit, 1000))
        with self._connected() as connection:
            first, last = logs_of(_unit(connection, key)["id"])
            rows = connection.execute(
                f"{_LOG} WHERE id > ? AND id <= ?{condition} ORDER BY id LIMIT ?",
                (first + after, last, *names, limit),
            ).fetchall()
            return {"parts": [part(row) for row in rows], "more": len(rows) == limit}

    def body(self, key: str, number: int) -> str:
        """Return the whole body of a log event.

        Raises:
            NotThere: there is none.
        """
        with self._connected() as connection:
            first, last = logs_of(_unit(connection, key)["id"])
            row = connection.execute(
                "SELECT body FROM log WHERE id = ?", (min(max(first, first + number), last),)
            ).fetchone()
        if row is None:
            raise NotThere(f"log event {number} is not there (yet)")
        return str(row["body"])

    def logs(self, key: str, limit: int = 1000) -> list[Row]:
        """Return the log records of a run's trace that are no stream parts.

        Raises:
            NotThere: there is no such run.
        """
        with self._connected() as connection:
            found = _unit(connection, key)
            rows = connection.execute(
                f"{_LOG} WHERE id BETWEEN ? AND ? ORDER BY time LIMIT ?",
                (*logs_of(found["trace"]), limit),
            ).fetchall()
            if found["trace"] != found["id"]:
                rows += connection.execute(
                    f"{_LOG} WHERE id BETWEEN ? AND ? AND severity >= 13 ORDER BY time LIMIT ?",
                    (*logs_of(found["id"]), limit),
                ).fetchall()
            return [log_row(row) for row in rows]

    def records(self, key: str) -> tuple[int, list[tuple[Any, ...]]]:
        """Return the version of a run, and its numbered log events: attributes, body, time, trace and span.

        Raises:
            NotThere: there is no such run.
        """
        with self._connected() as connection:
            found = _unit(connection, key)
            first, _ = logs_of(found["id"])
            rows = connection.execute(
                "SELECT about, body, time, span FROM log WHERE id >= ? AND id < ?",
                (first, first + (1 << (schema.LOG_BITS - 1))),
            )
            return found["version"], [
                (decode(row["about"])["attributes"], row["body"], row["time"], found["trace_id"], row["span"])
                for row in rows
            ]

    def structure(self, digest: str) -> str:
        """Return what a graph was declared to be, as JSON.

        Raises:
            NotThere: nobody has said.
        """
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT text FROM structure WHERE digest = ? ORDER BY piece", (digest,)
            ).fetchall()
        if not rows:
            raise NotThere("the structure of the graph was not exported")
        return "".join(row["text"] for row in rows)

    def account(self, key: str) -> list[Row]:
        """Return the newest sums and gauges about receivers and exports of a run's service.

        Raises:
            NotThere: there is no such run.
        """
        with self._connected() as connection:
            found = _unit(connection, key)
            rows = connection.execute(
                "SELECT name, attributes, time, value FROM point WHERE service = ?"
                " AND (name GLOB 'graph.stream.*' OR name GLOB 'otel_stream.export.*') LIMIT 2000",
                (found["service"],),
            ).fetchall()
        points = [
            {"name": row["name"], "attributes": dict(decode(row["attributes"])), "value": row["value"]}
            for row in rows
        ]
        return [
            one for one in points if one["attributes"].get(semconv.GRAPH_NAME, found["name"]) == found["name"]
        ]


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM unit").fetchone()[0])


def _qualified(condition: str) -> str:
    return condition if condition.startswith("unit.") else " AND ".join(
        f"unit.{one}" for one in condition.split(" AND ")
    )  # fmt: skip


def _unit(connection: sqlite3.Connection, key: str) -> sqlite3.Row:
    row = connection.execute(f"{_UNIT} WHERE unit.key = ?", (key,)).fetchone()
    if row is None:
        raise NotThere(f"run {key[:80]!r} is not in the store (any more)")
    return row  # type: ignore[no-any-return]


def _found(connection: sqlite3.Connection, query: queries.Query) -> list[int]:
    """Return the units that have the words and attributes: from the index, and what is not there yet."""
    ids: list[int] = []
    if asked := queries.match(query):
        with suppress(sqlite3.OperationalError):  # a word of a script that SQLite does not know
            ids = [row[0] for row in connection.execute(_MATCH, (asked,))]
    else:  # an attribute without a word in it
        ids = [row[0] for row in connection.execute(_NEWEST, (_LOOKED_AT,))]
    fresh = connection.execute(
        "SELECT id FROM unit WHERE listed AND indexed < version ORDER BY seen DESC LIMIT ?", (_READ_THROUGH,)
    ).fetchall()
    known = set(ids)
    ids += [row[0] for row in fresh if row[0] not in known and _reads(connection, row[0], query.words)]
    if query.attributes:
        ids = [id for id in ids[:_LOOKED_AT] if _has(connection, id, query.attributes)]
    return ids


def _reads(connection: sqlite3.Connection, id: int, words: Iterable[str]) -> bool:
    """Say whether a unit has all words, by reading it through."""
    for word in words:
        like = f"%{word}%"
        row = connection.execute(
            "SELECT 1 FROM unit WHERE id = ?1"
            " AND (name LIKE ?2 OR thread LIKE ?2 OR service LIKE ?2) UNION ALL"
            " SELECT 1 FROM log WHERE id BETWEEN ?3 AND ?4 AND (body LIKE ?2 OR name LIKE ?2) UNION ALL"
            " SELECT 1 FROM span WHERE trace = (SELECT trace FROM unit WHERE id = ?1)"
            " AND (name LIKE ?2 OR about LIKE ?2) LIMIT 1",
            (id, like, *logs_of(id)),
        ).fetchone()
        if row is None:
            return False
    return True


def _has(connection: sqlite3.Connection, id: int, wanted: Iterable[tuple[str, str]]) -> bool:
    """Say whether a span or log event of a unit has each attribute with its value."""
    for key, value in wanted:
        path = '$.attributes."' + key.replace('"', "") + '"'
        row = connection.execute(
            "SELECT 1 FROM span WHERE trace = (SELECT trace FROM unit WHERE id = ?1)"
            " AND CAST(json_extract(CAST(about AS TEXT), ?2) AS TEXT) = ?3 UNION ALL"
            " SELECT 1 FROM log WHERE id BETWEEN ?4 AND ?5"
            " AND CAST(json_extract(CAST(about AS TEXT), ?2) AS TEXT) = ?3 LIMIT 1",
            (id, path, value, *logs_of(id)),
        ).fetchone()
        if row is None:
            return False
    return True


def _minutes(rows: Iterable[tuple[int, float | None, str]]) -> list[dict[str, Any]]:
    """Return of each of the last 60 minutes how many runs began and failed, and the 95th percentile."""
    minutes: list[dict[str, Any]] = [{"runs": 0, "failed": 0, "took": []} for _ in range(60)]
    for minute, took, state in rows:
        if not 0 <= minute < 60:
            continue
        one = minutes[minute]
        one["runs"] += 1
        one["failed"] += state in {"error", "timeout", "recursion_limit"}
        if took is not None:
            one["took"].append(took)
    for one in minutes:
        known = sorted(one.pop("took"))
        one["p95"] = known[min(len(known) - 1, int(len(known) * 0.95))] if known else None
    return minutes
