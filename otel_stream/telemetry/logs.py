"""Log events: one per exported stream part, on the context of its task's or run's span."""

from __future__ import annotations

from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context

from otel_stream import semconv
from otel_stream.events import Event, Run, Task
from otel_stream.modes import StreamPart
from otel_stream.telemetry import body
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.scope import Attributes, RunScope, TaskScope

_INFO: Final = (SeverityNumber.INFO, "INFO")
_DEBUG: Final = (SeverityNumber.DEBUG, "DEBUG")


class Logs:
    """Emits the log events of one root run and its subgraphs."""

    __slots__ = ("_content", "_emit", "_enabled", "_logger", "_max_bytes")

    def __init__(self, logger: Logger, options: TelemetryOptions) -> None:
        self._logger = logger
        self._emit = logger.emit
        self._content = options.event_content
        self._max_bytes = options.max_body_bytes
        #: Modes that the logger was asked about already.
        self._enabled: dict[str, bool] = {}

    def emit(self, part: StreamPart, event: Event) -> None:
        """Emit the log event of ``part``, which was made of ``event``."""
        mode = part.type
        task: Task | None = getattr(event, "task", None)
        run: Run = event.run if task is None else task.run  # type: ignore[attr-defined]
        around: RunScope | None = run.telemetry
        within: TaskScope | RunScope | None = around if task is None else task.telemetry or around
        context = None if within is None else within.context
        enabled = self._enabled.get(mode)
        if enabled is None:
            enabled = self._enabled[mode] = self._ask(mode, context)
        if not enabled:
            return
        known = None if around is None else around.attributes
        if known is None:
            known = _about(run)
            if around is not None:
                around.attributes = known
        attributes: Attributes = {
            **known,
            semconv.GRAPH_STREAM_SEQ: part.seq,
            semconv.GRAPH_SUPERSTEP: part.step,
        }
        if task is not None:
            attributes[semconv.GEN_AI_NODE_NAME] = task.node
            attributes[semconv.GRAPH_TASK_ID] = task.id
            if part.attempt is not None and part.attempt > 1:
                attributes[semconv.GRAPH_TASK_ATTEMPT] = part.attempt
        name = semconv.EVENT_BY_MODE.get(mode)
        if name is None:
            name = semconv.EVENT_CUSTOM_MODE
            attributes[semconv.GRAPH_STREAM_MODE] = mode
        number, word = _DEBUG if mode == "debug" else _INFO
        self._emit(
            timestamp=part.time_unix_nano,
            context=context,
            severity_number=number,
            severity_text=word,
            body=self._body(part, attributes),
            attributes=attributes,
            event_name=name,
        )

    def _body(self, part: StreamPart, attributes: Attributes) -> str:
        if not self._content:
            return body.summary(part.type, part.data)
        text, size = body.content(part.data, self._max_bytes)
        if size:
            attributes[semconv.GRAPH_STREAM_BODY_SIZE] = size
        return text

    def _ask(self, mode: str, context: Context | None) -> bool:
        number, _ = _DEBUG if mode == "debug" else _INFO
        return self._logger.enabled(
            context=context,
            severity_number=number,
            event_name=semconv.EVENT_BY_MODE.get(mode, semconv.EVENT_CUSTOM_MODE),
        )


def _about(run: Run) -> Attributes:
    attributes: Attributes = {semconv.GRAPH_RUN_ID: run.root.id, semconv.GRAPH_NAME: run.graph}
    if run.ns:
        attributes[semconv.GRAPH_NS] = "|".join(run.ns)
    return attributes
