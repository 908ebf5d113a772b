"""Log records that are made once: clean by construction, writable and readable in one."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any, Final

from opentelemetry._logs import Logger as ApiLogger
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import Logger, LoggerProvider, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs._internal._logger_metrics import NoOpLoggerMetrics
from opentelemetry.trace import INVALID_SPAN
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.util.types import Attributes

from otel_stream import semconv
from otel_stream.forking import in_child

_NOTHING: Final = Context()
#: A lower limit might be reached by attributes of ours.
_ENOUGH_ATTRIBUTES: Final = 32


class LeanLogRecord(ReadableLogRecord, ReadWriteLogRecord, LogRecord):  # type: ignore[misc] # declared alike
    """What processors are given, exporters read, and the record in it: one object, as nothing is cleaned.

    Processors may change the ``log_record``, as they may with the SDK's. Every logger has a subclass, which
    holds what its records share.
    """

    #: What queues it need not make a copy.
    lean = True
    exception = None

    # The SDK's are frozen, and equal if what is in them is.
    __hash__ = object.__hash__
    # Both, or Python takes neither for what it is.
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __init__(
        self,
        timestamp: int | None,
        context: Context,
        severity_number: SeverityNumber | None,
        severity_text: str | None,
        body: Any,
        attributes: Attributes,
        event_name: str | None,
    ) -> None:
        span: Any = context.get(_SPAN_KEY, INVALID_SPAN)
        self.trace_id, self.span_id, _, self.trace_flags, *_ = span.get_span_context()
        self.timestamp = timestamp
        self.observed_timestamp = time_ns()
        self.context = context
        self.severity_number = severity_number
        self.severity_text = severity_text
        self.body = body
        self.attributes = attributes
        self.event_name = event_name

    @property
    def log_record(self) -> LogRecord:  # type: ignore[override]
        """The record, which it is itself."""
        return self


class LeanLogger(ApiLogger):
    """Emits lean records; an exception, a given record or an unknown context go the SDK's way."""

    def __init__(self, logger: Logger) -> None:
        scope = logger.instrumentation_scope
        super().__init__(scope.name, scope.version, scope.schema_url, scope.attributes)
        self._logger = logger
        self._on_emit = logger._multi_log_record_processor.on_emit
        shared = {
            "resource": logger.resource,
            "instrumentation_scope": scope,
            "limits": logger._log_record_limits,
        }
        self._record: Callable[..., LeanLogRecord] = type("LeanLogRecord", (LeanLogRecord,), shared)
        in_child(self._follow_resource)

    def _follow_resource(self) -> None:
        # A forked process is an instance of its own: the SDK gives it another resource.
        self._record.resource = self._logger.resource  # type: ignore[attr-defined]

    def enabled(self, **about: Any) -> bool:
        """Ask the SDK's logger."""
        return self._logger.enabled(**about)

    def emit(
        self,
        record: LogRecord | None = None,
        *,
        timestamp: int | None = None,
        observed_timestamp: int | None = None,
        context: Context | None = None,
        severity_number: SeverityNumber | None = None,
        severity_text: str | None = None,
        body: Any = None,
        attributes: Attributes = None,
        event_name: str | None = None,
        exception: BaseException | None = None,
    ) -> None:
        """Emit a log record. ``attributes`` become the record's own: neither copied nor cleaned."""
        if record is not None:
            self._logger.emit(record)
        elif exception is not None or observed_timestamp is not None or not context:
            self._logger.emit(
                timestamp=timestamp,
                observed_timestamp=observed_timestamp,
                context=context,
                severity_number=severity_number,
                severity_text=severity_text,
                body=body,
                attributes=attributes,
                event_name=event_name,
                exception=exception,
            )
        else:
            made = self._record(
                timestamp, context, severity_number, severity_text, body, attributes, event_name
            )
            self._on_emit(made)
            # Whoever has queued it would keep the span alive, and whatever else the program put there.
            made.context = _NOTHING


class LeanLoggerProvider(LoggerProvider):
    """The SDK's provider; its logger for graph runs makes lean records where those are the same."""

    def get_logger(self, name: str, *args: Any, **kwargs: Any) -> ApiLogger:
        logger = super().get_logger(name, *args, **kwargs)
        if name == semconv.SCOPE and isinstance(logger, Logger) and _is_plain(logger):
            return LeanLogger(logger)
        return logger


def _is_plain(logger: Logger) -> bool:
    """Return whether no record of ours is cut, and none is counted."""
    limits = logger._log_record_limits
    most = limits.max_log_record_attributes
    return (
        limits.max_log_record_attribute_length is None
        and (most is None or most >= _ENOUGH_ATTRIBUTES)
        and isinstance(logger._logger_metrics, NoOpLoggerMetrics)
        and logger._is_enabled()
    )
