"""The telemetry consumer: events and stream parts in, spans, log events and metrics out.

One consumer per root run. Which signals it serves is decided when the run starts: a signal without
a provider costs nothing, and what the sampler left out is not built.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import cache
from importlib import metadata
from types import MethodType
from typing import Any, ClassVar, Final
from weakref import ReferenceType, WeakSet, finalize, ref

from opentelemetry import _logs, metrics, trace
from opentelemetry.trace import NoOpTracer

from otel_stream import events, semconv
from otel_stream.events import End, Event, Run
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry.agents import identify
from otel_stream.telemetry.calls.consumer import Calls
from otel_stream.telemetry.exceptions import Exceptions, error_type
from otel_stream.telemetry.logs.events import Logs
from otel_stream.telemetry.logs.happenings import Happenings, attributes_of
from otel_stream.telemetry.logs.older import modern
from otel_stream.telemetry.logs.starts import Starts, ToldStructures
from otel_stream.telemetry.logs.still_open import STILL_OPEN
from otel_stream.telemetry.metrics.gauges import Gauges
from otel_stream.telemetry.metrics.instruments import Instruments, Metrics
from otel_stream.telemetry.metrics.receivers import Receiver
from otel_stream.telemetry.options import ROUTES, TelemetryOptions, get_options
from otel_stream.telemetry.parents import parent_context
from otel_stream.telemetry.places import is_place
from otel_stream.telemetry.scope import OpenRun, OpenTask
from otel_stream.telemetry.spans import Spans
from otel_stream.trouble import placed

_logger = logging.getLogger(__name__)


def _bits(*kinds: type[Event]) -> int:
    return sum(kind.bit for kind in kinds)


_RUN: Final = _bits(events.RunStarted, events.RunEnded)
_TASKS: Final = _bits(events.SuperstepStarted, events.SuperstepEnded, events.TaskStarted, events.TaskEnded)
#: Wanted once there is a task that may be retried; a start also by spans, to be current in the node.
_ATTEMPTS: Final = _bits(events.AttemptStarted, events.AttemptEnded)
_SPANS: Final = _RUN | _TASKS | _bits(events.AttemptStarted, events.RouteChosen)
_METRICS: Final = _RUN | _TASKS | _bits(events.CheckpointWritten)
#: The start of a superstep is that of its tasks.
_UNSAMPLED: Final = _METRICS & ~_bits(events.SuperstepStarted)
#: Calls of models, tools and retrievers.
_CALLS: Final = _bits(events.CallStarted, events.CallEnded)
_HAPPENINGS: Final = _RUN | _bits(events.RunInterrupted)
_ROUTES: Final = _bits(events.RouteChosen)


class RunTelemetry:
    """Spans, log events and metrics of one root run and its subgraphs.

    ``interest`` and ``modes`` say what is wanted *now*: both shrink when the run's span turns out
    not to be sampled. Nothing here raises: what a processor or an instrument raises is reported
    once and counted in ``failures``.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_early",
        "_exceptions",
        "_happenings",
        "_logs",
        "_metrics",
        "_options",
        "_receivers",
        "_recording",
        "_run",
        "_spans",
        "_starts",
        "_steps",
        "_tells_routes",
        "failures",
        "interest",
        "modes",
        "outlines",
    )

    def __init__(self, signals: _Signals, options: TelemetryOptions) -> None:
        self._options = options
        self._spans = None if signals.tracer is None else Spans(signals.tracer, options)
        self._logs = None if signals.logger is None or not options.modes else Logs(signals.logger, options)
        self._happenings = None if signals.logger is None or not options.modes else Happenings(signals.logger)
        self._starts = self._steps = None
        if self._happenings is not None and signals.logger is not None and options.starts != "none":
            self._starts = Starts(signals.logger, options, signals.told)
            # Those of supersteps and tasks, unless runs are enough.
            self._steps = None if options.starts == "runs" else self._starts
        exporting = self._spans is not None or self._logs is not None
        self._exceptions = Exceptions(signals.logger, options) if exporting else None
        self._metrics = None if signals.instruments is None else Metrics(signals.instruments)
        self._calls = Calls(signals.tracer, signals.logger, signals.instruments, options)
        #: Spans as long as there is something to record.
        self._recording = self._spans
        #: The root run, once it has started, and who was there before it.
        self._run: Run | None = None
        self._early: list[Receiver] = []
        #: Receivers of this run alone, which say at its end what they have lost.
        self._receivers: list[ReferenceType[Receiver]] = []
        #: What went wrong inside the SDK or its processors.
        self.failures = 0
        self.modes: frozenset[str] = options.modes - {ROUTES} if self._logs is not None else frozenset()
        self.outlines = self._logs is None or not self._logs.keeps
        self._tells_routes = self._happenings is not None and ROUTES in options.modes
        self.interest = (
            (_SPANS if self._spans is not None else 0)
            | (_HAPPENINGS if self._happenings is not None else 0)
            | (_TASKS if self._steps is not None else 0)
            | (_ROUTES if self._tells_routes else 0)
            | (_METRICS if self._metrics is not None else 0)
            | (_CALLS if self._calls.wanted else 0)
        )

    def on_event(self, event: Event) -> None:
        """Take note of an event; of a kind that is not in ``interest``, too. Never raises."""
        try:
            self.handler(type(event))(event)
        except Exception as error:  # noqa: BLE001 - processors raise into whoever calls the API
            self._failed(error)

    def handler(self, kind: type[Event]) -> Callable[[Any], None]:
        """Return what takes note of events of ``kind``, and may raise."""
        handle = self._HANDLERS.get(kind)
        return _ignore if handle is None else MethodType(handle, self)

    def survives(self, error: BaseException) -> bool:
        """Take note of what a handler has raised; return whether it is to be called again."""
        if isinstance(error, Exception):
            self._failed(error)
            return True
        return False

    def on_part(self, part: StreamPart, event: Event) -> None:
        """Emit the log event of ``part``, made of ``event``, if its mode is exported. Never raises."""
        if part.type in self.modes and self._logs is not None:
            try:
                self._logs.emit(part, event)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)

    def on_receiver(self, receiver: Receiver) -> None:
        """Ask ``receiver`` what becomes of its parts, from now on. Never raises."""
        try:
            if not receiver.lasting and (self._logs is not None or self._recording is not None):
                alive = (one for one in self._receivers if one() is not None)
                self._receivers = [*alive, ref(receiver)]
            if self._metrics is not None and self._run is not None:
                self._metrics.watch(receiver, self._run)
            elif self._metrics is not None:
                self._early.append(receiver)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def end(self, end: End) -> None:
        """End what is open of the run, which goes on to no avail: the process is about to end."""
        run = self._run
        if run is not None:
            self.on_event(events.RunEnded(run, end, None, None, (), -1, time.time_ns()))
        # What comes after the end is nobody's to hear, the real end included.
        self.interest = 0
        self.modes = frozenset()
        self._logs = self._happenings = self._exceptions = self._recording = self._metrics = None
        self._starts = self._steps = None

    def _failed(self, error: BaseException) -> None:
        self.failures += 1
        if self.failures == 1:
            _logger.warning("Telemetry of a run is incomplete: %s", placed(error))

    def _begun(self, key: OpenRun | OpenTask, time: int, tell: Callable[..., None], *about: Any) -> None:
        """Tell a beginning at once, if everybody's spans are told; else if it goes on for a while."""
        if self._options.starts == "spans":
            tell(*about)
        else:
            STILL_OPEN.began(key, time, self._tell_late, tell, *about)

    def _tell_late(self, tell: Callable[..., None], *about: Any) -> None:
        if self._steps is not None:
            try:
                tell(*about)
            except BaseException as error:  # noqa: BLE001 - as above; and the thread is everybody's
                self._failed(error)

    # -- one method per kind of event ---------------------------------------------------------

    def _run_started(self, event: events.RunStarted) -> None:
        run = event.run
        spans = self._spans
        if run.parent is not None and self._recording is None and run.root.telemetry is not None:
            scope = OpenRun(run.root.telemetry.context, event.time)
        else:
            scope = OpenRun(parent_context(run), event.time)
        run.telemetry = scope
        identify(run, scope, self._options)
        if run.parent is None:
            self._run = run
            _open_runs.add(self)
        try:
            if spans is not None:
                spans.run_started(event, scope)
                if run.parent is None:
                    self._follow_sampler(spans)
            if self._starts is not None:
                self._starts.run_started(event, scope)
        finally:
            scope.untold = not self.interest & events.SuperstepStarted.bit
            if self._metrics is not None:
                self._metrics.run_started(run, scope)
                for receiver in self._early:
                    self._metrics.watch(receiver, run)
                self._early.clear()

    def _follow_sampler(self, spans: Spans) -> None:
        if not spans.recording:
            self._recording = None
            # Tasks are still given the ids of the trace: parts name them, sampled or not.
            measured = self._metrics is not None
            self.interest = _UNSAMPLED | _CALLS if measured else _RUN | events.TaskStarted.bit
        if not spans.sampled:
            if self._metrics is not None:
                self._metrics.without_exemplars()
            self._calls.measure_only(spans=spans.recording)
            self._logs = self._happenings = self._exceptions = self._starts = self._steps = None
            self.modes = frozenset()

    def _run_ended(self, event: events.RunEnded) -> None:
        scope: OpenRun | None = event.run.telemetry
        if scope is None:
            return
        if event.run.parent is None:
            _open_runs.discard(self)
        self._calls.run_ended(event.run, event.time)
        if self._starts is not None:
            self._starts.tell_structures()  # of one without a superstep
        if self._exceptions is not None and event.end.failed and event.error is not None:
            self._exceptions.record(event.error, scope.context, event.time, attributes_of(event.run))
        try:
            if event.end.failed:
                scope.error_type = error_type(event.error, event.end)
                if scope.failed_step is not None:
                    self._superstep_ended(scope.failed_step)
            if self._metrics is not None:
                self._metrics.run_ended(event, scope)
        finally:
            try:
                if event.run.parent is None and self._receivers:
                    scope.dropped = self._lost()
                if self._logs is not None and event.run.parent is None:
                    self._logs.end(event, scope.dropped)
            finally:
                if self._recording is not None:
                    self._recording.run_ended(event, scope)

    def _lost(self) -> int:
        found = (receiver() for receiver in self._receivers)
        return sum(one.account.statistics().dropped for one in found if one is not None)

    def _superstep_started(self, event: events.SuperstepStarted) -> None:
        scope: OpenRun | None = event.run.telemetry
        if scope is None:
            return
        scope.step_started = event.time
        if self._starts is not None:
            self._starts.tell_structures()
        if self._metrics is not None:
            self._metrics.superstep_started(event, scope)
        if self._exceptions is not None and event.run.parent is None:
            self._exceptions.forget()
        if self._recording is not None:
            self._recording.superstep_started(event, scope)
        if self._steps is not None:
            tell = self._steps.superstep_started
            self._begun(scope, event.time, tell, event, scope.step_context, scope.step_id)

    def _superstep_ended(self, event: events.SuperstepEnded) -> None:
        scope: OpenRun | None = event.run.telemetry
        if scope is None:
            return
        if self._steps is not None:
            STILL_OPEN.over(scope)
        if event.end is not End.OK and event.end.failed and scope.error_type is None:
            scope.failed_step = event  # the end of the run, which comes next, says what with
            return
        if self._metrics is not None:
            self._metrics.superstep_ended(event, scope)
        if self._recording is not None:
            self._recording.superstep_ended(event, scope)
        scope.step_started = 0

    def _task_started(self, event: events.TaskStarted) -> None:
        task = event.task
        run: OpenRun | None = task.run.telemetry
        if run is None:
            return
        task.telemetry = scope = OpenTask(run.step_context, event.time)
        if task.retryable:
            self.interest |= _ATTEMPTS
        if self._metrics is not None:
            self._metrics.task_started(task, scope, run)
        if self._recording is not None:
            self._recording.task_started(event, scope, run)
        else:
            task.trace_id, task.span_id = task.run.trace_id, task.run.span_id
        if self._steps is not None:
            self._begun(scope, event.time, self._steps.task_started, event, scope, run.step_id)

    def _attempt_started(self, event: events.AttemptStarted) -> None:
        scope: OpenTask | None = event.task.telemetry
        if scope is not None:
            scope.attempt_started = event.time
            if self._recording is not None:
                self._recording.attempt_started(event, scope)

    def _attempt_ended(self, event: events.AttemptEnded) -> None:
        scope: OpenTask | None = event.task.telemetry
        if scope is None:
            return
        if event.retryable and self._metrics is not None:
            self._metrics.attempt_ended(event, scope)
        if event.retry_after is not None and event.error is not None and self._exceptions is not None:
            about = attributes_of(event.task.run, event.task)
            self._exceptions.record(event.error, scope.innermost, event.time, about, repeated=True)
        if self._recording is not None:
            self._recording.attempt_ended(event, scope)

    def _task_ended(self, event: events.TaskEnded) -> None:
        task = event.task
        scope: OpenTask | None = task.telemetry
        run: OpenRun | None = task.run.telemetry
        if scope is None or run is None:
            return
        if self._steps is not None:
            STILL_OPEN.over(scope)
        if scope.calls:
            self._calls.task_ended(task, event.time)
        if self._exceptions is not None and event.end.failed and event.error is not None:
            about = attributes_of(task.run, task)
            self._exceptions.record(event.error, scope.innermost, event.time, about)
        if self._metrics is not None:
            self._metrics.task_ended(event, scope)
        if self._recording is not None:
            folded = self._recording.task_ended(event, scope, run)
            if folded and self._happenings is not None:
                self._happenings.task_folded(event, scope)

    def _checkpoint_written(self, event: events.CheckpointWritten) -> None:
        scope: OpenRun | None = event.run.telemetry
        if scope is not None and self._metrics is not None:
            self._metrics.checkpoint_written(event, scope)

    def _route_chosen(self, event: events.RouteChosen) -> None:
        scope: OpenTask | None = event.task.telemetry
        places = tuple(one for one in event.targets if is_place(event.task.run, one))
        if scope is not None:
            scope.routes = (*scope.routes, *places)
        if self._tells_routes and self._happenings is not None:
            self._happenings.route_chosen(event, places)

    def _run_interrupted(self, event: events.RunInterrupted) -> None:
        if self._happenings is not None:
            self._happenings.run_interrupted(event)

    def _call_started(self, event: events.CallStarted) -> None:
        self._calls.started(event)

    def _call_ended(self, event: events.CallEnded) -> None:
        self._calls.ended(event)

    _HANDLERS: ClassVar[dict[type[Event], Callable[..., None]]] = {
        events.RunStarted: _run_started,
        events.RunEnded: _run_ended,
        events.SuperstepStarted: _superstep_started,
        events.SuperstepEnded: _superstep_ended,
        events.TaskStarted: _task_started,
        events.AttemptStarted: _attempt_started,
        events.AttemptEnded: _attempt_ended,
        events.TaskEnded: _task_ended,
        events.CheckpointWritten: _checkpoint_written,
        events.RouteChosen: _route_chosen,
        events.RunInterrupted: _run_interrupted,
        events.CallStarted: _call_started,
        events.CallEnded: _call_ended,
    }


def _ignore(_: Any) -> None:
    """Do nothing: nothing is recorded of it."""


#: Consumers whose root run has started and not ended.
_open_runs: Final[WeakSet[RunTelemetry]] = WeakSet()


def end_open_runs(end: End = End.CANCELLED) -> None:
    """End the telemetry of all runs in progress: the last chance before the exporters are closed."""
    for consumer in list(_open_runs):
        consumer.end(end)


if hasattr(os, "register_at_fork"):
    # What is in progress at a fork is the parent's.
    os.register_at_fork(after_in_child=_open_runs.clear)


class _Signals:
    """Tracer, logger and instruments of one set of providers, None where there is no provider."""

    __slots__ = ("instruments", "logger", "options", "providers", "told", "tracer")

    def __init__(self, providers: tuple[Any, Any, Any], options: TelemetryOptions) -> None:
        self.providers = providers
        self.options = options
        self.tracer: trace.Tracer | None = None
        self.logger: _logs.Logger | None = None
        self.instruments: Instruments | None = None
        self.told = ToldStructures()
        try:
            self._ask(*providers)
        except Exception as error:  # noqa: BLE001 - a provider that fails costs its telemetry
            _logger.warning("Telemetry of runs is incomplete: %s", placed(error))

    def _ask(self, tracers: Any, loggers: Any, meters: Any) -> None:
        scope: Any = (semconv.SCOPE, version(), semconv.SCHEMA_URL)
        tracer = tracers.get_tracer(*scope[:2], schema_url=scope[2]) if is_configured(tracers) else None
        # A disabled SDK (OTEL_SDK_DISABLED) hands out what its API calls "no-op".
        self.tracer = None if isinstance(tracer, NoOpTracer) else tracer
        logger = loggers.get_logger(*scope) if is_configured(loggers) else None
        self.logger = None if logger is None or isinstance(logger, _logs.NoOpLogger) else modern(logger)
        meter = meters.get_meter(*scope) if is_configured(meters) else None
        if isinstance(meter, metrics.NoOpMeter):
            meter = None
        if meter is not None:
            self.instruments = Instruments(meter, _gauges(meters, meter), self.options.names)


@cache
def version() -> str:
    """Return the version of this distribution, "" if it runs without being installed."""
    try:
        return metadata.version("otel-stream")
    except metadata.PackageNotFoundError:
        return ""


def _gauges(provider: Any, meter: metrics.Meter) -> Gauges:
    """Return the gauges of a provider, whose callbacks it takes only once."""
    known = _GAUGES.get(id(provider))
    if known is None:
        known = _GAUGES[id(provider)] = Gauges(meter)
        finalize(provider, _GAUGES.pop, id(provider), None).atexit = False
    return known


#: By identity: not every provider can be hashed.
_GAUGES: Final[dict[int, Gauges]] = {}


def is_configured(provider: object) -> bool:
    """Tell a real provider from the stand-ins of the API, which wait for one or do nothing."""
    return not type(provider).__module__.startswith(_API)


_API: Final = ("opentelemetry.trace", "opentelemetry._logs", "opentelemetry.metrics")


class _Last:
    """Signals of the providers that were used last; nearly always those of the whole program.

    An object, not a class: where an attribute of a class is replaced, CPython may show another thread the old
    value while that is being taken apart.
    """

    __slots__ = ("none", "signals")

    def __init__(self) -> None:
        self.signals: _Signals | None = None
        #: Whether there were none, the environment's included.
        self.none = False


_LAST: Final = _Last()


#: Where the API keeps the global providers.
_GLOBALS: Final = tuple(
    getter.__globals__
    for getter in (trace.get_tracer_provider, _logs.get_logger_provider, metrics.get_meter_provider)
)


_NONE: Final = (None, None, None)


def _nobody_has_set_any() -> bool:
    """Whether no global provider has been set; False where the API does not let us see.

    Its own functions look into the environment each time they are asked, which is a twentieth of a small run.
    """
    traces, logs, measurements = _GLOBALS
    return (
        traces.get("_TRACER_PROVIDER", False) is None
        and logs.get("_LOGGER_PROVIDER", False) is None
        and measurements.get("_METER_PROVIDER", False) is None
    )


def consumer_for_run(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    logger_provider: _logs.LoggerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    options: TelemetryOptions | None = None,
) -> RunTelemetry | None:
    """Make the consumer of one root run, or None if no OpenTelemetry provider is configured.

    Providers that are not given are the global ones, looked up now: it does not matter whether
    they were set before or after this module was imported.
    """
    none_given = (tracer_provider, logger_provider, meter_provider) == _NONE
    if none_given and _LAST.none and _nobody_has_set_any():
        return None
    tracers = tracer_provider or trace.get_tracer_provider()
    loggers = logger_provider or _logs.get_logger_provider()
    meters = meter_provider or metrics.get_meter_provider()
    if not (is_configured(tracers) or is_configured(loggers) or is_configured(meters)):
        _LAST.none = none_given
        return None
    options = options or get_options()
    signals = _LAST.signals
    if signals is None or signals.options is not options or not _same(signals, tracers, loggers, meters):
        signals = _LAST.signals = _Signals((tracers, loggers, meters), options)
    if signals.tracer is None and signals.logger is None and signals.instruments is None:
        return None
    return RunTelemetry(signals, options)


def _same(signals: _Signals, *providers: object) -> bool:
    return all(old is new for old, new in zip(signals.providers, providers, strict=True))
