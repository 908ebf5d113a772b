"""Variables that the SDK reads by itself, as the specification wants them read.

The SDK raises on a limit that is no number, on an interval of 0 and on an unknown filter, takes an empty
limit for "no limit" and minds the case of a filter. While providers are made it is shown an environment
without what it can't read; what was there is there again afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import Final

from otel_stream.telemetry.variables import variable

_logger = logging.getLogger("otel_stream.sdk")

#: Returns what the SDK can read, "" if there is no reading it.
_Reading = Callable[[str], str]


def _count(given: str) -> str:
    try:
        found = int(given)
    except ValueError:
        return ""
    return str(found) if found >= 0 else ""


def _milliseconds(given: str) -> str:
    try:
        found = float(given)
    except ValueError:
        return ""
    return str(found) if 0 < found < float("inf") else ""


def _exemplar_filter(given: str) -> str:
    return given.lower() if given.lower() in {"trace_based", "always_on", "always_off"} else ""


def _text(given: str) -> str:
    return given


_LIMIT: Final = (_count, "a whole number, 0 or more")
_TIME: Final = (_milliseconds, "a number of milliseconds above 0")
_TEXT: Final = (_text, "a text")

#: Variable -> how it is read, and what it has to be.
READINGS: Final[dict[str, tuple[_Reading, str]]] = {
    **dict.fromkeys(
        (
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
        ),
        _LIMIT,
    ),
    "OTEL_METRIC_EXPORT_INTERVAL": _TIME,
    "OTEL_METRIC_EXPORT_TIMEOUT": _TIME,
    "OTEL_METRICS_EXEMPLAR_FILTER": (_exemplar_filter, "one of trace_based, always_on, always_off"),
    "OTEL_TRACES_SAMPLER": _TEXT,
    "OTEL_TRACES_SAMPLER_ARG": _TEXT,
    "OTEL_SERVICE_NAME": _TEXT,
}


@contextmanager
def readable(environ: MutableMapping[str, str]) -> Generator[None]:
    """Keep from the SDK, as long as this lasts, what it can't read, and tell of all that is not empty."""
    before = {name: environ[name] for name in READINGS if name in environ}
    for name, raw in before.items():
        reading, wanted = READINGS[name]
        given = variable(environ, name)
        found = reading(given) if given else ""
        if given and not found:
            _logger.warning("%s=%r is ignored: give %s.", name, given, wanted)
        if not found:
            del environ[name]
        elif found != raw:
            environ[name] = found
    try:
        yield
    finally:
        environ.update(before)
