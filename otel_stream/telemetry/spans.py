"""Spans of runs, supersteps, nodes and attempts.

Parents are always given explicitly; a context is attached only inside the copies of context
variables that the engine made for a run or an attempt, so nothing ever has to be detached.
"""

from __future__ import annotations

from contextvars import Context as Variables
from typing import Any

from opentelemetry.context import Context, attach
from opentelemetry.trace import Span, StatusCode, Tracer, get_current_span

from otel_stream import events, semconv
from otel_stream.events import End
from otel_stream.telemetry.agents import CONVERSATION
from otel_stream.telemetry.calls.attributes import of_tally
from otel_stream.telemetry.exceptions import error_type, message_of
from otel_stream.telemetry.links import resumed_attributes, resumed_links, trigger_links
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.redaction import shown_tags
from otel_stream.telemetry.scope import Attributes, OpenRun, OpenTask, add_own, raw_current_in, with_span

_FAILED = StatusCode.ERROR


class Spans:
    """Starts and ends the spans of one root run and its subgraphs."""

    __slots__ = (
        "_graph_attribute",
        "_least",
        "_open",
        "_options",
        "_start_foldable",
        "_tracer",
        "recording",
        "sampled",
    )

    def __init__(self, tracer: Tracer, options: TelemetryOptions) -> None:
        self._tracer = tracer
        self._options = options
        self._graph_attribute = options.names.graph_attribute
        self._least = int(options.min_span_duration * 1e9)
        #: What only our own tracer can do.
        self._start_foldable = getattr(tracer, "start_foldable_span", None) if self._least else None
        #: Whether the root's span records; if not, nothing below it gets a span.
        self.recording = True
        #: Whether the root's span is exported; log events follow it.
        self.sampled = True
        #: Runs in progress, the outer ones first.
        self._open: dict[OpenRun, None] = {}

    # -- runs ---------------------------------------------------------------------------------

    def run_started(self, event: events.RunStarted, scope: OpenRun) -> None:
        """Start the run's span; of a subgraph only if the root's records."""
        run = event.run
        is_root = run.parent is None
        if not is_root and not self.recording:
            run.trace_id, run.span_id = run.root.trace_id, run.root.span_id
            return
        name = f"{semconv.SPAN_RUN} {run.graph}"
        if scope.tally is not None:
            name = f"{semconv.SPAN_AGENT} {scope.agent}"
        span = self._tracer.start_span(
            name,
            scope.outer,
            attributes=self._run_attributes(event, scope),
            links=resumed_links(run),
            start_time=event.time,
        )
        about = span.get_span_context()
        if is_root:
            self.recording = span.is_recording()
            self.sampled = about.trace_flags.sampled
        if about.is_valid:
            run.trace_id = f"{about.trace_id:032x}"
            run.span_id = f"{about.span_id:016x}"
            run.traceparent = f"00-{run.trace_id}-{run.span_id}-{about.trace_flags:02x}"
        scope.context = scope.step_context = with_span(span, scope.outer)
        if span.is_recording():
            scope.span = span
            self._open[scope] = None
        # A copy of the context variables that the engine made for this run: it dies with it.
        attach_in(run.context, scope.context)

    def _run_attributes(self, event: events.RunStarted, scope: OpenRun) -> Attributes:
        run = event.run
        attributes: Attributes = {
            semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_RUN,
            self._graph_attribute: run.graph,
            semconv.GRAPH_RUN_ID: run.root.id,
        }
        if scope.tally is not None:
            attributes[semconv.GEN_AI_OPERATION_NAME] = semconv.SPAN_AGENT
            attributes[semconv.GEN_AI_AGENT_NAME] = scope.agent
        if scope.conversation is not None:
            attributes[semconv.GEN_AI_CONVERSATION_ID] = scope.conversation
        attributes.update(scope.about)
        if run.tags and self._options.span_content:
            attributes[semconv.GRAPH_RUN_TAGS] = shown_tags(run.tags, self._options.redaction)
        if run.ns:
            attributes[semconv.GRAPH_NS] = "|".join(run.ns)
        if run.parent is None and run.metadata.get(semconv.GRAPH_SAMPLING_FORCE) is True:
            attributes[semconv.GRAPH_SAMPLING_FORCE] = True
        if event.resumed:
            attributes[semconv.GRAPH_RUN_RESUMED] = True
        if run.resumes is not None:
            attributes.update(resumed_attributes(run.resumes))
        return attributes

    def run_ended(self, event: events.RunEnded, scope: OpenRun) -> None:
        """End the run's span, and before it whatever was left open below it."""
        if event.run.parent is None:
            for inner in reversed(tuple(self._open)):
                if inner is not scope:
                    self._close(inner, event.end, event.time)
        self._close(scope, event.end, event.time, event.error, _ids(event.interrupts))
        self._open.pop(scope, None)

    def _close(
        self,
        scope: OpenRun,
        end: End,
        time: int,
        error: BaseException | None = None,
        interrupts: tuple[str, ...] = (),
    ) -> None:
        for task in tuple(scope.tasks):
            self._end_task(task, end, None, time)
        scope.tasks.clear()
        self._end_step(scope, end, time)
        span, scope.span = scope.span, None
        if span is None:
            return
        add_own(span, {semconv.GRAPH_RUN_END: end.value})
        if interrupts:
            add_own(span, {semconv.GRAPH_INTERRUPT_IDS: interrupts})
        if scope.tally is not None:
            add_own(span, of_tally(scope.tally, self._options.names))
        if scope.tokens:
            add_own(span, {semconv.GRAPH_RUN_TOKENS: scope.tokens})
        if scope.cost:
            add_own(span, {semconv.GRAPH_RUN_COST: scope.cost})
        if scope.dropped:
            add_own(span, {semconv.GRAPH_RUN_DROPPED: scope.dropped})
        if end.failed:
            self._fail(span, end, error)
        span.end(time)

    # -- supersteps ---------------------------------------------------------------------------

    def superstep_started(self, event: events.SuperstepStarted, scope: OpenRun) -> None:
        """Start the superstep's span below the run's."""
        attributes: Attributes = {
            semconv.GRAPH_SUPERSTEP: event.step,
            semconv.GRAPH_SUPERSTEP_WIDTH: len(event.tasks),
        }
        if scope.conversation is not None:
            attributes[semconv.GEN_AI_CONVERSATION_ID] = scope.conversation
        span = self._tracer.start_span(
            semconv.SPAN_SUPERSTEP,
            scope.context,
            attributes=attributes,
            start_time=event.time,
        )
        scope.step_span = span
        scope.step_id = f"{span.get_span_context().span_id:016x}"
        scope.step_context = with_span(span, scope.context)

    def superstep_ended(self, event: events.SuperstepEnded, scope: OpenRun) -> None:
        """End the superstep's span."""
        self._end_step(scope, event.end, event.time)

    def _end_step(self, scope: OpenRun, end: End, time: int) -> None:
        span, scope.step_span = scope.step_span, None
        if span is None:
            return
        if end is not End.OK:
            add_own(span, {semconv.GRAPH_SUPERSTEP_END: end.value})
            if end.failed:
                add_own(span, {semconv.ERROR_TYPE: scope.error_type or end.value})
                span.set_status(_FAILED)
        if scope.folded:
            add_own(span, {semconv.GRAPH_SUPERSTEP_FOLDED: scope.folded})
            scope.folded = 0
        # Later tasks, if an engine reports any between supersteps, belong to the run.
        scope.step_context, scope.step_id = scope.context, None
        span.end(time)

    # -- tasks --------------------------------------------------------------------------------

    def task_started(self, event: events.TaskStarted, scope: OpenTask, run: OpenRun) -> None:
        """Start the node's span below its superstep's."""
        task = event.task
        attributes: Attributes = {
            semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_NODE,
            semconv.GEN_AI_NODE_NAME: task.node,
            semconv.GRAPH_TASK_ID: task.id,
            semconv.GRAPH_SUPERSTEP: task.step,
        }
        if run.conversation is not None:
            attributes[semconv.GEN_AI_CONVERSATION_ID] = run.conversation
        parent = run.step_context
        name, links = f"{semconv.SPAN_NODE} {task.node}", trigger_links(task)
        if self._start_foldable is None:
            span = self._tracer.start_span(
                name, parent, attributes=attributes, links=links, start_time=event.time
            )
            scope.context = scope.place = with_span(span, parent)
            about = scope.about = span.get_span_context()
            shown: str | None = f"{about.span_id:016x}"
        else:
            span, scope.about = self._start_foldable(name, parent, attributes, links, event.time, self._least)
            scope.context = with_span(span, parent)
            shown = run.step_id or task.run.span_id
        scope.span = span
        run.tasks.add(scope)
        if task.run.trace_id is not None:
            task.trace_id, task.span_id = task.run.trace_id, shown

    def attempt_started(self, event: events.AttemptStarted, scope: OpenTask) -> None:
        """Make the task's span, or the attempt's own, current for the code of the node."""
        context = scope.context
        if event.retryable and scope.span is not None:
            attributes: Attributes = {semconv.GRAPH_TASK_ATTEMPT: event.attempt}
            conversation = context.get(CONVERSATION)
            if isinstance(conversation, str):
                attributes[semconv.GEN_AI_CONVERSATION_ID] = conversation
            scope.attempt = self._tracer.start_span(
                semconv.SPAN_ATTEMPT,
                context,
                attributes=attributes,
                start_time=event.time,
            )
            scope.attempt_ended = 0
            context = with_span(scope.attempt, context)
        attach_in(event.context, _with_what_is_set(event, context))

    def attempt_ended(self, event: events.AttemptEnded, scope: OpenTask) -> None:
        """End the attempt's span if it is known to have failed.

        The last attempt ends as its task does, and only the task's end tells an interrupt or a
        cancellation from a failure: its span waits for that, keeping its own time.
        """
        if scope.attempt is None:
            return
        if event.retry_after is None:
            scope.attempt_ended = event.time
            return
        span, scope.attempt = scope.attempt, None
        add_own(span, {semconv.GRAPH_TASK_RETRY_DELAY: event.retry_after})
        self._fail(span, End.ERROR, event.error)
        span.end(event.time)

    def task_ended(self, event: events.TaskEnded, scope: OpenTask, run: OpenRun) -> bool:
        """End the task's span, and that of its last attempt; return whether it was folded."""
        run.tasks.discard(scope)
        span = scope.span
        if scope.routes and span is not None and self._start_foldable is None:
            add_own(span, {semconv.GRAPH_ROUTE_TARGETS: scope.routes})
        if event.end is End.OK and span is not None and scope.attempt is None and not event.cached:
            # What nearly every task does.
            scope.span = None
            span.end(event.time)
            return self._start_foldable is not None and self._folded(span, scope, run)
        if span is not None:
            if event.cached:
                add_own(span, {semconv.GRAPH_TASK_CACHED: True})
            if event.task.attempt > 1:
                add_own(span, {semconv.GRAPH_TASK_ATTEMPTS: event.task.attempt})
            if event.interrupts:
                add_own(span, {semconv.GRAPH_INTERRUPT_IDS: _ids(event.interrupts)})
        self._end_task(scope, event.end, event.error, event.time)
        return False

    def _folded(self, span: Any, scope: OpenTask, run: OpenRun) -> bool:
        if span.folded:
            run.folded += 1
            # Whoever links to the task links to where it is told of.
            scope.about = get_current_span(run.step_context).get_span_context()
        return bool(span.folded)

    def _end_task(self, scope: OpenTask, end: End, error: BaseException | None, time: int) -> None:
        if scope.attempt is not None:
            attempt, scope.attempt = scope.attempt, None
            self._end(attempt, end, error, scope.attempt_ended or time)
        span, scope.span = scope.span, None
        if span is not None:
            self._end(span, end, error, time)

    def _end(self, span: Span, end: End, error: BaseException | None, time: int) -> None:
        if end is not End.OK:
            add_own(span, {semconv.GRAPH_TASK_END: end.value})
            if end.failed:
                self._fail(span, end, error)
        span.end(time)

    def _fail(self, span: Span, end: End, error: BaseException | None) -> None:
        add_own(span, {semconv.ERROR_TYPE: error_type(error, end)})
        text = message_of(error, self._options) if error is not None and self._options.span_content else None
        span.set_status(_FAILED, text)


def _ids(interrupts: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(interrupt.id) for interrupt in interrupts)


def _with_what_is_set(event: events.AttemptStarted, context: Context) -> Context:
    """Return ``context`` with what the caller of a functional task has set: baggage, and the like."""
    run: OpenRun | None = event.task.run.telemetry
    current = raw_current_in(event.context)
    if run is None or not current or current is run.context or current is run.caller or current is run.outer:
        return context
    return with_span(get_current_span(context), {**context, **current})


def attach_in(variables: Variables, context: Context) -> None:
    """Make ``context`` current for what runs in ``variables``."""
    try:
        variables.run(attach, context)
    except RuntimeError:
        # Entered already: then it is not ours to change; spans below still have explicit parents.
        return
