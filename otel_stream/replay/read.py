"""Log events from where they were stored: OTLP as JSON lines, or Loki's answer to a query.

Whoever stored them may have put them in another order, in other batches, and more than once.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from otel_stream import semconv
from otel_stream.encoding import decode, encode

#: A path, a document, or several documents or lines.
Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Iterable[str | bytes | Mapping[str, Any]]"


class ReplayError(ValueError):
    """There is nothing to replay; the text is one sentence that says why, and what to do."""


class Record(NamedTuple):
    """A log event as it was stored. Ids are hexadecimal, ``time`` is in nanoseconds since the epoch.

    ``body`` is a string, or already what its JSON says. Attributes with our names are of the types that we
    give them, and those are there without which others mean nothing.
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
#: What has the attribute before the colon can't be told without those behind it.
_NEEDED: Final = {
    semconv.GRAPH_LOG_SEQ: (semconv.GRAPH_RUN_ID, semconv.GRAPH_NAME),
    semconv.GRAPH_STREAM_SEQ: (semconv.GRAPH_STREAM_MODE,),
    semconv.GRAPH_STREAM_AGGREGATE_PARTS: (
        semconv.GRAPH_STREAM_SEQ,
        semconv.GRAPH_STREAM_AGGREGATE_FIRST_SEQ,
    ),
    semconv.GRAPH_STREAM_BODY_CHUNKS: (semconv.GRAPH_STREAM_SEQ, semconv.GRAPH_STREAM_BODY_CHUNK),
    semconv.GRAPH_VALUES_ROWS: (
        semconv.GRAPH_STREAM_MODE,
        semconv.GRAPH_VALUES_ROWS_DIGEST,
        semconv.GRAPH_VALUES_DIGEST,
        semconv.GRAPH_VALUES_BASE_SEQ,
    ),
}
#: More than any number of ours: what OTLP knows as a whole number.
_LARGEST: Final = 2**63
#: What a foreign document may raise where it is not in the form that it should have.
_OUT_OF_SHAPE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

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
    odd: list[str] = []
    records: list[Record] = []
    count = 0
    for document in documents:
        count += 1
        records.extend(_records(document, odd))
    if not records:
        raise ReplayError(_nothing(name, count, damaged, odd))
    if odd:
        damaged.append(f"{out_of_shape(len(odd))} (the first: {odd[0]}); was it changed on its way?")
    return Found(records, tuple(damaged))


def out_of_shape(count: int) -> str:
    """Say that there are so many log events that could not be read."""
    return "1 log event is out of shape" if count == 1 else f"{count} log events are out of shape"


def _nothing(name: str, count: int, damaged: list[str], odd: list[str]) -> str:
    if odd:
        return (
            f"a document looks like OTLP JSON or Loki's answer, but is not in that form ({odd[0]}): "
            "was it changed on its way?"
        )
    if count == 0 and damaged:
        return f"{name} is no JSON: give a file of OTLP JSON lines, or Loki's answer to a query_range."
    if count == 0:
        return f"{name} is empty: give a file of OTLP JSON lines, or Loki's answer to a query_range."
    if damaged:
        others = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        return f"{name} has no log events of graph runs but in what can't be read: {damaged[0]}{others}."
    return (
        f"{name} has no log events of graph runs: were they exported (OTEL_LOGS_EXPORTER, modes), "
        "and was the run sampled?"
    )


def _of_file(path: Path, damaged: list[str]) -> Iterator[Mapping[str, Any]]:
    text = path.read_bytes().removeprefix(BOM_UTF8)  # an editor may have put that there
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


def _records(document: Mapping[str, Any], odd: list[str]) -> Iterator[Record]:
    """Yield the log events of graph runs, and take note of those, or of branches, that are out of shape."""
    if "resourceLogs" in document:
        yield from _of_otlp(document, odd)
    elif "data" in document or "streams" in document:
        yield from _of_loki(document, odd)


_T = TypeVar("_T")


def _each(items: object, read: Callable[[Any], _T], odd: list[str]) -> Iterator[_T]:
    """Yield what ``read`` makes of each item; one that is out of shape costs no other its place."""
    if not isinstance(items, list | tuple):
        odd.append(f"a list was expected, not {_short(items)}")
        return
    for item in items:
        try:
            yield read(item)
        except _OUT_OF_SHAPE as error:
            odd.append(str(error) if type(error) is ValueError else f"{error!r}")


def record_of(
    attributes: dict[str, Any], body: object, time: object, trace_id: object, span_id: object
) -> Record | None:
    """Return a log event of a graph run, None of anything else; an id that is none is None.

    Raises:
        ValueError: it is out of shape.
    """
    if semconv.GRAPH_LOG_SEQ not in attributes:
        return None
    for name, value in attributes.items():
        if name in _NUMBERS:
            attributes[name] = _number(name, value)
        elif name in _TEXTS and not isinstance(value, str):
            raise ValueError(f"{name} is {_short(value)}, no text")
        elif name in _LISTS and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise ValueError(f"{name} is {_short(value)}, no list of texts")
    for name, needed in _NEEDED.items():
        missing = [one for one in needed if one not in attributes] if name in attributes else ()
        if missing:
            raise ValueError(f"{missing[0]} is missing")
    if not isinstance(body, str):
        raise ValueError(f"its body is {_short(body)}, no text")  # noqa: TRY004 - of what was read, not of us
    ids = [id if isinstance(id, str) and id else None for id in (trace_id, span_id)]
    return Record(attributes, body, _number("its time", time), *ids)


def _number(name: str, value: object) -> int:
    """Return a whole number of ours; OTLP's JSON and Loki have them as texts."""
    digits = value.removeprefix("-") if isinstance(value, str) else ""
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        value = int(str(value))
    least = -1 if name == semconv.GRAPH_SUPERSTEP else 0
    if type(value) is not int or not least <= value < _LARGEST:
        raise ValueError(f"{name} is {_short(value)}, no number of ours")
    return value


def _short(value: object) -> str:
    text = encode(value).decode()
    return text if len(text) <= 40 else f"{text[:40]}…"


# -- OTLP -----------------------------------------------------------------------------------------


def _of_otlp(document: Mapping[str, Any], odd: list[str]) -> Iterator[Record]:
    for scopes in _each(document["resourceLogs"], lambda one: one.get("scopeLogs", ()), odd):
        for records in _each(scopes, lambda scope: scope.get("logRecords", ()), odd):
            yield from filter(None, _each(records, _otlp_record, odd))


def _otlp_record(record: Mapping[str, Any]) -> Record | None:
    attributes = {one["key"]: _value(one.get("value", {})) for one in record.get("attributes", ())}
    return record_of(
        attributes,
        _value(record.get("body", {"stringValue": ""})),
        record.get("timeUnixNano", 0),
        record.get("traceId"),
        record.get("spanId"),
    )


def _value(value: Mapping[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == "arrayValue":
            # Ours contain texts; what else there may be in them is not for us.
            return [item.get("stringValue") for item in content.get("values", ())]
        return {kind: content} if kind == "bytesValue" else content
    return None


# -- Loki -----------------------------------------------------------------------------------------


def _of_loki(document: Mapping[str, Any], odd: list[str]) -> Iterator[Record]:
    try:
        streams = document["streams"] if "streams" in document else document["data"]["result"]
    except _OUT_OF_SHAPE as error:
        odd.append(repr(error))
        return
    for labels, lines in _each(streams, lambda one: (one.get("stream", {}), one.get("values", ())), odd):
        yield from filter(None, _each(lines, partial(_loki_line, labels), odd))


def _loki_line(labels: Mapping[str, Any], entry: Iterable[Any]) -> Record | None:
    time, line, *more = entry
    # Asked to, Loki tells labels, structured metadata and what it parsed apart.
    metadata = more[0].get("structuredMetadata", more[0]) if more else {}
    about = {**labels, **metadata}
    attributes = {
        name: decode(value) if name in _LISTS else value
        for label, value in about.items()
        if (name := _FROM_LOKI.get(label)) is not None
    }
    return record_of(attributes, line, time, about.get("trace_id"), about.get("span_id"))
