"""What telemetry remembers of a run, a superstep and a task while they last.

A scope hangs in the ``telemetry`` slot of its ``Run`` or ``Task``; spans, log events and metrics
share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context as Variables
from typing import Any, Final

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, set_span_in_context
from opentelemetry.util.types import AnyValue

from otel_stream.calls import Call, Usage
from otel_stream.events import SuperstepEnded

Attributes = dict[str, AnyValue]


def add_own(span: Span, attributes: Attributes) -> None:
    """Add attributes of ours to a span: the short way, where it is a lean one."""
    add = getattr(span, "add_own", None)
    if add is None:
        span.set_attributes(attributes)
    else:
        add(attributes)


class FixedAttributes(dict[str, AnyValue]):
    """Attributes that never change: of one graph, or of one node. A histogram may work them out once."""

    __slots__ = ()


class OpenTask:
    """A task in progress. ``span`` is None when there is none to end (any more)."""

    # Defaults are the class's: one of these is made for every task, and most tasks change few of them.
    span: Span | None = None
    #: What others link to; it outlives the span.
    about: SpanContext | None = None
    #: The nodes that its conditional edges and commands have chosen.
    routes: tuple[str, ...] = ()
    #: Where it is counted among the tasks in progress.
    active: Any = None
    #: Whether it has called a model or a tool.
    calls = False
    #: Span of the attempt in progress, if attempts have their own.
    attempt: Span | None = None
    #: When the last attempt began, and when it ended, 0 while it goes on.
    attempt_started = 0
    attempt_ended = 0

    def __init__(self, context: Context, started: int) -> None:
        #: OpenTelemetry's context with the task's span, or the nearest one around it, as current.
        self.context = context
        #: Where its log events and exemplars belong: the same, unless its span may be folded.
        self.place = context
        #: Nanoseconds since the epoch.
        self.started = started

    @property
    def innermost(self) -> Context:
        """The context with the attempt's span, if it has one, as current."""
        return self.context if self.attempt is None else set_span_in_context(self.attempt, self.context)


class Tally:
    """What the calls of an agent add up to, those of agents inside it left out."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.models: set[str] = set()
        self.providers: set[str] = set()
        self.finish_reasons: tuple[str, ...] = ()
        #: Calls of models and of tools.
        self.inferences = self.tools = 0

    def add(self, call: Call) -> None:
        """Take a call into account; not from two threads at once."""
        if call.operation == "execute_tool":
            self.tools += 1
        if call.operation not in ("chat", "text_completion"):
            return
        self.inferences += 1
        asked, answered = call.asked, call.answered
        self.models |= {asked.name} if asked.name else set()
        self.providers |= {asked.provider} if asked.provider else set()
        self.finish_reasons = answered.finish_reasons or self.finish_reasons
        if answered.usage is not None:
            self.usage = answered.usage if self.usage is None else self.usage + answered.usage


class OpenRun:
    """A run in progress, with its superstep and its open tasks."""

    __slots__ = (
        "about",
        "active",
        "agent",
        "attributes",
        "caller",
        "context",
        "conversation",
        "conversation_told",
        "cost",
        "dropped",
        "error_type",
        "failed_step",
        "folded",
        "named",
        "outer",
        "span",
        "started",
        "step_context",
        "step_id",
        "step_span",
        "step_started",
        "supersteps",
        "tally",
        "tasks",
        "tokens",
        "untold",
        "width",
    )

    def __init__(self, context: Context, started: int) -> None:
        #: OpenTelemetry's context where the run was called; and the same with what telemetry has put there.
        self.caller = self.outer = context
        #: The same with the run's span, if it has one, as current.
        self.context = context
        self.started = started
        self.span: Span | None = None
        self.step_context = context
        self.step_span: Span | None = None
        #: The id of that span, in hexadecimal; None without one.
        self.step_id: str | None = None
        self.step_started = 0
        #: Parts that its receivers have lost, known at its end.
        self.dropped = 0
        #: What the run failed with; and the superstep that did, which waits to be told.
        self.error_type: str | None = None
        self.failed_step: SuperstepEnded | None = None
        #: Tasks with a span to end.
        self.tasks: set[OpenTask] = set()
        #: Where it is counted among the runs in progress, and how many supersteps it has begun.
        self.active: Any = None
        self.supersteps = 0
        #: How many tasks the superstep runs side by side, and whether its start is only known from theirs.
        self.width = 0
        self.untold = False
        #: How many tasks of this superstep have been folded into it.
        self.folded = 0
        #: What everything in the logs says of this run.
        self.named: Attributes | None = None
        #: What the log events of its parts say.
        self.attributes: Attributes | None = None
        #: The thread, as spans and as log events show it.
        self.conversation: str | None = None
        self.conversation_told: str | None = None
        #: What the program wants shown of its metadata: who uses it, in which session.
        self.about: Attributes = {}
        #: Name of the nearest agent that it is, or is inside of; and what its calls add up to if it is one.
        self.agent: str | None = None
        self.tally: Tally | None = None
        #: Of a root run: what its calls of models cost in US dollars, and their tokens, subgraphs' included.
        self.cost = 0.0
        self.tokens = 0

    @property
    def place(self) -> Context:
        """Where its log events and exemplars belong."""
        return self.context


#: The key of the span among the values of a context.
_SPAN: Final = next(iter(set_span_in_context(INVALID_SPAN, Context())))


def with_span(span: Span, context: Mapping[str, object]) -> Context:
    """Return what ``set_span_in_context`` returns, in one step."""
    return Context({**context, _SPAN: span})


def current_in(variables: Variables) -> Context:
    """Return the OpenTelemetry context that is current inside ``variables``, never an empty one.

    ``Logger.emit`` and ``Histogram.record`` take an empty context for none and fall back to
    whatever happens to be current where they are called; naming the invalid span prevents it.
    """
    context = raw_current_in(variables)
    return context or set_span_in_context(INVALID_SPAN, context)


def raw_current_in(variables: Variables) -> Context:
    """Return the OpenTelemetry context that is current inside ``variables``, empty where nothing is."""
    try:
        return variables.run(get_current)
    except RuntimeError:
        # Entered already, here or in another thread: the caller's own view is the nearest truth.
        return get_current()
