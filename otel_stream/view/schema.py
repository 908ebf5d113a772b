"""The tables. A *unit* is what has a row in the list: a run of a graph, or a trace that has none.

The spans of a trace are below the unit of the trace, as a span does not say which run it belongs to; the log
events of a run are below the unit of the run. Both are clustered, so that a run is read from a few pages.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

#: Counts up when the tables change; a store of another version is put aside.
VERSION: Final = 2
#: Log events that a unit may have: their number stands in the lower bits of their id.
LOG_BITS: Final = 28

_TABLES: Final = """
CREATE TABLE unit (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,    -- graph.run.id, or the trace's id
    trace INTEGER NOT NULL,      -- unit of the trace, its own if it is one
    trace_id TEXT NOT NULL,
    listed INTEGER NOT NULL,     -- 0: a trace that has runs, which are listed instead
    name TEXT NOT NULL,          -- the graph's, or the root span's
    thread TEXT,
    service TEXT NOT NULL,
    started INTEGER NOT NULL,    -- nanoseconds since the epoch, as all times
    ended INTEGER,
    state TEXT NOT NULL,         -- running, or how it ended: a value of graph.run.end
    root TEXT NOT NULL,          -- id of its root span
    steps INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    logs INTEGER NOT NULL,
    question TEXT,               -- what a human is asked
    resumes TEXT,                -- graph.resume.run.id
    answered TEXT,               -- the run that resumes it
    seen INTEGER NOT NULL,       -- when something of it came last, by our clock
    version INTEGER NOT NULL,    -- the commit that changed it last
    indexed INTEGER NOT NULL,    -- the version of which its text is in the index
    dropped INTEGER NOT NULL DEFAULT 0 -- parts that its receivers had lost at its end
);
CREATE INDEX unit_started ON unit (started DESC) WHERE listed;
CREATE INDEX unit_state ON unit (state, started DESC) WHERE listed;
CREATE INDEX unit_thread ON unit (thread, started) WHERE thread IS NOT NULL;
CREATE INDEX unit_trace ON unit (trace);
CREATE INDEX unit_version ON unit (version);
CREATE INDEX unit_unindexed ON unit (seen) WHERE indexed < version;

CREATE TABLE span (
    trace INTEGER NOT NULL,
    id TEXT NOT NULL,
    parent TEXT NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    status INTEGER NOT NULL,
    version INTEGER NOT NULL,
    about BLOB NOT NULL,         -- JSON: message, attributes, events, links, service, scope
    PRIMARY KEY (trace, id)
) WITHOUT ROWID;

CREATE TABLE log (
    id INTEGER PRIMARY KEY,      -- the unit's above, graph.log.seq or a running number below
    time INTEGER NOT NULL,
    span TEXT NOT NULL,
    name TEXT NOT NULL,
    severity INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    about BLOB NOT NULL          -- JSON: attributes, service, scope
);

CREATE TABLE point (
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    attributes TEXT NOT NULL,
    time INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (service, name, attributes)
) WITHOUT ROWID;

CREATE TABLE structure (       -- what graphs were declared to be, as JSON, in pieces
    digest TEXT NOT NULL,
    piece INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (digest, piece)
) WITHOUT ROWID;

-- The words of a unit that has ended, each once: what a search needs, and small enough to be kept twice.
CREATE VIRTUAL TABLE words USING fts5 (
    text, detail=none, tokenize="unicode61 remove_diacritics 0 tokenchars '_'"
);
"""

_SINCE_1: Final = "ALTER TABLE unit ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;"


def connect(path: Path) -> sqlite3.Connection:
    """Open the store for writing, and make its tables if it is new.

    Raises:
        sqlite3.DatabaseError: it is no store, or of another version.
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA journal_size_limit = 33554432")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version == 1:
        connection.executescript(f"BEGIN; {_SINCE_1} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        connection.close()
        raise sqlite3.DatabaseError(f"{str(path)!r} was made by another version; name another --data folder")
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """Open the store for reading alone."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=10
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA cache_size = -16384")
    return connection
