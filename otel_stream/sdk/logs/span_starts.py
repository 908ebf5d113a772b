"""Telling that a span has begun, whosever it is: by OTLP it is not heard of before it has ended."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import _logs
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import set_span_in_context

from otel_stream import semconv
from otel_stream.encoding import encode
from otel_stream.sdk.mishaps import Mishaps
from otel_stream.telemetry.run import version

#: OTLP's numbers of the kinds of spans are one more than the API's.
_UNSPECIFIED: Final = 1


class SpanStartProcessor(SpanProcessor):
    """Emits a log event ``otel_stream.span_start`` for every sampled span that begins.

    Spans of graph runs are left out: the runs tell of them themselves. It doubles the messages that a span
    takes, so it is for who wants to see spans while they are open. ``configure(starts="spans")`` adds one.

    Args:
        logger_provider: where the log events go; by default the global provider, looked up at each span.

    Never raises: what could not be told is counted in ``failures`` and reported once.
    """

    def __init__(self, logger_provider: _logs.LoggerProvider | None = None) -> None:
        self._provider = logger_provider
        self._mishap = Mishaps("Telling the start of a span")

    @property
    def failures(self) -> int:
        """How many starts could not be told."""
        return self._mishap.count

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Tell that ``span`` has begun."""
        try:
            about, scope = span.get_span_context(), span.instrumentation_scope
            if not about.trace_flags.sampled or scope is None or scope.name == semconv.SCOPE:
                return
            self._tell(span, scope.name)
        except Exception as error:  # noqa: BLE001 - what is raised here would reach whoever starts a span
            self._mishap(error)

    def _tell(self, span: Span, scope: str) -> None:
        provider = self._provider or _logs.get_logger_provider()
        logger = provider.get_logger(semconv.SCOPE, version(), semconv.SCHEMA_URL)
        logger.emit(
            timestamp=span.start_time,
            context=set_span_in_context(span),
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body=_body(span),
            attributes={semconv.OTEL_STREAM_SCOPE_NAME: scope},
            event_name=semconv.EVENT_SPAN_START,
        )


def _body(span: ReadableSpan) -> str:
    """Return what OTLP's JSON will say of the span."""
    about: Any = span.get_span_context()
    said: dict[str, Any] = {"spanId": f"{about.span_id:016x}"}
    if span.parent is not None and span.parent.is_valid:
        said["parentSpanId"] = f"{span.parent.span_id:016x}"
    said |= {"name": span.name, "kind": span.kind.value + _UNSPECIFIED}
    return encode(said).decode()
