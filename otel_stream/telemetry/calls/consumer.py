"""Where the spans, log events and measurements of calls come from: the only place.

The span of a call is a child of what is current where it is made if that is inside its node, else of the
node.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode, Tracer, set_span_in_context

from otel_stream import events, semconv
from otel_stream.calls import Call, MakeContent
from otel_stream.events import End, Run, Task
from otel_stream.telemetry.calls import attributes
from otel_stream.telemetry.calls.content import Shown
from otel_stream.telemetry.calls.prices import prices
from otel_stream.telemetry.exceptions import describe, error_type, message_of
from otel_stream.telemetry.logs.happenings import attributes_of
from otel_stream.telemetry.metrics.instruments import Instruments
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.parents import call_context
from otel_stream.telemetry.scope import Attributes, OpenRun, OpenTask, add_own

_INFO: Final = (SeverityNumber.INFO, "INFO")
_DEBUG: Final = (SeverityNumber.DEBUG, "DEBUG")
_WARN: Final = (SeverityNumber.WARN, "WARN")
#: Calls of models that are told as log events, and those that cost something.
_MODELS: Final = frozenset({"chat", "text_completion"})
_PRICED: Final = _MODELS | {"embeddings"}


class OpenCall:
    """A call in progress."""

    __slots__ = ("agent", "attributes", "context", "shown", "span", "started")

    def __init__(self, context: Context, started: int) -> None:
        #: With the call's span, if it has one, as current.
        self.context = context
        self.started = started
        self.span: Span | None = None
        self.agent: str | None = None
        #: What its span, and its log event, say.
        self.attributes: Attributes = {}
        #: Its content, if that is captured.
        self.shown: Shown | None = None


class Calls:
    """Records the calls of one root run and its subgraphs."""

    __slots__ = ("_instruments", "_lock", "_logger", "_open", "_options", "_prices", "_tracer")

    def __init__(
        self,
        tracer: Tracer | None,
        logger: Logger | None,
        instruments: Instruments | None,
        options: TelemetryOptions,
    ) -> None:
        self._options = options
        self._tracer = None if options.model_spans == "off" else tracer
        self._logger = logger if options.tells_calls else None
        self._instruments = instruments
        self._prices = prices(options.prices)
        #: Guards what calls add up to: they may end in several threads.
        self._lock = Lock()
        #: Calls in progress, and whose they are.
        self._open: dict[Call, Task] = {}

    @property
    def wanted(self) -> bool:
        """Whether anything is recorded of calls."""
        return not (self._tracer is None and self._logger is None and self._instruments is None)

    def measure_only(self, *, spans: bool) -> None:
        """Record measurements alone, or with ``spans`` those, too: the run is not sampled."""
        self._logger = None
        if not spans:
            self._tracer = None

    def started(self, event: events.CallStarted) -> None:
        """Start a call's span."""
        task, call = event.task, event.call
        run: OpenRun | None = task.run.telemetry
        around: OpenTask | None = task.telemetry
        if run is None or around is None:
            return
        call.telemetry = scope = OpenCall(call_context(task), event.time)
        scope.agent = run.agent
        self._open[call] = task
        around.calls = True
        call.on_chunks = partial(self._chunks, task)
        tracer = self._tracer
        shows_span = tracer is not None and (self._options.model_spans == "on" or not call.told_elsewhere)
        if not shows_span and self._logger is None:
            return
        scope.attributes = self._at_start(call, run)
        details = self._options.event_content and self._wants_details(call)
        if (self._options.span_content and shows_span) or details:
            scope.shown = Shown(self._options)
            call.wants_answer = True
            self._add(scope, call.question)
        if tracer is not None and shows_span:
            scope.span = tracer.start_span(
                attributes.name_of(call, self._options.names),
                scope.context,
                kind=attributes.kind_of(call, self._options.names),
                attributes={**scope.attributes},
                start_time=event.time,
            )
            scope.context = call.context = set_span_in_context(scope.span, scope.context)

    def _at_start(self, call: Call, run: OpenRun) -> Attributes:
        found = attributes.at_start(call, self._options.names) | run.about
        if run.conversation is not None:
            found[semconv.GEN_AI_CONVERSATION_ID] = run.conversation
        if run.agent is not None and call.operation != "retrieval":
            found[semconv.GEN_AI_AGENT_NAME] = run.agent
        return found

    def _chunks(self, task: Task, call: Call) -> None:
        scope: OpenCall | None = call.telemetry
        if self._instruments is not None and scope is not None:
            calls = self._instruments.calls
            about = calls.of_model(call, self._instruments.of_task(task).attributes)
            calls.chunks(call, about, scope.context)

    # -- the end ----------------------------------------------------------------------------------------

    def ended(self, event: events.CallEnded) -> None:
        """End a call's span, measure it, and tell what was said."""
        task, call = event.task, event.call
        scope: OpenCall | None = call.telemetry
        if scope is None:
            return
        call.telemetry = call.context = call.on_chunks = None
        if self._open.pop(call, None) is None:
            return  # somebody else has told its end, in another thread
        failed = _failure(event)
        cost = None if self._prices is None or call.operation not in _PRICED else self._prices.of(call)
        self._add_up(task.run, call, cost)
        try:
            if self._instruments is not None:
                node = self._instruments.of_task(task).attributes
                known = None if failed is None else self._instruments.error_types(failed)
                lasted = max(0, event.time - scope.started)
                self._instruments.calls.ended(call, node, scope.agent, lasted, known, scope.context)
                if self._prices is not None:
                    self._instruments.calls.cost(call, node, cost, scope.context)
        finally:
            self._show_end(event, scope, failed, cost)

    def _add_up(self, run: Run, call: Call, cost: float | None) -> None:
        scope: OpenRun | None = run.telemetry
        root: OpenRun | None = run.root.telemetry
        usage = call.answered.usage
        with self._lock:
            if scope is not None and scope.tally is not None:
                scope.tally.add(call)
            if root is not None and usage is not None:
                root.tokens += (usage.input or 0) + (usage.output or 0)
                root.cost += cost or 0.0

    def task_ended(self, task: Task, time: int) -> None:
        """End what a task has begun and nobody will end any more: streams that were left, say."""
        self._leave([call for call, whose in tuple(self._open.items()) if whose is task], time)

    def run_ended(self, run: Run, time: int) -> None:
        """End the same of all tasks of a run."""
        self._leave([call for call, whose in tuple(self._open.items()) if whose.run is run], time)

    def _leave(self, calls: list[Call], time: int) -> None:
        for call in calls:
            task = self._open.get(call)
            if task is not None:
                self.ended(events.CallEnded(task, call, None, time))

    def _show_end(
        self, event: events.CallEnded, scope: OpenCall, failed: str | None, cost: float | None
    ) -> None:
        call, span = event.call, scope.span
        details = self._wants_details(call)
        if span is None and not details:
            return
        found = attributes.at_end(call, self._options.names)
        if cost is not None:
            found[semconv.GRAPH_CALL_COST] = cost
        if failed is not None:
            found[semconv.ERROR_TYPE] = failed
        self._add(scope, call.answer)
        if details and self._logger is not None:
            self._tell(self._logger, event, scope, {**scope.attributes, **found})
            if isinstance(event.error, Exception):
                self._tell_failure(self._logger, event, event.error, scope.context)
        if span is None:
            return
        add_own(span, found)
        if scope.shown is not None and self._options.span_content:
            add_own(span, scope.shown.as_text())
        if failed is not None:
            text = None
            if event.error is not None and self._options.span_content:
                text = message_of(event.error, self._options)
            span.set_status(StatusCode.ERROR, text)
        span.end(event.time)

    def _wants_details(self, call: Call) -> bool:
        return self._logger is not None and call.operation in _MODELS

    def _add(self, scope: OpenCall, make: MakeContent | None) -> None:
        if scope.shown is not None and make is not None:
            scope.shown.add(make())

    def _tell(self, logger: Logger, event: events.CallEnded, scope: OpenCall, about: Attributes) -> None:
        number, word = _DEBUG if self._options.names.latest else _INFO
        said: Attributes = {}
        if scope.shown is not None and self._options.event_content:
            said = scope.shown.as_structure()
        logger.emit(
            timestamp=event.time,
            context=scope.context,
            severity_number=number,
            severity_text=word,
            attributes={**attributes_of(event.task.run, event.task), **about, **said},
            event_name=semconv.EVENT_CALL_DETAILS,
        )

    def _tell_failure(
        self, logger: Logger, event: events.CallEnded, error: Exception, context: Context
    ) -> None:
        options = self._options
        name = (
            semconv.EVENT_CALL_EXCEPTION_SINCE
            if options.names.latest
            else semconv.EVENT_CALL_EXCEPTION_BEFORE
        )
        number, word = _WARN
        logger.emit(
            timestamp=event.time,
            context=context,
            severity_number=number,
            severity_text=word,
            attributes={
                **attributes_of(event.task.run, event.task),
                **describe(error, options, with_text=options.event_content),
            },
            event_name=name,
        )


def _failure(event: events.CallEnded) -> str | None:
    """Name what went wrong; who is cancelled, or left, has not failed."""
    if isinstance(event.error, Exception):
        return error_type(event.error, End.ERROR)
    return event.call.answered.failed
