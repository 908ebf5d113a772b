"""The conversation of a run on what others emit inside it: spans of clients, records of Python's logging."""

from __future__ import annotations

from typing import Any

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import Span, SpanProcessor

from otel_stream import semconv
from otel_stream.sdk.mishaps import Mishaps
from otel_stream.telemetry.agents import CONVERSATION

_NAME = semconv.GEN_AI_CONVERSATION_ID


class ConversationProcessor(SpanProcessor):
    """Gives ``gen_ai.conversation.id`` to spans that begin inside a run with a thread and have none.

    ``configure()`` adds one; add it to a tracer provider of your own before the processors that export. Those
    of runs themselves have it already. Never raises: what goes wrong is reported once and counted.
    """

    def __init__(self) -> None:
        self._mishap = Mishaps("Naming the conversation of a span")

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Name the conversation that ``span`` belongs to."""
        try:
            scope = span.instrumentation_scope
            if scope is not None and scope.name == semconv.SCOPE:
                return
            conversation = contexts.get_value(CONVERSATION, parent_context)
            if isinstance(conversation, str) and _NAME not in (span.attributes or ()):
                span.set_attribute(_NAME, conversation)
        except Exception as error:  # noqa: BLE001 - what is raised here would reach whoever starts a span
            self._mishap(error)


class ConversationLogProcessor(LogRecordProcessor):
    """Does the same for log records; add it before the processors that export."""

    def __init__(self) -> None:
        self._mishap = Mishaps("Naming the conversation of a log record")

    def on_emit(self, log_record: Any) -> None:
        """Name the conversation that a record belongs to."""
        try:
            scope = log_record.instrumentation_scope
            if scope is not None and scope.name == semconv.SCOPE:
                return
            record = log_record.log_record
            conversation = contexts.get_value(CONVERSATION, getattr(record, "context", None))
            if isinstance(conversation, str) and _NAME not in (record.attributes or ()):
                record.attributes = {**(record.attributes or {}), _NAME: conversation}
        except Exception as error:  # noqa: BLE001 - what is raised here would reach whoever logs
            self._mishap(error)

    def enabled(self, **about: Any) -> bool:
        """Return that no record is wanted here: it is for others to want it."""
        return False

    def shutdown(self) -> None:
        """Do nothing: there is nothing to close."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return that nothing waits."""
        return True
