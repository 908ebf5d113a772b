"""Instruments, and what is recorded with them; the same whether or not a trace is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Counter, Histogram, Meter

from otel_stream import events, semconv
from otel_stream.events import End, Run, Task
from otel_stream.statistics import ModeStatistics, ReceiverStatistics
from otel_stream.telemetry.scope import Attributes, FixedAttributes, RunScope, TaskScope
from otel_stream.telemetry.spans import error_type

_SECONDS: Final = 1e-9
#: Attribute sets kept per graph and node; graphs made on the fly must not fill the memory.
_MAX_KEPT: Final = 4096


class Instruments:
    """The instruments of one meter, shared by all runs."""

    def __init__(self, meter: Meter, names: semconv.GenAINames) -> None:
        self.graph_attribute = names.graph_attribute
        self.run_duration = _histogram(meter, names.run_duration)
        self.superstep_duration = _histogram(meter, semconv.SUPERSTEP_DURATION)
        self.node_duration = _histogram(meter, semconv.NODE_DURATION)
        self.checkpoint_duration = _histogram(meter, semconv.CHECKPOINT_DURATION)
        self.node_retries = _counter(meter, semconv.NODE_RETRIES)
        self.stream_offered = _counter(meter, semconv.STREAM_OFFERED)
        self.stream_dropped = _counter(meter, semconv.STREAM_DROPPED)
        name, unit, description, _ = semconv.RUN_ACTIVE
        self.run_active = meter.create_up_down_counter(name, unit, description)
        self._of_graph: dict[str, FixedAttributes] = {}
        self._of_node: dict[tuple[str, str], FixedAttributes] = {}

    def of_run(self, run: Run) -> FixedAttributes:
        """Return the attributes of a run's graph; not to be changed."""
        known = self._of_graph.get(run.graph)
        if known is None:
            known = FixedAttributes({semconv.GRAPH_NAME: run.graph})
            if len(self._of_graph) < _MAX_KEPT:
                self._of_graph[run.graph] = known
        return known

    def of_task(self, task: Task) -> FixedAttributes:
        """Return the attributes of a task's graph and node; not to be changed."""
        key = (task.run.graph, task.node)
        known = self._of_node.get(key)
        if known is None:
            known = FixedAttributes({semconv.GRAPH_NAME: key[0], semconv.GEN_AI_NODE_NAME: key[1]})
            if len(self._of_node) < _MAX_KEPT:
                self._of_node[key] = known
        return known


def _histogram(meter: Meter, metric: semconv.Metric) -> Histogram:
    name, unit, description, boundaries = metric
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)


def _counter(meter: Meter, metric: semconv.Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.description)


class Metrics:
    """Records the measurements of one root run and its subgraphs."""

    __slots__ = ("_instruments", "_record_node", "_record_superstep")

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._record_node = instruments.node_duration.record
        self._record_superstep = instruments.superstep_duration.record

    def run_started(self, run: Run, scope: RunScope) -> None:
        """Count the run as active."""
        self._instruments.run_active.add(1, self._instruments.of_run(run), scope.context)

    def run_ended(self, event: events.RunEnded, scope: RunScope) -> None:
        """Record the run's duration, and that it is no longer active."""
        instruments = self._instruments
        graph = event.run.graph
        instruments.run_active.add(-1, instruments.of_run(event.run), scope.context)
        attributes: Attributes = {
            semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_RUN,
            instruments.graph_attribute: graph,
            semconv.GRAPH_NAME: graph,
            semconv.GRAPH_RUN_END: event.end.value,
        }
        if event.end.failed:
            attributes[semconv.ERROR_TYPE] = error_type(event.error, event.end)
        instruments.run_duration.record(_seconds(scope.started, event.time), attributes, scope.context)

    def superstep_ended(self, event: events.SuperstepEnded, scope: RunScope) -> None:
        """Record the superstep's duration."""
        attributes: Attributes = self._instruments.of_run(event.run)
        if event.end.failed:
            attributes = {**attributes, semconv.ERROR_TYPE: scope.error_type or event.end.value}
        self._record_superstep(_seconds(scope.step_started, event.time), attributes, scope.step_context)

    def task_ended(self, event: events.TaskEnded, scope: TaskScope) -> None:
        """Record the task's duration."""
        attributes: Attributes = self._instruments.of_task(event.task)
        if event.end is not End.OK and event.end.failed:
            attributes = {**attributes, semconv.ERROR_TYPE: error_type(event.error, event.end)}
        self._record_node(_seconds(scope.started, event.time), attributes, scope.context)

    def retried(self, event: events.AttemptEnded, scope: TaskScope) -> None:
        """Count a retry."""
        attributes = {
            **self._instruments.of_task(event.task),
            semconv.ERROR_TYPE: error_type(event.error, End.ERROR),
        }
        self._instruments.node_retries.add(1, attributes, scope.context)

    def checkpoint_written(self, event: events.CheckpointWritten, scope: RunScope) -> None:
        """Record how long a checkpointer took."""
        self._instruments.checkpoint_duration.record(
            max(0.0, event.seconds), self._instruments.of_run(event.run), scope.context
        )

    def receiver(self, receiver: object, statistics: ReceiverStatistics, run: Run) -> None:
        """Count, by mode, the parts that ``receiver`` was offered and dropped since the last call."""
        with _shown_lock:
            before = _shown.get(receiver, {})
            _shown[receiver] = statistics.by_mode
        context = run.telemetry.context
        for mode, now in statistics.by_mode.items():
            old = before.get(mode, _NOTHING)
            attributes: Attributes = {semconv.GRAPH_NAME: run.graph, semconv.GRAPH_STREAM_MODE: mode}
            self._instruments.stream_offered.add(now.offered - old.offered, attributes, context)
            # Also when it is 0: a panel of drops shall show zero, not "no data".
            self._instruments.stream_dropped.add(now.dropped - old.dropped, attributes, context)


#: What was counted of receivers already: they may outlive a run, and counters only take what is new.
_shown: Final[WeakKeyDictionary[object, Mapping[str, ModeStatistics]]] = WeakKeyDictionary()
_shown_lock: Final = Lock()
_NOTHING: Final = ModeStatistics()


def _seconds(start: int, end: int) -> float:
    # A clock that was set back must not lose the measurement.
    return max(0.0, (end - start) * _SECONDS)
