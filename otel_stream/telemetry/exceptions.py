"""Exceptions: their type always, their text only where content may leave the process.

``OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN`` says how they are recorded, as OpenTelemetry's conventions have
it: as span events if it is not set, as log events with ``logs``, as both with ``logs/dup``.
"""

from __future__ import annotations

import traceback
from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from otel_stream import semconv
from otel_stream.encoding import clean
from otel_stream.events import End
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.redaction import MASK
from otel_stream.telemetry.scope import Attributes

#: Longest text of an exception, and longest traceback, that is exported, in bytes of UTF-8.
MAX_MESSAGE: Final = 4096
MAX_STACKTRACE: Final = 32768

_ERROR: Final = (SeverityNumber.ERROR, "ERROR")
_WARN: Final = (SeverityNumber.WARN, "WARN")


class Exceptions:
    """Records what ended the attempts and runs of one root run, each exception once."""

    __slots__ = ("_as_logs", "_as_span_events", "_logger", "_options", "_seen")

    def __init__(self, logger: Logger | None, options: TelemetryOptions) -> None:
        self._logger = logger
        self._options = options
        self._as_logs = logger is not None and options.exceptions != "span_events"
        self._as_span_events = options.exceptions != "logs"
        #: Those that ended tasks of this superstep; the run's own failure is one of them, nearly always.
        self._seen: list[BaseException] = []

    def record(
        self, error: BaseException, context: Context, time: int, about: Attributes, *, repeated: bool = False
    ) -> None:
        """Record ``error`` on the span that is current in ``context``, which must not have ended.

        ``about``: what every log event of the run says. ``repeated``: another attempt follows.
        """
        if any(error is one for one in self._seen):
            return
        if not repeated:
            self._seen.append(error)
        if self._as_span_events:
            shown = describe(error, self._options, with_text=self._options.span_content)
            get_current_span(context).add_event(semconv.EVENT_SPAN_EXCEPTION, shown, time)
        if self._as_logs and self._logger is not None:
            number, word = _WARN if repeated else _ERROR
            self._logger.emit(
                timestamp=time,
                context=context,
                severity_number=number,
                severity_text=word,
                attributes={
                    **about,
                    **describe(error, self._options, with_text=self._options.event_content),
                },
                event_name=semconv.EVENT_EXCEPTION,
            )

    def forget(self) -> None:
        """Take note that the root run goes on: what failed before has been dealt with."""
        self._seen.clear()


def describe(error: BaseException, options: TelemetryOptions, *, with_text: bool) -> Attributes:
    """Return an exception's attributes."""
    attributes: Attributes = {semconv.EXCEPTION_TYPE: error_type(error, End.ERROR)}
    if with_text:
        attributes[semconv.EXCEPTION_MESSAGE] = message_of(error, options)
        attributes[semconv.EXCEPTION_STACKTRACE] = _redacted(
            _stacktrace(error, options), options, "stacktrace", MAX_STACKTRACE
        )
    return attributes


def error_type(error: BaseException | None, end: End) -> str:
    """Name the class of ``error``, qualified unless it is a builtin; without one, how it ended."""
    if error is None:
        return end.value
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException, options: TelemetryOptions) -> str:
    """Return the text of an exception as it may leave the process."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the text of an exception is code of the user, too
        return ""
    return _redacted(text, options, "message", MAX_MESSAGE)


def _stacktrace(error: BaseException, options: TelemetryOptions) -> str:
    try:
        shown = "".join(traceback.format_exception(error))
        rules = options.redaction
        if rules is not None and rules.hides(("exception", "message")):
            # It quotes the texts of the exception and of those behind it.
            return without_texts(shown, error)
    except Exception:  # noqa: BLE001 - as above
        return ""
    return shown


def _texts(error: BaseException | None, seen: set[int]) -> list[str]:
    """Return the texts of ``error``, of those it was raised from or beside, and of those in a group."""
    if error is None or id(error) in seen:
        return []
    seen.add(id(error))
    texts = [str(error), *(str(argument) for argument in error.args), *getattr(error, "__notes__", ())]
    inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *inside):
        texts += _texts(other, seen)
    return texts


def without_texts(stacktrace: str, error: BaseException) -> str:
    """Return a stack trace with a mask in place of what ``error`` and those behind it say."""
    lines = {line.strip() for text in _texts(error, set()) for line in str(text).splitlines()} - {""}
    for line in sorted(lines, key=len, reverse=True):
        stacktrace = stacktrace.replace(line, MASK)
    return stacktrace


def _redacted(text: str, options: TelemetryOptions, what: str, longest: int) -> str:
    text = clean(text)
    shown = text if options.redaction is None else options.redaction.text(text, "exception", what)
    whole = shown.encode()
    return shown if len(whole) <= longest else whole[:longest].decode(errors="ignore")
