"""One trace over processes: what goes along with a node that runs elsewhere, and its span there."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context as Variables

from opentelemetry import propagate, trace
from opentelemetry.context import get_current
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_stream import semconv
from otel_stream.events import End
from otel_stream.telemetry.exceptions import error_type
from otel_stream.telemetry.run import is_configured, version
from otel_stream.telemetry.scope import Attributes
from otel_stream.telemetry.spans import attach_in


def carrier() -> dict[str, str]:
    """Return what the propagators say of the context that is current here: trace and baggage."""
    carried: dict[str, str] = {}
    if get_current():  # which spares untraced runs all propagators
        propagate.inject(carried)
    return carried


def attempt_span(
    carried: Mapping[str, str], variables: Variables, node: str, task: str, attempt: int
) -> Span:
    """Start the span of an attempt in the process that it runs in, and make it current in ``variables``.

    It is a child of the one that is in ``carried``: the node's span where its graph runs, which tells of the
    attempt even if this process does not live to.
    """
    provider = trace.get_tracer_provider()
    configured = is_configured(provider)
    if not carried and not configured:
        return trace.INVALID_SPAN
    around = propagate.extract(carried)
    if configured:
        tracer = provider.get_tracer(semconv.SCOPE, version(), schema_url=semconv.SCHEMA_URL)
        attributes: Attributes = {
            semconv.GEN_AI_NODE_NAME: node,
            semconv.GRAPH_TASK_ID: task,
            semconv.GRAPH_TASK_ATTEMPT: attempt,
        }
        span = tracer.start_span(semconv.SPAN_ATTEMPT, around, SpanKind.SERVER, attributes)
    else:
        span = trace.get_current_span(around)  # whoever is called from here goes on with it
    attach_in(variables, trace.set_span_in_context(span, around))
    return span


def end_attempt(span: Span, end: End, error: BaseException | None) -> None:
    """End a span that :func:`attempt_span` has started."""
    if not span.is_recording():
        return
    if end is not End.OK:
        span.set_attribute(semconv.GRAPH_TASK_END, end.value)
    if end.failed:
        span.set_attribute(semconv.ERROR_TYPE, error_type(error, end))
        span.set_status(StatusCode.ERROR)
    span.end()


def flush() -> None:
    """Export what this process has told, before it ends."""
    provider = trace.get_tracer_provider()
    force = getattr(provider, "force_flush", None)
    if force is not None:
        force()
