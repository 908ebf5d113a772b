"""Log events follow the sampling of their span: Python's SDK exports them whatever was decided."""

from __future__ import annotations

from threading import Lock

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags, get_current_span

from otel_stream.forking import in_child
from otel_stream.sdk.mishaps import Mishaps
from otel_stream.sdk.versions import ReadWriteLogRecord, wants


class SampledLogFilter(LogRecordProcessor):
    """Lets a log record through to ``next`` only if its span is sampled.

    It is what the specification calls a trace-based logger, as a processor. ``enabled()`` says no as
    early as that is known, so that a careful caller does not even build the record.

    Args:
        next: the processor that gets what passes, such as a ``BatchLogRecordProcessor``; it is flushed
            and shut down with the filter. Add only the filter to the provider.
        keep_without_span: whether records that belong to no span pass.

    Never raises: what ``next`` raises for a record is counted in ``failures`` and reported once.
    """

    def __init__(self, next: LogRecordProcessor, *, keep_without_span: bool = True) -> None:
        self._next = next
        self._keep_without_span = keep_without_span
        self._mishap = Mishaps(f"{type(next).__name__}.on_emit")
        self._lock = Lock()
        self._held_back = 0
        in_child(self._after_fork)

    @property
    def held_back(self) -> int:
        """How many log records were not let through."""
        return self._held_back

    @property
    def failures(self) -> int:
        """How many times the next processor raised."""
        return self._mishap.count

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Hand ``log_record`` on if it passes."""
        record = log_record.log_record
        if record.trace_id and record.span_id:
            passes = bool((record.trace_flags or 0) & TraceFlags.SAMPLED)
        else:
            passes = self._keep_without_span
        if not passes:
            with self._lock:
                self._held_back += 1
            return
        try:
            self._next.on_emit(log_record)
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
        """Return whether a record in ``context`` would pass and the next processor wants it."""
        about = get_current_span(context).get_span_context()
        if not (about.trace_flags.sampled if about.is_valid else self._keep_without_span):
            return False
        return wants(
            self._next,
            context=context,
            instrumentation_scope=instrumentation_scope,
            severity_number=severity_number,
            event_name=event_name,
        )

    def shutdown(self) -> None:
        """Shut the next processor down."""
        self._next.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the next processor."""
        return self._next.force_flush(timeout_millis)

    def _after_fork(self) -> None:
        self._lock = Lock()
        self._held_back = 0
