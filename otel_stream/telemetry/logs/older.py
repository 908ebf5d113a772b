"""Loggers of older OpenTelemetry, used as those of the newest one are."""

from __future__ import annotations

from inspect import signature
from typing import Any, Final

from opentelemetry._logs import Logger, LogRecord

#: Since 1.38 a logger makes the record of what it is told; before, it was given one.
_TAKES_FIELDS: Final = "event_name" in signature(Logger.emit).parameters


def modern(logger: Logger) -> Logger:
    """Return ``logger``, or what makes one from before 1.45 look like a newer one."""
    return logger if hasattr(logger, "enabled") else _Older(logger)


class _Older(Logger):
    """Makes the record that the logger wants to be given, and says yes for the logger that can't be asked."""

    def __init__(self, logger: Logger) -> None:
        super().__init__("")
        self._logger = logger

    def emit(self, record: LogRecord | None = None, **fields: Any) -> None:
        """Emit a log record."""
        if record is not None:
            self._logger.emit(record)
        elif _TAKES_FIELDS:
            self._logger.emit(**fields)
        else:
            made: Any = LogRecord(**fields)
            # The SDK finds them in the context again, and takes those of a record for outdated use.
            made.trace_id = made.span_id = made.trace_flags = None
            self._logger.emit(made)

    def enabled(self, **about: Any) -> bool:
        """Return that a record is wanted, whatever it is about."""
        return True
