"""Log events that say that something has begun: by OTLP a span is not heard of before it has ended.

Each is on the span that has begun, so its ids are the record's; the body names the span above it. Who reads
them can show a run, its thread and its graph while it goes on, and every node from its start.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from time import monotonic
from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from otel_stream import events, semconv
from otel_stream.encoding import encode
from otel_stream.events import Run, Structure
from otel_stream.forking import in_child
from otel_stream.telemetry.links import resumed_attributes
from otel_stream.telemetry.logs import body
from otel_stream.telemetry.logs.happenings import attributes_of
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.redaction import shown_tags
from otel_stream.telemetry.scope import Attributes, OpenRun, OpenTask
from otel_stream.trouble import placed

_logger = logging.getLogger(__name__)

#: Seconds after which a graph's structure is told again, for who has begun to listen since.
TELL_AGAIN: Final = 600.0
#: Structures that are remembered as told.
MAX_TOLD: Final = 1024
#: Log events that a structure may take up; one that is longer is not told.
MAX_CHUNKS: Final = 64


class ToldStructures:
    """Which graphs' structures this process has told of, by their digests, and when."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        in_child(self._forget)

    def _forget(self) -> None:
        self._told.clear()

    def is_new(self, digest: str) -> bool:
        """Whether a structure is to be told now; whoever is told so does it."""
        now = monotonic()
        last = self._told.get(digest)
        if last is not None and now - last < TELL_AGAIN:
            return False
        self._told.pop(digest, None)
        self._told[digest] = now
        if len(self._told) > MAX_TOLD:
            self._told.pop(next(iter(self._told)), None)
        return True


class Starts:
    """Emits what begins in one root run and its subgraphs."""

    __slots__ = ("_due", "_logger", "_options", "_told")

    def __init__(self, logger: Logger, options: TelemetryOptions, told: ToldStructures) -> None:
        self._logger = logger
        self._options = options
        self._told = told
        #: Structures that are to be told: behind what the run was started with.
        self._due: list[tuple[Run, OpenRun, Structure]] = []

    def run_started(self, event: events.RunStarted, scope: OpenRun) -> None:
        """Say that a run has begun, whose it is, and of which graph."""
        run = event.run
        attributes = attributes_of(run)
        if run.tags and self._options.event_content:
            attributes[semconv.GRAPH_RUN_TAGS] = shown_tags(run.tags, self._options.redaction)
        if event.resumed:
            attributes[semconv.GRAPH_RUN_RESUMED] = True
        if run.resumes is not None:
            attributes.update(resumed_attributes(run.resumes))
        digest = self._digest(run, scope)
        if digest is not None:
            attributes[semconv.GRAPH_STRUCTURE_DIGEST] = digest
        name = f"{semconv.SPAN_RUN} {run.graph}"
        about, above = _id(scope.context), _id(scope.outer)
        if about == above:  # without a tracer it has no span of its own
            about = None
        self._tell(semconv.EVENT_RUN_START, event.time, scope.context, attributes, _body(name, about, above))

    def superstep_started(self, event: events.SuperstepStarted, context: Context, about: str | None) -> None:
        """Say that a superstep has begun, which may be a while ago; ``about`` is the id of its span."""
        attributes = attributes_of(event.run)
        attributes[semconv.GRAPH_SUPERSTEP] = event.step
        attributes[semconv.GRAPH_SUPERSTEP_WIDTH] = len(event.tasks)
        self._tell(
            semconv.EVENT_SUPERSTEP_START,
            event.time,
            context,
            attributes,
            _body(semconv.SPAN_SUPERSTEP, about, event.run.span_id),
        )

    def task_started(self, event: events.TaskStarted, scope: OpenTask, above: str | None) -> None:
        """Say that a task has begun, below a superstep's span: on that, where its own may be folded."""
        task = event.task
        about = None if scope.about is None else f"{scope.about.span_id:016x}"
        attributes = attributes_of(task.run, task)
        attributes.pop(semconv.GRAPH_TASK_ATTEMPT, None)  # of its first one, whichever goes on by now
        self._tell(
            semconv.EVENT_NODE_START,
            event.time,
            scope.place,
            attributes,
            _body(f"{semconv.SPAN_NODE} {task.node}", about, above or task.run.span_id),
        )

    def _digest(self, run: Run, scope: OpenRun) -> str | None:
        """Return the digest of the graph's structure, which is going to be told if it is new."""
        declared = run.declared
        if declared is None:
            return None
        try:
            digest = declared.digest
        except Exception as error:  # noqa: BLE001 - a library's drawing of a graph that is not ours
            _logger.debug("The structure of a graph is not told: %s", placed(error))
            run.declared = None
            return None
        if self._told.is_new(digest):
            self._due.append((run, scope, declared))
        return digest

    def tell_structures(self) -> None:
        """Say how the graphs were declared whose runs have begun."""
        while self._due:
            try:
                due = self._due.pop(0)
            except IndexError:  # another thread, in a subgraph, was quicker
                return
            self._tell_structure(*due)

    def _tell_structure(self, run: Run, scope: OpenRun, declared: Structure) -> None:
        pieces = body.chunks(declared.text.encode(), self._options.max_body_bytes)
        if len(pieces) > MAX_CHUNKS:
            return
        for number, piece in enumerate(pieces):
            attributes = attributes_of(run)
            attributes[semconv.GRAPH_STRUCTURE_DIGEST] = declared.digest
            if len(pieces) > 1:
                attributes[semconv.GRAPH_STREAM_BODY_CHUNK] = number
                attributes[semconv.GRAPH_STREAM_BODY_CHUNKS] = len(pieces)
            self._tell(semconv.EVENT_STRUCTURE, scope.started, scope.context, attributes, piece)

    def _tell(self, name: str, time: int, context: Context, attributes: Attributes, text: str) -> None:
        self._logger.emit(
            timestamp=time,
            context=context,
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body=text,
            attributes=attributes,
            event_name=name,
        )


def _id(context: Context) -> str | None:
    about = get_current_span(context).get_span_context()
    return f"{about.span_id:016x}" if about.is_valid else None


def _body(name: str, about: str | None, above: str | None) -> str:
    """Return what OTLP's JSON will say of a span; without a tracer there is none, and only its name."""
    if about is None:
        return f'{{"name":{_quoted(name)}}}'
    parent = f'"parentSpanId":"{above}",' if above is not None else ""
    return f'{{"spanId":"{about}",{parent}"name":{_quoted(name)}}}'


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return encode(name).decode()
