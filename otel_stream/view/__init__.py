"""The viewer: runs in a browser while they run.

OTLP comes in (``ingest``), is kept in SQLite (``writer``, ``reading``), and a page on loopback shows it
(``api``, ``page``).
"""
