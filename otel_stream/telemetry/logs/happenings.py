"""Log events of what happens in a run and is no stream part: where it turns, and what it waits for."""

from __future__ import annotations

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context

from otel_stream import events, semconv
from otel_stream.events import Run, Task
from otel_stream.telemetry.scope import Attributes, OpenRun, OpenTask


class Happenings:
    """Emits the log events of one root run and its subgraphs."""

    __slots__ = ("_logger",)

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def route_chosen(self, event: events.RouteChosen, places: tuple[str, ...]) -> None:
        """Say where a conditional edge, or a command, went: to which ``places`` of those that it named."""
        attributes = attributes_of(event.task.run, event.task)
        attributes[semconv.GRAPH_ROUTE_SOURCE] = event.source
        attributes[semconv.GRAPH_ROUTE_TARGETS] = places
        self._emit(semconv.EVENT_ROUTE, event.time, _context(event.task), attributes)

    def run_interrupted(self, event: events.RunInterrupted) -> None:
        """Say that the run waits."""
        scope: OpenRun | None = event.run.telemetry
        attributes = attributes_of(event.run)
        attributes[semconv.GRAPH_SUPERSTEP] = event.step
        if event.interrupts:
            attributes[semconv.GRAPH_INTERRUPT_IDS] = tuple(str(one.id) for one in event.interrupts)
        self._emit(semconv.EVENT_INTERRUPT, event.time, None if scope is None else scope.context, attributes)

    def task_folded(self, event: events.TaskEnded, scope: OpenTask) -> None:
        """Say that a task ran which was too short for a span of its own."""
        task = event.task
        sources = [(channel, source) for channel, source in task.sources if source.telemetry is not None]
        attributes = attributes_of(task.run, task)
        attributes[semconv.GRAPH_TASK_DURATION] = max(0, event.time - scope.started) * 1e-9
        attributes[semconv.GRAPH_TASK_TRIGGERS] = tuple(channel for channel, _ in sources)
        attributes[semconv.GRAPH_TASK_TRIGGERED_BY] = tuple(source.id for _, source in sources)
        self._emit(semconv.EVENT_NODE, event.time, scope.place, attributes)

    def _emit(self, name: str, time: int, context: Context | None, attributes: Attributes) -> None:
        self._logger.emit(
            timestamp=time,
            context=context,
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            attributes=attributes,
            event_name=name,
        )


def attributes_of(run: Run, task: Task | None = None) -> Attributes:
    """Return which run, superstep and task a log event belongs to; a dictionary of the caller's own."""
    scope: OpenRun | None = run.telemetry
    if scope is None:
        attributes = _named(run, None)
    else:
        if scope.named is None:
            scope.named = _named(run, scope.conversation_told)
        attributes = {**scope.named}
    if task is not None:
        attributes[semconv.GRAPH_SUPERSTEP] = task.step
        attributes[semconv.GEN_AI_NODE_NAME] = task.node
        attributes[semconv.GRAPH_TASK_ID] = task.id
        if task.attempt > 1:
            attributes[semconv.GRAPH_TASK_ATTEMPT] = task.attempt
    return attributes


def _named(run: Run, conversation: str | None) -> Attributes:
    attributes: Attributes = {semconv.GRAPH_NAME: run.graph, semconv.GRAPH_RUN_ID: run.root.id}
    if conversation is not None:
        attributes[semconv.GEN_AI_CONVERSATION_ID] = conversation
    if run.ns:
        attributes[semconv.GRAPH_NS] = "|".join(run.ns)
    return attributes


def _context(task: Task) -> Context | None:
    scope: OpenTask | OpenRun | None = task.telemetry or task.run.telemetry
    return None if scope is None else scope.place
