"""What telemetry remembers of a run, a superstep and a task while they last.

A scope hangs in the ``telemetry`` slot of its ``Run`` or ``Task``; spans, log events and metrics
share it.
"""

from __future__ import annotations

from contextvars import Context as Variables
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context
from opentelemetry.util.types import AnyValue

Attributes = dict[str, AnyValue]


class FixedAttributes(dict[str, AnyValue]):
    """Attributes that never change: of one graph, or of one node. A histogram may work them out once."""

    __slots__ = ("key",)

    def __init__(self, attributes: Attributes) -> None:
        super().__init__(attributes)
        #: What whoever records with them has made of them.
        self.key: Any = None


class TaskScope:
    """A task in progress. ``span`` is None when there is none to end (any more)."""

    __slots__ = ("attempt", "attempt_ended", "context", "span", "started")

    def __init__(self, context: Context, started: int) -> None:
        #: OpenTelemetry's context with the task's span, or the nearest one around it, as current.
        self.context = context
        #: Nanoseconds since the epoch.
        self.started = started
        self.span: Span | None = None
        #: Span of the attempt in progress, if attempts have their own.
        self.attempt: Span | None = None
        #: When the last attempt ended, 0 while it goes on.
        self.attempt_ended = 0


class RunScope:
    """A run in progress, with its superstep and its open tasks."""

    __slots__ = (
        "attributes",
        "context",
        "error_type",
        "outer",
        "span",
        "started",
        "step_context",
        "step_span",
        "step_started",
        "tasks",
    )

    def __init__(self, context: Context, started: int) -> None:
        #: OpenTelemetry's context where the run was called.
        self.outer = context
        #: The same with the run's span, if it has one, as current.
        self.context = context
        self.started = started
        self.span: Span | None = None
        self.step_context = context
        self.step_span: Span | None = None
        self.step_started = 0
        #: What the first task of this superstep that failed failed with.
        self.error_type: str | None = None
        #: Tasks with a span to end.
        self.tasks: set[TaskScope] = set()
        #: What every log event of this run says.
        self.attributes: Attributes | None = None


def current_in(variables: Variables) -> Context:
    """Return the OpenTelemetry context that is current inside ``variables``, never an empty one.

    ``Logger.emit`` and ``Histogram.record`` take an empty context for none and fall back to
    whatever happens to be current where they are called; naming the invalid span prevents it.
    """
    try:
        context = variables.run(get_current)
    except RuntimeError:
        # Entered already, here or in another thread: the caller's own view is the nearest truth.
        context = get_current()
    return context or set_span_in_context(INVALID_SPAN, context)
