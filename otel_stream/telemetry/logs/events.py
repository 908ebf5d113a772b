"""Log events: one per exported stream part, on the context of its task's or run's span.

Every log event of a root run has its own number, without gaps, so that whoever reads them can tell
that one is missing; the last one says how the run ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from threading import Lock
from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.context import Context, create_key, set_value

from otel_stream import semconv
from otel_stream.events import Event, Run, RunEnded, Task
from otel_stream.parts import StreamPart, message_id
from otel_stream.telemetry.identity import shown_id
from otel_stream.telemetry.logs import body
from otel_stream.telemetry.logs.deltas import Chain, Frame
from otel_stream.telemetry.logs.messages import Message, Messages
from otel_stream.telemetry.options import TelemetryOptions
from otel_stream.telemetry.redaction import Writer, shown_tags
from otel_stream.telemetry.scope import Attributes, OpenRun, OpenTask

_INFO: Final = (SeverityNumber.INFO, "INFO")
_DEBUG: Final = (SeverityNumber.DEBUG, "DEBUG")

#: Runs whose last state is remembered; of a run that was forgotten the next state is a keyframe.
MAX_CHAINS: Final = 128
#: Log events that one state may take up.
MAX_CHUNKS: Final = 64
#: Key of a log event's context for the body that it has as a span event, where that is another.
SPAN_BODY: Final = create_key("otel_stream_span_body")
#: The name under which the run's end is asked for.
_END: Final = "end"
#: What the log events are called, by mode; those of a program's own modes have a name in common.
_NAMES: Final = {**semconv.EVENT_BY_MODE, _END: semconv.EVENT_RUN_END}


class Logs:
    """Emits the log events of one root run and its subgraphs."""

    __slots__ = (
        "_beside",
        "_chains",
        "_content",
        "_emit",
        "_enabled",
        "_lock",
        "_logger",
        "_messages",
        "_number",
        "_options",
        "keeps",
    )

    def __init__(self, logger: Logger, options: TelemetryOptions) -> None:
        self._logger = logger
        self._emit = logger.emit
        self._options = options
        self._number = count()
        spans_alone = options.record_as == "span_events"
        #: Whether the bodies are content, or summaries.
        self._content = options.span_content if spans_alone else options.event_content
        #: Whether the spans get content although the log events beside don't.
        self._beside = options.record_as == "both" and options.span_content and not self._content
        #: Whether content of parts is looked into: their types and sizes are not.
        self.keeps = self._content or self._beside
        unnamed = options.redaction is not None and not options.redaction.opens
        self._messages = Messages(keep=self.keeps, unnamed=unnamed) if options.messages == "joined" else None
        self._lock = Lock()
        self._chains: dict[tuple[str, ...], Chain] = {}
        #: Modes that the logger was asked about already.
        self._enabled: dict[str, bool] = {}

    def emit(self, part: StreamPart, event: Event) -> None:
        """Emit the log event of ``part``, which was made of ``event``, or take note of a chunk."""
        mode = part.type
        messages = self._messages
        if messages is not None:
            if mode == "messages":
                self._emit_messages(messages.add(part, event))
                return
            if messages.waiting and mode == "updates":
                self._emit_messages(messages.end(part.task_id))
        context, run = _place(event)
        # Asked once: nearly always it is known.
        if not (self._enabled.get(mode) or self._wanted(mode, context)):
            return
        attributes = self._attributes(part, run)
        if not self._content:
            attributes[semconv.GRAPH_STREAM_BODY_FORM] = "summary"
            if self._beside:
                context = self._with_content(part, context)
            self._send(part, context, body.summary(mode, part.data, run.names), attributes)
        elif mode == "values":
            self._emit_values(part, context, attributes)
        else:
            writer = Writer(self._options.redaction)
            text = writer.text(part.data, body.PATHS.get(mode, ()))
            self._send(part, context, self._fitted(text, writer, attributes), attributes)

    def end(self, event: RunEnded, dropped: int = 0) -> None:
        """Emit what was waiting for the root run's end, that it ended, and what its receivers had lost."""
        if self._messages is not None:
            self._emit_messages(self._messages.end())
        self._chains.clear()
        context, run = _place(event)
        if self._wanted(_END, context):
            part = StreamPart(
                _END, (), None, time_unix_nano=event.time, step=event.step if event.step >= 0 else None
            )
            attributes = self._attributes(part, run)
            attributes[semconv.GRAPH_RUN_END] = event.end.value
            if dropped:
                attributes[semconv.GRAPH_RUN_DROPPED] = dropped
            self._send(part, context, event.end.value, attributes)

    # -- values -------------------------------------------------------------------------------

    def _emit_values(self, part: StreamPart, context: Context | None, attributes: Attributes) -> None:
        chain = self._chain(part.ns)
        writer = Writer(self._options.redaction)
        frame = chain.next(part.data, writer)
        attributes[semconv.GRAPH_VALUES_ENCODING] = "keyframe" if frame.keyframe else "delta"
        attributes[semconv.GRAPH_VALUES_DIGEST] = frame.digest
        if frame.drift:
            attributes[semconv.GRAPH_VALUES_DRIFT] = frame.drift
        if not frame.keyframe:
            attributes[semconv.GRAPH_VALUES_BASE_SEQ] = chain.seq
        if part.interrupts:
            attributes[semconv.GRAPH_VALUES_INTERRUPTS] = writer.text(
                part.interrupts, ("interrupts",)
            ).decode()
        chain.seq = part.seq
        if len(frame.text) <= self._options.max_body_bytes:
            self._send(part, context, self._fitted(frame.text, writer, attributes), attributes)
        elif len(frame.text) <= self._options.max_body_bytes * MAX_CHUNKS:
            self._send_chunks(part, context, frame, attributes)
        else:
            chain.restart()
            self._send(part, context, self._fitted(frame.text, writer, attributes), attributes)

    def _chain(self, ns: tuple[str, ...]) -> Chain:
        with self._lock:
            found = self._chains.pop(ns, None)  # and put back: the one that was used last goes last
            chain = self._chains[ns] = Chain() if found is None else found
            if len(self._chains) > MAX_CHAINS:
                del self._chains[next(iter(self._chains))]
        return chain

    def _send_chunks(
        self, part: StreamPart, context: Context | None, frame: Frame, shared: Attributes
    ) -> None:
        """Emit a state too long for one log event as several: one that is cut is of no use to the next."""
        chunks = body.chunks(frame.text, self._options.max_body_bytes)
        for index, chunk in enumerate(chunks):
            attributes = {
                **shared,
                semconv.GRAPH_STREAM_BODY_CHUNK: index,
                semconv.GRAPH_STREAM_BODY_CHUNKS: len(chunks),
            }
            if index:
                attributes[semconv.GRAPH_LOG_SEQ] = next(self._number)
            self._send(part, context, chunk, attributes)

    # -- messages -----------------------------------------------------------------------------

    def _emit_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            part = message.part
            context, run = _place(message.event)
            if not self._wanted("messages", context):
                continue
            attributes = self._attributes(part, run)
            if message.parts > 1:
                attributes[semconv.GRAPH_STREAM_AGGREGATE_PARTS] = message.parts
                attributes[semconv.GRAPH_STREAM_AGGREGATE_FIRST_SEQ] = message.first_seq
            identity = message_id(part)
            if identity is not None:
                attributes[semconv.GRAPH_MESSAGE_ID] = shown_id(
                    identity, "message_id", self._options, content=self._content
                )
            if self._content:
                writer = Writer(self._options.redaction)
                text = writer.text(part.data, body.PATHS["messages"])
                self._send(part, context, self._fitted(text, writer, attributes), attributes)
            else:
                attributes[semconv.GRAPH_STREAM_BODY_FORM] = "summary"
                summary = body.sized(part.data[0], message.size)
                self._send(part, self._with_content(part, context), summary, attributes)

    # -- all of them --------------------------------------------------------------------------

    def _attributes(self, part: StreamPart, run: Run) -> Attributes:
        around: OpenRun | None = run.telemetry
        known = None if around is None else around.attributes
        if known is None:
            known = self._about(run)
            if around is not None:
                around.attributes = known
        attributes: Attributes = {
            **known,
            semconv.GRAPH_STREAM_MODE: part.type,
            semconv.GRAPH_LOG_SEQ: next(self._number),
        }
        if part.seq is not None:
            attributes[semconv.GRAPH_STREAM_SEQ] = part.seq
        if part.step is not None:
            attributes[semconv.GRAPH_SUPERSTEP] = part.step
        if part.node is not None:
            attributes[semconv.GEN_AI_NODE_NAME] = part.node
            attributes[semconv.GRAPH_TASK_ID] = part.task_id
            if part.attempt is not None and part.attempt > 1:
                attributes[semconv.GRAPH_TASK_ATTEMPT] = part.attempt
        return attributes

    def _about(self, run: Run) -> Attributes:
        attributes: Attributes = {semconv.GRAPH_RUN_ID: run.root.id, semconv.GRAPH_NAME: run.graph}
        around: OpenRun | None = run.telemetry
        if around is not None and around.conversation_told is not None:
            attributes[semconv.GEN_AI_CONVERSATION_ID] = around.conversation_told
        if run.ns:
            attributes[semconv.GRAPH_NS] = "|".join(run.ns)
        if run.tags and self._content:
            attributes[semconv.GRAPH_RUN_TAGS] = shown_tags(run.tags, self._options.redaction)
        return attributes

    def _fitted(self, text: bytes, writer: Writer, attributes: Attributes) -> str:
        """Return ``text`` as a body, cut if it is too long, and say so."""
        if writer.count:
            attributes[semconv.GRAPH_REDACTION_COUNT] = writer.count
        if len(text) <= self._options.max_body_bytes:
            return text.decode()
        attributes[semconv.GRAPH_STREAM_BODY_FORM] = "cut"
        attributes[semconv.GRAPH_STREAM_BODY_SIZE] = len(text)
        attributes[semconv.GRAPH_STREAM_BODY_SHA256] = body.sha256(text)
        return body.head(text, self._options.max_body_bytes)

    def _with_content(self, part: StreamPart, context: Context | None) -> Context | None:
        """Return a context in which the bridge to span events finds what the log event does not say."""
        if not self._beside or context is None:
            return context
        writer = Writer(self._options.redaction)
        text = self._fitted(writer.text(part.data, body.PATHS.get(part.type, ())), writer, {})
        return set_value(SPAN_BODY, text, context)

    def _send(self, part: StreamPart, context: Context | None, text: str, attributes: Attributes) -> None:
        number, word = _DEBUG if part.type == "debug" else _INFO
        self._emit(
            timestamp=part.time_unix_nano,
            context=context,
            severity_number=number,
            severity_text=word,
            body=text,
            attributes=attributes,
            event_name=_NAMES.get(part.type, semconv.EVENT_CUSTOM_MODE),
        )

    def _wanted(self, mode: str, context: Context | None) -> bool:
        enabled = self._enabled.get(mode)
        if enabled is None:
            number, _ = _DEBUG if mode == "debug" else _INFO
            enabled = self._enabled[mode] = self._logger.enabled(
                context=context,
                severity_number=number,
                event_name=_NAMES.get(mode, semconv.EVENT_CUSTOM_MODE),
            )
        return enabled


def _place(event: Event) -> tuple[Context | None, Run]:
    """Return the context that an event's parts belong in, and the run."""
    task: Task | None = getattr(event, "task", None)
    run: Run = event.run if task is None else task.run  # type: ignore[attr-defined]
    around: OpenRun | None = run.telemetry
    within: OpenTask | OpenRun | None = around if task is None else task.telemetry or around
    return None if within is None else within.place, run
