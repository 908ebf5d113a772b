"""Where a run belongs in the trace that it is called in."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, SpanContext, get_current_span, set_span_in_context

from otel_stream.events import Run, Task
from otel_stream.telemetry.scope import OpenRun, OpenTask, current_in


def parent_context(run: Run) -> Context:
    """Find what a run's span is a child of.

    A root run: the caller's current span. A subgraph: the span that is current where it was
    called if that is inside its node (one that the user opened, say), else the node's own.
    """
    current = current_in(run.context)
    task = run.parent
    if task is None:
        return current
    return _inside(task, current)


def call_context(task: Task) -> Context:
    """Find what a call that a task makes here is a child of: by the same rule."""
    return _inside(task, get_current() or set_span_in_context(INVALID_SPAN, Context()))


def _inside(task: Task, current: Context) -> Context:
    node = _node_context(task)
    if node is None:
        return current
    here = get_current_span(current).get_span_context()
    above = get_current_span(node)
    inside = here.trace_id == above.get_span_context().trace_id
    if inside and not _is_above(here, task):
        return current
    # Baggage, suppression and whatever else the node has put there go on; only the span is another.
    return set_span_in_context(above, current)


def _node_context(task: Task) -> Context | None:
    scope: OpenTask | None = task.telemetry
    if scope is None:
        run: OpenRun | None = task.run.telemetry
        return None if run is None else run.step_context
    if scope.attempt is not None:
        return set_span_in_context(scope.attempt, scope.context)
    return scope.context


def _is_above(span: SpanContext, task: Task) -> bool:
    """Tell whether ``span`` is that of ``task``, or of anything that ``task`` is inside of."""
    return any(
        get_current_span(context).get_span_context().span_id == span.span_id for context in _around(task)
    )


def _around(task: Task | None) -> Iterator[Context]:
    while task is not None:
        if task.telemetry is not None:
            yield task.telemetry.context
        run: OpenRun | None = task.run.telemetry
        if run is not None:
            yield from (run.step_context, run.context, run.outer)
        task = task.run.parent
