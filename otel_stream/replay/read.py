"""Log events from where they were stored: OTLP as JSON lines, or Loki's answer to a query.

Whoever stored them may have put them in another order, in other batches, and more than once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from otel_stream import semconv
from otel_stream.encoding import decode

#: A path, a document, or several documents or lines.
Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Iterable[str | bytes | Mapping[str, Any]]"


class ReplayError(ValueError):
    """There is nothing to replay; the text is one sentence that says why, and what to do."""


class Record(NamedTuple):
    """A log event as it was stored. Ids are hexadecimal, ``time`` is in nanoseconds since the epoch.

    ``body`` is a string, or already what its JSON says.
    """

    attributes: dict[str, Any]
    body: Any
    time: int
    trace_id: str | None
    span_id: str | None


class Found(NamedTuple):
    """What a source contains; ``damaged`` are sentences about what in it could not be read."""

    records: list[Record]
    damaged: tuple[str, ...]


_NUMBERS: Final = frozenset(
    {
        semconv.GRAPH_LOG_SEQ,
        semconv.GRAPH_STREAM_SEQ,
        semconv.GRAPH_SUPERSTEP,
        semconv.GRAPH_TASK_ATTEMPT,
        semconv.GRAPH_STREAM_AGGREGATE_PARTS,
        semconv.GRAPH_STREAM_AGGREGATE_FIRST_SEQ,
        semconv.GRAPH_STREAM_BODY_CHUNK,
        semconv.GRAPH_STREAM_BODY_CHUNKS,
        semconv.GRAPH_STREAM_BODY_SIZE,
        semconv.GRAPH_VALUES_BASE_SEQ,
        semconv.GRAPH_VALUES_ROWS,
    }
)
_LISTS: Final = frozenset({semconv.GRAPH_RUN_TAGS, semconv.GRAPH_VALUES_DRIFT})
_TEXTS: Final = frozenset(
    {
        semconv.GRAPH_RUN_ID,
        semconv.GRAPH_NAME,
        semconv.GRAPH_NS,
        semconv.GRAPH_STREAM_MODE,
        semconv.GEN_AI_NODE_NAME,
        semconv.GRAPH_TASK_ID,
        semconv.GRAPH_RUN_END,
        semconv.GRAPH_STREAM_BODY_FORM,
        semconv.GRAPH_VALUES_ENCODING,
        semconv.GRAPH_VALUES_DIGEST,
        semconv.GRAPH_VALUES_ROWS_DIGEST,
        semconv.GRAPH_VALUES_INTERRUPTS,
    }
)
#: Loki's name of an attribute -> ours: it knows no dots.
_FROM_LOKI: Final = {name.replace(".", "_"): name for name in _NUMBERS | _LISTS | _TEXTS}


def read(source: Source) -> Found:
    """Return the log events of graph runs in ``source``.

    Raises:
        ReplayError: there is none.
        OSError: the file cannot be read.
    """
    damaged: list[str] = []
    name = "the source"
    if isinstance(source, str | os.PathLike):
        name = repr(os.fspath(source))
        documents = _of_file(Path(source), damaged)
    else:
        given: Iterable[Any] = [source] if isinstance(source, Mapping) else source
        documents = _parsed(given, damaged)
    records: list[Record] = []
    count = 0
    for document in documents:
        count += 1
        records.extend(_records(document))
    if not records:
        raise ReplayError(_nothing(name, count, damaged))
    return Found(records, tuple(damaged))


def _nothing(name: str, count: int, damaged: list[str]) -> str:
    if count == 0 and damaged:
        return f"{name} is no JSON: give a file of OTLP JSON lines, or Loki's answer to a query_range."
    if count == 0:
        return f"{name} is empty: give a file of OTLP JSON lines, or Loki's answer to a query_range."
    return (
        f"{name} has no log events of graph runs: were they exported (OTEL_LOGS_EXPORTER, modes), "
        "and was the run sampled?"
    )


def _of_file(path: Path, damaged: list[str]) -> Iterator[Mapping[str, Any]]:
    text = path.read_bytes()
    try:
        # One document over several lines: something that was made for reading.
        whole = decode(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict):
        return iter((whole,))
    return _parsed(text.splitlines(), damaged)


def _parsed(
    lines: Iterable[str | bytes | Mapping[str, Any]], damaged: list[str]
) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, 1):
        document: Any = line
        if isinstance(line, str | bytes):
            if not line.strip():
                continue
            try:
                document = decode(line)
            except ValueError:
                document = None
        if isinstance(document, Mapping):
            yield document
        else:
            damaged.append(f"line {number} is no JSON object; it may have been cut off")


def _records(document: Mapping[str, Any]) -> Iterator[Record]:
    try:
        if "resourceLogs" in document:
            yield from _of_otlp(document)
        elif "data" in document or "streams" in document:
            yield from _of_loki(document)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ReplayError(
            f"a document looks like OTLP JSON or Loki's answer, but is not in that form ({error!r}): "
            "was it changed on its way?"
        ) from error


# -- OTLP -----------------------------------------------------------------------------------------


def _of_otlp(document: Mapping[str, Any]) -> Iterator[Record]:
    scopes = chain.from_iterable(one.get("scopeLogs", ()) for one in document["resourceLogs"])
    for record in chain.from_iterable(scope.get("logRecords", ()) for scope in scopes):
        attributes = {one["key"]: _value(one.get("value", {})) for one in record.get("attributes", ())}
        if semconv.GRAPH_LOG_SEQ in attributes:
            yield Record(
                attributes,
                _value(record.get("body", {})) or "",
                int(record.get("timeUnixNano", 0)),
                record.get("traceId") or None,
                record.get("spanId") or None,
            )


def _value(value: Mapping[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "arrayValue":
            return [_value(item) for item in content.get("values", ())]
        return content
    return None


# -- Loki -----------------------------------------------------------------------------------------


def _of_loki(document: Mapping[str, Any]) -> Iterator[Record]:
    streams = document["streams"] if "streams" in document else document["data"]["result"]
    for stream in streams:
        labels = stream.get("stream", {})
        for time, line, *more in stream.get("values", ()):
            # Asked to, Loki tells labels, structured metadata and what it parsed apart.
            metadata = more[0].get("structuredMetadata", more[0]) if more else {}
            about = {**labels, **metadata}
            attributes = {
                name: _from_loki(name, value)
                for label, value in about.items()
                if (name := _FROM_LOKI.get(label)) is not None
            }
            if semconv.GRAPH_LOG_SEQ in attributes:
                yield Record(attributes, line, int(time), about.get("trace_id"), about.get("span_id"))


def _from_loki(name: str, value: str) -> Any:
    if name in _NUMBERS:
        return int(value)
    return decode(value) if name in _LISTS else value
