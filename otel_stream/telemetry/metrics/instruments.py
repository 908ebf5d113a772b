"""Instruments, and what is recorded with them; the same whether or not a trace is sampled."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.metrics import Counter, Histogram, Meter

from otel_stream import events, semconv
from otel_stream.events import End, Run, Task
from otel_stream.telemetry.exceptions import error_type
from otel_stream.telemetry.metrics.calls import CallInstruments
from otel_stream.telemetry.metrics.gauges import Active, Gauges
from otel_stream.telemetry.metrics.names import NODES, OTHER, short
from otel_stream.telemetry.metrics.receivers import Receiver
from otel_stream.telemetry.scope import Attributes, FixedAttributes, OpenRun, OpenTask

_SECONDS: Final = 1e-9


class Instruments:
    """The instruments of one meter, shared by all runs."""

    def __init__(self, meter: Meter, gauges: Gauges, names: semconv.GenAINames) -> None:
        self.graph_attribute = names.graph_attribute
        self.latest = names.latest
        self.gauges = gauges
        self.run_duration = _histogram(meter, names.run_duration)
        self.run_supersteps = _histogram(meter, semconv.RUN_SUPERSTEPS)
        self.run_errors = _counter(meter, semconv.RUN_ERRORS)
        self.interrupt_raised = _counter(meter, semconv.INTERRUPT_RAISED)
        self.interrupt_duration = _histogram(meter, semconv.INTERRUPT_DURATION)
        self.superstep_duration = _histogram(meter, semconv.SUPERSTEP_DURATION)
        self.superstep_tasks = _histogram(meter, semconv.SUPERSTEP_TASKS)
        self.node_duration = _histogram(meter, semconv.NODE_DURATION)
        self.attempt_duration = _histogram(meter, semconv.ATTEMPT_DURATION)
        self.node_retries = _counter(meter, semconv.NODE_RETRIES)
        self.node_errors = _counter(meter, semconv.NODE_ERRORS)
        self.edge_taken = gauges.edges.taken
        self.checkpoint_duration = _histogram(meter, semconv.CHECKPOINT_DURATION)
        self.checkpoint_size = _histogram(meter, semconv.CHECKPOINT_SIZE)
        self.calls = CallInstruments(meter, names)
        self._of_agents = tuple(
            (_histogram(meter, metric), field)
            for metric, field in ((names.agent_inferences, "inferences"), (names.agent_tools, "tools"))
            if metric is not None
        )
        self._runs = gauges.runs
        self._nodes = gauges.nodes
        #: As many as there are names of graphs, and ways to end.
        self._ends: dict[tuple[str, str], tuple[FixedAttributes, FixedAttributes]] = {}
        self._noting_superstep = getattr(self.superstep_duration, "noting", None)
        self._noting_node = getattr(self.node_duration, "noting", None)
        for histogram in (self.superstep_duration, self.node_duration):
            add_up = getattr(histogram, "add_up", None)
            if add_up is not None:
                gauges.before.append(add_up)
        self._graph_names = gauges.graph_names
        self.error_types = gauges.error_types

    def of_run(self, run: Run) -> Active:
        """Return what is known of a run's graph: its attributes, and how many of its runs are in progress."""
        known = self._runs.get(run.graph)
        if known is not None:
            return known
        name = self._graph_names(run.graph)
        return _kept(self._runs, name, {semconv.GRAPH_NAME: name}, self._noting_superstep)

    def of_task(self, task: Task) -> Active:
        """Return the same of a task's node."""
        key = (task.run.graph, task.node)
        known = self._nodes.get(key)
        if known is not None:
            return known
        graph = self.named(task.run)
        node = short(task.node)
        if len(self._nodes) >= NODES and (graph, node) not in self._nodes:
            node = OTHER
        about: Attributes = {semconv.GRAPH_NAME: graph, semconv.GEN_AI_NODE_NAME: node}
        return _kept(self._nodes, (graph, node), about, self._noting_node)

    def of_end(self, run: Run, end: End) -> tuple[FixedAttributes, FixedAttributes]:
        """Return the attributes of a run of no agent's that has ended so: how it ended, and with its name."""
        name = self.named(run)
        known = self._ends.get((name, end.value))
        if known is None:
            about: Attributes = {semconv.GRAPH_NAME: name, semconv.GRAPH_RUN_END: end.value}
            described = {semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_RUN, self.graph_attribute: name, **about}
            # Two threads may both make one; the first that is stored is everybody's.
            made = FixedAttributes(about), FixedAttributes(described)
            known = self._ends.setdefault((name, end.value), made)
        return known

    def named(self, run: Run) -> str:
        """Return what a run's graph is called in metrics."""
        return str(self.of_run(run).attributes[semconv.GRAPH_NAME])

    def named_agent(self, scope: OpenRun, graph: str) -> str:
        """Return what a run of an agent is called in metrics, by the attribute that names the graph."""
        return self._graph_names(scope.agent or graph) if self.latest else graph

    def agent_ended(self, scope: OpenRun, graph: str) -> None:
        """Record how many calls a run of an agent made itself."""
        about: Attributes = {
            semconv.GEN_AI_AGENT_NAME: self._graph_names(scope.agent or graph),
            semconv.GRAPH_NAME: graph,
        }
        for histogram, field in self._of_agents:
            histogram.record(getattr(scope.tally, field), about, scope.context)

    def error_type(self, error: BaseException | None, end: End) -> str:
        """Return what the class of ``error``, or without one the end, is called in metrics."""
        return self.error_types(error_type(error, end))


def _kept(known: dict[Any, Active], key: Any, attributes: Attributes, noting: Any) -> Active:
    # Two threads may both make one; the first that is stored is everybody's.
    return known.get(key) or known.setdefault(key, Active(FixedAttributes(attributes), noting))


def _histogram(meter: Meter, metric: semconv.Metric) -> Histogram:
    name, unit, description, boundaries = metric
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries)


def _counter(meter: Meter, metric: semconv.Metric) -> Counter:
    return meter.create_counter(metric.name, metric.unit, metric.description)


class Metrics:
    """Records the measurements of one root run and its subgraphs."""

    __slots__ = ("_instruments", "_notes", "_record_node", "_record_superstep")

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        #: Whether what is measured is an exemplar of nothing.
        self._notes = False
        self._record_node = instruments.node_duration.record
        self._record_superstep = instruments.superstep_duration.record

    def without_exemplars(self) -> None:
        """Take note that the trace of the run is not sampled."""
        self._notes = True

    # -- runs ---------------------------------------------------------------------------------

    def run_started(self, run: Run, scope: OpenRun) -> None:
        """Count the run as active, and the interrupts that it answers."""
        instruments = self._instruments
        known = scope.active = instruments.of_run(run)
        known.begin()
        if run.resumes is not None and run.resumes.interrupts and run.parent is None:
            for seconds in instruments.gauges.waiting.answered(run.resumes.interrupts, scope.started):
                instruments.interrupt_duration.record(seconds, known.attributes, scope.context)

    def run_ended(self, event: events.RunEnded, scope: OpenRun) -> None:
        """Record the run's duration, how many supersteps it took, and how it ended."""
        instruments, run = self._instruments, event.run
        if scope.active is not None:
            scope.active.end()
        usual = not event.end.failed and scope.tally is None
        about, described = instruments.of_end(run, event.end) if usual else self._of_end(event, scope)
        instruments.run_supersteps.record(scope.supersteps, about, scope.context)
        instruments.run_duration.record(_seconds(scope.started, event.time), described, scope.context)
        if event.end is End.INTERRUPTED and run.parent is None:
            self._interrupted(event, scope)
        if scope.tally is not None:
            instruments.agent_ended(scope, instruments.named(run))

    def _of_end(self, event: events.RunEnded, scope: OpenRun) -> tuple[Attributes, Attributes]:
        """Return the same as ``Instruments.of_end`` of an agent, or of what failed, which is counted."""
        instruments = self._instruments
        name = instruments.named(event.run)
        ended: Attributes = {semconv.GRAPH_NAME: name, semconv.GRAPH_RUN_END: event.end.value}
        about = ended
        if event.end.failed:
            # Another one: older SDKs keep what they are given, without a copy.
            about = {**ended, semconv.ERROR_TYPE: instruments.error_type(event.error, event.end)}
            instruments.run_errors.add(1, about, scope.context)
        agent = scope.tally is not None
        return ended, {
            semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_AGENT if agent else semconv.SPAN_RUN,
            instruments.graph_attribute: instruments.named_agent(scope, name) if agent else name,
            **about,
        }

    def _interrupted(self, event: events.RunEnded, scope: OpenRun) -> None:
        ids = [str(interrupt.id) for interrupt in event.interrupts]
        attributes = self._instruments.of_run(event.run).attributes
        # A breakpoint is one, too, though it asks nothing and nobody can answer it by its id.
        self._instruments.interrupt_raised.add(len(ids) or 1, attributes, scope.context)
        self._instruments.gauges.waiting.raised(self._instruments.named(event.run), ids, event.time)

    # -- supersteps and tasks -----------------------------------------------------------------

    def superstep_started(self, event: events.SuperstepStarted, scope: OpenRun) -> None:
        """Count the superstep."""
        scope.supersteps += 1
        scope.width, scope.untold = len(event.tasks), False

    def superstep_ended(self, event: events.SuperstepEnded, scope: OpenRun) -> None:
        """Record the superstep's duration, and its width if it is wider than one task."""
        if scope.width > 1:
            self._instruments.superstep_tasks.record(scope.width, scope.active.attributes, scope.step_context)
        active = scope.active
        attributes: Attributes = active.attributes
        lasted = max(0, event.time - scope.step_started)
        if event.end is not End.OK and event.end.failed:
            attributes = {
                **attributes,
                semconv.ERROR_TYPE: self._instruments.error_types(scope.error_type or event.end.value),
            }
        elif self._notes and active.note is not None:
            active.note(lasted)
            return
        self._record_superstep(lasted * _SECONDS, attributes, scope.step_context)

    def task_started(self, task: Task, scope: OpenTask, run: OpenRun) -> None:
        """Count the task as active."""
        known = scope.active = self._instruments.of_task(task)
        known.begin()
        sources = task.sources
        if len(sources) == 1:  # as nearly always
            self._instruments.edge_taken(self._instruments.of_task(sources[0][1]), known)
        elif sources:
            for source in {one.node: one for _, one in sources}.values():
                self._instruments.edge_taken(self._instruments.of_task(source), known)
        if run.step_started == 0:
            # Nobody is told of the starts of supersteps in an unsampled run: its tasks all start then.
            run.step_started, run.width = scope.started, 0
            run.supersteps += 1
        if run.untold and scope.started == run.step_started:
            run.width += 1

    def task_ended(self, event: events.TaskEnded, scope: OpenTask) -> None:
        """Record the task's duration, and that it failed if it did."""
        active = scope.active
        if active is None:
            return
        active.end()
        attributes: Attributes = active.attributes
        lasted = max(0, event.time - scope.started)  # a clock that was set back must not lose the measurement
        if event.end is not End.OK and event.end.failed:
            attributes = {
                **attributes,
                semconv.ERROR_TYPE: self._instruments.error_type(event.error, event.end),
            }
            self._instruments.node_errors.add(1, attributes, scope.place)
        elif self._notes and active.note is not None:
            active.note(lasted)
            return
        self._record_node(lasted * _SECONDS, attributes, scope.place)

    def attempt_ended(self, event: events.AttemptEnded, scope: OpenTask) -> None:
        """Record the duration of an attempt of a node that may be retried, and count the retry."""
        attributes = self._instruments.of_task(event.task).attributes
        seconds = _seconds(scope.attempt_started, event.time)
        if event.error is None:
            self._instruments.attempt_duration.record(seconds, attributes, scope.context)
            return
        failed = {**attributes, semconv.ERROR_TYPE: self._instruments.error_type(event.error, End.ERROR)}
        self._instruments.attempt_duration.record(seconds, failed, scope.context)
        if event.retry_after is not None:
            self._instruments.node_retries.add(1, failed, scope.context)

    def checkpoint_written(self, event: events.CheckpointWritten, scope: OpenRun) -> None:
        """Record how long a checkpointer took, and how much it stored."""
        attributes = self._instruments.of_run(event.run).attributes
        self._instruments.checkpoint_duration.record(max(0.0, event.seconds), attributes, scope.context)
        if event.size is not None:
            self._instruments.checkpoint_size.record(event.size, attributes, scope.context)

    # -- receivers ----------------------------------------------------------------------------

    def watch(self, receiver: Receiver, run: Run) -> None:
        """Watch what becomes of the parts of ``receiver``."""
        self._instruments.gauges.receivers.attached(receiver, self._instruments.named(run))


def _seconds(start: int, end: int) -> float:
    # A clock that was set back must not lose the measurement.
    return max(0.0, (end - start) * _SECONDS)
