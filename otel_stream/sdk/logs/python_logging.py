"""Python's logging as OpenTelemetry's log records, on the span that is current where it is called."""

from __future__ import annotations

import logging
from typing import Any, Final

from opentelemetry._logs import LoggerProvider, SeverityNumber
from opentelemetry.context import get_current

from otel_stream import semconv
from otel_stream.encoding import clean
from otel_stream.telemetry.exceptions import without_texts
from otel_stream.telemetry.logs.older import modern
from otel_stream.telemetry.redaction import Redaction

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
    those that an exporter's own libraries write while they export. The rules of ``redaction`` find the text
    of a record at ``log``, that of an exception where they find any.
    """

    def __init__(
        self, provider: LoggerProvider, level: int = logging.NOTSET, redaction: Redaction | None = None
    ) -> None:
        super().__init__(level)
        self._provider = provider
        self._redaction = redaction

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
            attributes |= self._shown_exception(record.exc_info)
        modern(self._provider.get_logger(record.name)).emit(
            timestamp=int(record.created * 1e9),
            context=get_current(),
            severity_number=number,
            severity_text=word,
            body=self._shown(record.getMessage(), "log"),
            attributes=attributes,
        )

    def _shown_exception(self, about: Any) -> dict[str, Any]:
        trace = logging.Formatter().formatException(about)
        if self._redaction is not None and self._redaction.hides(("exception", "message")):
            trace = without_texts(trace, about[1])
        return {
            semconv.EXCEPTION_MESSAGE: self._shown(str(about[1]), "exception", "message"),
            semconv.EXCEPTION_STACKTRACE: self._shown(trace, "exception", "stacktrace"),
        }

    def _shown(self, text: str, *path: str) -> str:
        text = clean(text)
        return text if self._redaction is None else self._redaction.text(text, *path)
