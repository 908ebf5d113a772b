"""What one types to find runs: ``thread:t7 graph:triage state:error http.route=/ask any words``."""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from otel_stream.view import words

#: What is written before the colon -> the column.
_COLUMNS: Final = {
    "graph": "name", "name": "name", "thread": "thread", "conversation": "thread", "service": "service",
    "state": "state", "run": "key", "trace": "trace_id",
}  # fmt: skip
#: Columns of which the beginning will do.
_BEGINNINGS: Final = frozenset({"key", "trace_id"})
_WAYS: Final = {"failed": ("error", "timeout", "recursion_limit")}


class Query(NamedTuple):
    """Conditions on columns, attributes that a span or log event must have, and words."""

    columns: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    words: tuple[str, ...]


def parse(text: str) -> Query:
    """Read what was typed; what is no condition is words."""
    columns: list[tuple[str, str]] = []
    attributes: list[tuple[str, str]] = []
    rest: list[str] = []
    for term in _terms(text):
        name, colon, value = term.partition(":")
        key, equals, wanted = term.partition("=")
        if colon and value and name.lower() in _COLUMNS:
            columns.append((_COLUMNS[name.lower()], value))
        elif equals and key and wanted and not key.startswith("="):
            attributes.append((key, wanted))
        else:
            rest += words.of_query(term)
    return Query(tuple(columns), tuple(attributes), tuple(rest))


def _terms(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def conditions(query: Query) -> tuple[list[str], list[str]]:
    """Return what a query says of columns, as SQL with its parameters."""
    said: list[str] = []
    parameters: list[str] = []
    for column, value in query.columns:
        if column == "state" and value == "waiting":
            said.append("state = 'interrupted' AND answered IS NULL")
        elif column == "state" and value in _WAYS:
            said.append(f"state IN ({', '.join('?' * len(_WAYS[value]))})")
            parameters += _WAYS[value]
        elif column in _BEGINNINGS:
            said.append(f"{column} >= ? AND {column} < ?")
            parameters += [value, f"{value}\U0010ffff"]
        else:
            said.append(f"{column} = ?")
            parameters.append(value)
    return said, parameters


def match(query: Query) -> str:
    """Return what to ask the index: all words, the last as its beginning, and the attributes."""
    wanted = [*query.words]
    for key, value in query.attributes:
        wanted.append(words.of_attribute(key, value))
    terms = [f'"{word}"' for word in wanted]
    if query.words:
        terms[len(query.words) - 1] += "*"
    return " ".join(terms)
