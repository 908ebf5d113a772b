"""A hand-made engine: it reports the events of a run, one nanosecond-exact step after the other."""

import itertools
from contextvars import copy_context

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_stream import events as e
from otel_stream.events import End, Run, Task
from otel_stream.sdk.versions import InMemoryLogRecordExporter
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, consumer_for_run

START = 1_700_000_000_000_000_000
MS = 1_000_000


class SceneTask(Task):
    """A task that is told what triggered it, and whether it may be retried."""

    sources = ()
    retryable = True


class Scene:
    """Providers with exporters in memory, one consumer, and an engine that ticks 1 ms per event."""

    def __init__(self, *, sampler=None, signals=("traces", "logs", "metrics"), options=None):
        self.spans = InMemorySpanExporter()
        self.logs = InMemoryLogRecordExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("the program")
        self.options = options or TelemetryOptions()
        self.consumer = consumer_for_run(
            tracer_provider=self.tracers if "traces" in signals else None,
            logger_provider=self.loggers if "logs" in signals else None,
            meter_provider=self.meters if "metrics" in signals else None,
            options=self.options,
        )
        self.seq = itertools.count()
        self.ids = itertools.count(1)
        self._time = START

    def now(self):
        self._time += MS
        return self._time

    # -- the engine ---------------------------------------------------------------------------

    def run(self, graph="triage", *, parent=None, context=None, resumed=False, **more):
        ns = () if parent is None else (*parent.run.ns, f"{parent.node}:{parent.id}")
        resumes, declared = more.pop("resumes", None), more.pop("declared", None)
        more = {"names": ("secret", "n", "messages", "x", "branch:to:tools"), **more}
        run = Run("run-1", graph, context=(context or copy_context()), parent=parent, ns=ns, **more)
        run.resumes, run.declared = resumes, declared
        self.emit(e.RunStarted(run, {}, resumed, self.now()))
        return run

    def end(self, run, end=End.OK, error=None, step=1, interrupts=()):
        self.emit(e.RunEnded(run, end, {}, error, interrupts, step, self.now()))

    def step(self, run, *nodes, number=1, sources=()):
        tasks = tuple(
            SceneTask(run, node, number, triggers=(f"branch:to:{node}",), id=f"task-{next(self.ids)}")
            for node in nodes
        )
        for task in tasks:
            task.sources = sources
        self.emit(e.SuperstepStarted(run, number, tasks, self.now()))
        return tasks

    def step_end(self, run, end=End.OK, number=1):
        self.emit(e.SuperstepEnded(run, number, end, frozenset({"x"}), self.now()))

    def start(self, task):
        self.emit(e.TaskStarted(task, self.now()))

    def attempt(self, task, number=1, *, retryable=False):
        task.attempt = number
        self.retryable = retryable
        context = task.run.context.copy()
        self.emit(e.AttemptStarted(task, number, context, retryable, self.now()))
        return context

    def attempt_end(self, task, number=1, error=None, retry_after=None):
        self.emit(e.AttemptEnded(task, number, error, retry_after, self.now(), self.retryable))

    def finish(self, task, end=End.OK, update=None, error=None, *, cached=False):
        event = e.TaskEnded(task, end, update, update or {}, error, (), cached, self.now())
        self.emit(event)
        return event

    def do(self, task, update=None):
        """A task without any trouble."""
        self.start(task)
        self.attempt(task)
        self.attempt_end(task)
        return self.finish(task, update=update)

    def emit(self, event):
        if event.bit & self.consumer.interest:
            self.consumer.on_event(event)

    def part(self, mode, data, event, **more):
        """What the stream makes of ``event``, if telemetry exports its mode."""
        if mode not in self.consumer.modes:
            return
        origin = e.origin(event)
        run = origin.run if isinstance(origin, Task) else origin
        of_task = (
            {"node": origin.node, "task_id": origin.id, "attempt": origin.attempt}
            if origin is not run
            else {}
        )
        part = StreamPart(
            mode, run.ns, data, seq=next(self.seq), time_unix_nano=event.time, run_id=run.root.id,
            graph=run.graph, step=getattr(origin, "step", None) or getattr(event, "step", None),
            **of_task, **more,
        )  # fmt: skip
        self.consumer.on_part(part, event)

    # -- what came of it ----------------------------------------------------------------------

    def tree(self, *attributes):
        """(name, name of the parent, status, end, *attributes) of every span, in order of start."""
        done = self.spans.get_finished_spans()
        names = {span.context.span_id: span.name for span in done}
        return [
            (
                span.name,
                names.get(span.parent.span_id, "?") if span.parent else None,
                span.status.status_code.name,
                next((v for k, v in span.attributes.items() if k.endswith(".end")), None),
                *(span.attributes.get(name) for name in attributes),
            )
            for span in sorted(done, key=lambda span: span.start_time)
        ]

    def span(self, name):
        (found,) = [span for span in self.spans.get_finished_spans() if span.name == name]
        return found

    def records(self):
        return [one.log_record for one in self.logs.get_finished_logs()]

    def points(self):
        """{name: [(attributes, sum or value, count)]} of everything measured."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = [
                        (
                            dict(p.attributes),
                            getattr(p, "sum", None) or getattr(p, "value", 0),
                            getattr(p, "count", None),
                        )
                        for p in metric.data.data_points
                    ]
        return found


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def make_scene():
    return Scene
