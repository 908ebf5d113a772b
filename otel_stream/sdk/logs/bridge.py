"""Log events shown as span events, for backends that show nothing else (Jaeger)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context, get_value
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import get_current_span

from otel_stream.encoding import encode
from otel_stream.sdk.mishaps import Mishaps
from otel_stream.sdk.versions import ReadWriteLogRecord
from otel_stream.telemetry.logs.events import SPAN_BODY


class EventToSpanEventBridge(LogRecordProcessor):
    """Adds log events to the span they belong to, as span events.

    It is the "event to span event bridge" of the OpenTelemetry specification (logs SDK,
    ``specification/logs/sdk.md#event-to-span-event-bridge``, since 1.56.0, status: development), which
    Python's SDK lacks. A log record becomes exactly one span event if, and only if, it has an event
    name, the current span of its own context is recording, and the two have the same valid ids. The
    span event has the record's event name, its timestamp (else the one of its observation) and all of
    its attributes. The record itself goes on through the pipeline: add an exporting processor, too,
    for both; leave it out for span events alone.

    A span event has no body. The specification leaves it out, and so does this, unless
    ``body_attribute`` names an attribute for it: a string as it is, anything else as JSON.

    Args:
        body_attribute: name of the span event's attribute for the body; None: no body.
        without: names of attributes that stay off the span.

    Never raises: what the span does not take is counted in ``failures`` and reported once.
    """

    def __init__(self, *, body_attribute: str | None = None, without: Collection[str] = ()) -> None:
        self._body_attribute = body_attribute
        self._without = frozenset(without)
        self._mishap = Mishaps("Adding a log event to its span")

    @property
    def failures(self) -> int:
        """How many log events a span did not take."""
        return self._mishap.count

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Add ``log_record`` to its span, if it is an event of a span in progress."""
        record = log_record.log_record
        if not record.event_name:
            return
        try:
            span = get_current_span(record.context)
            if not span.is_recording():
                return
            about = span.get_span_context()
            if not about.is_valid or (about.trace_id, about.span_id) != (record.trace_id, record.span_id):
                return
            attributes: dict[str, Any] = {
                name: value for name, value in (record.attributes or {}).items() if name not in self._without
            }
            body: Any = get_value(SPAN_BODY, record.context) or record.body
            if self._body_attribute is not None and body is not None:
                attributes[self._body_attribute] = body if isinstance(body, str) else encode(body).decode()
            span.add_event(record.event_name, attributes, record.timestamp or record.observed_timestamp)
        except Exception as error:  # noqa: BLE001 - what is raised here would reach the program that logs
            self._mishap(error)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Return whether there is a span to add to; one processor that says True is enough for a record."""
        return get_current_span(context).is_recording()

    def shutdown(self) -> None:
        """Have nothing to close."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have nothing that waits."""
        return True
