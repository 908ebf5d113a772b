"""Rows of the store as the page gets them: times in milliseconds since the epoch, what is absent left out."""

from __future__ import annotations

import sqlite3
from typing import Any, Final, TypeAlias

from otel_stream import semconv
from otel_stream.encoding import decode
from otel_stream.view.schema import LOG_BITS

Row: TypeAlias = "dict[str, Any]"

_NUMBER: Final = (1 << LOG_BITS) - 1
#: Attributes by which the page knows what a span is, and the short names that they have there.
_OF_SPANS: Final = {
    semconv.GEN_AI_NODE_NAME: "node",
    semconv.GRAPH_SUPERSTEP: "step",
    semconv.GRAPH_TASK_ID: "task",
    semconv.GRAPH_TASK_ATTEMPT: "attempt",
    semconv.GRAPH_TASK_ATTEMPTS: "attempts",
    semconv.GRAPH_TASK_END: "end",
    semconv.GRAPH_RUN_END: "end",
    semconv.GRAPH_SUPERSTEP_END: "end",
    semconv.GRAPH_SUPERSTEP_WIDTH: "width",
    semconv.GRAPH_TASK_CACHED: "cached",
    semconv.GRAPH_ROUTE_TARGETS: "targets",
    semconv.GRAPH_NS: "ns",
    semconv.GRAPH_RUN_ID: "run",
    "graph.structure.digest": "digest",
    "error.type": "error",
    "gen_ai.operation.name": "operation",
    "gen_ai.usage.input_tokens": "tokens_in",
    "gen_ai.usage.output_tokens": "tokens_out",
}
_OF_EVENTS: Final = {
    semconv.GEN_AI_NODE_NAME: "node",
    semconv.GRAPH_SUPERSTEP: "step",
    semconv.GRAPH_TASK_ID: "task",
    semconv.GRAPH_TASK_ATTEMPT: "attempt",
    semconv.GRAPH_NS: "ns",
    semconv.GRAPH_STREAM_SEQ: "seq",
    semconv.GRAPH_STREAM_BODY_FORM: "form",
    semconv.GRAPH_STREAM_AGGREGATE_PARTS: "joined",
    semconv.GRAPH_RUN_END: "end",
    semconv.GRAPH_ROUTE_TARGETS: "targets",
    semconv.GRAPH_TASK_DURATION: "duration",
    semconv.GRAPH_TASK_END: "end",
    semconv.GRAPH_TASK_TRIGGERED_BY: "triggered_by",
    semconv.GRAPH_VALUES_ENCODING: "encoding",
    "graph.structure.digest": "digest",
}


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def unit(row: sqlite3.Row) -> Row:
    """Return a row of the list."""
    found: Row = {
        "key": row["key"],
        "graph": row["key"] != row["trace_id"],
        "trace": row["trace_id"],
        "name": row["name"],
        "service": row["service"],
        "started": _ms(row["started"]),
        "state": row["state"],
        "root": row["root"],
        "steps": row["steps"],
        "errors": row["all_errors"],
        "tokens": row["all_tokens"],
        "spans": row["all_spans"],
        "logs": row["logs"],
        "seen": _ms(row["seen"]),
        "version": row["version"],
    }
    for name in ("thread", "question", "resumes", "answered"):
        if row[name] is not None:
            found[name] = row[name]
    if row["ended"] is not None:
        found["ended"] = _ms(row["ended"])
    if row["dropped"]:
        found["dropped"] = row["dropped"]
    return found


def span(row: sqlite3.Row) -> Row:
    """Return a span without what only its own page shows."""
    about = decode(row["about"])
    attributes = about["attributes"]
    found: Row = {
        "id": row["id"],
        "parent": row["parent"],
        "name": row["name"],
        "kind": row["kind"],
        "start": _ms(row["started"]),
        "end_time": _ms(row["ended"]),
        "status": row["status"],
        "service": about.get("service", ""),
        "scope": about.get("scope", ""),
    }
    _short(found, attributes, _OF_SPANS)
    triggers = [
        [link["span"], link["attributes"].get(semconv.GRAPH_LINK_CHANNEL, "")]
        for link in about.get("links", ())
        if link["attributes"].get(semconv.GRAPH_LINK_KIND) == "trigger"
    ]
    if triggers:
        found["triggers"] = triggers
    return found


def event(row: sqlite3.Row) -> Row:
    """Return a log event without its body."""
    found: Row = {
        "n": row["id"] & _NUMBER,
        "time": _ms(row["time"]),
        "name": row["name"],
        "span": row["span"],
        "size": row["size"],
    }
    _short(found, decode(row["about"])["attributes"], _OF_EVENTS)
    return found


def part(row: sqlite3.Row) -> Row:
    """Return a log event with the beginning of its body."""
    return {**event(row), "body": row["body"]}


def log_row(row: sqlite3.Row) -> Row:
    """Return a log record with its attributes."""
    about = decode(row["about"])
    return {
        "n": row["id"] & _NUMBER,
        "time": _ms(row["time"]),
        "name": row["name"],
        "span": row["span"],
        "severity": row["severity"],
        "body": row["body"],
        "attributes": about["attributes"],
        "scope": about.get("scope", ""),
    }


def _short(found: Row, attributes: dict[str, Any], names: dict[str, str]) -> None:
    for name, short in names.items():
        if name in attributes:
            found[short] = attributes[name]
