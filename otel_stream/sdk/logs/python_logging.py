"""Python's logging as OpenTelemetry's log records, on the span that is current where it is called."""

from __future__ import annotations

import logging
from typing import Any, Final

from opentelemetry._logs import LoggerProvider, SeverityNumber
from opentelemetry.context import get_current

from otel_stream import semconv
from otel_stream.encoding import clean

#: Loggers whose records tell of telemetry itself.
_OURS: Final = ("opentelemetry", "otel_stream")
#: Python's levels, from above, and what OpenTelemetry's data model has for them.
_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (0, SeverityNumber.DEBUG, "DEBUG"),
)


class LogHandler(logging.Handler):
    """Emits every record that reaches it through a logger of ``provider``, named as Python's is.

    Records of ``opentelemetry`` and of this package are left out: exporting them would cause more. So are
    those that an exporter's own libraries write while they export.
    """

    def __init__(self, provider: LoggerProvider, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        """Emit ``record``; a failure is Python's to handle."""
        if record.name.partition(".")[0] in _OURS:
            return
        try:
            self._emit(record)
        except Exception:  # noqa: BLE001 - as every handler of logging
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        number, word = next((number, word) for least, number, word in _SEVERITIES if record.levelno >= least)
        attributes: dict[str, Any] = {
            "code.file.path": record.pathname,
            "code.line.number": record.lineno,
            "code.function.name": record.funcName,
        }
        if record.exc_info and record.exc_info[0] is not None:
            attributes[semconv.EXCEPTION_TYPE] = record.exc_info[0].__qualname__
            attributes[semconv.EXCEPTION_MESSAGE] = clean(str(record.exc_info[1]))
            attributes[semconv.EXCEPTION_STACKTRACE] = clean(
                logging.Formatter().formatException(record.exc_info)
            )
        self._provider.get_logger(record.name).emit(
            timestamp=int(record.created * 1e9),
            context=get_current(),
            severity_number=number,
            severity_text=word,
            body=clean(record.getMessage()),
            attributes=attributes,
        )
