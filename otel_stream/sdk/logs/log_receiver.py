"""The other direction: graph events that arrive as OpenTelemetry logs, as streams again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from threading import RLock
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_stream import semconv
from otel_stream.config import ConfigError, Custom, OverflowPolicy, StreamConfig
from otel_stream.events import End
from otel_stream.forking import in_child
from otel_stream.sdk.logs.log_decoder import MODES, PartDecoder, mode_of, part_of
from otel_stream.sdk.mishaps import Mishaps
from otel_stream.sdk.versions import ReadWriteLogRecord
from otel_stream.stream.receiver import StreamReceiver


class StreamLogProcessor(LogRecordProcessor):
    """Lets receivers subscribe to graph events that pass through a ``LoggerProvider``.

    A record whose event name is that of a stream mode becomes the part it was made of: mode, namespace,
    data (its body, read as JSON; a body that is a summary or was cut stays what it is) and metadata, as
    far as the record tells. What the export leaves out (content, modes, unsampled runs) is not there to
    be received. States that are exported as what changed are complete again; one who subscribes in the
    middle of a run gets them from the next keyframe on, and ``skipped`` counts the parts before.

    Any other record is offered to ``Custom`` modes: ``fn`` is called with the ``LogRecord`` and returns
    the data of a part, or None. ``OTHER_LOGS`` is such a mode. A ``Custom`` with the name of a mode that
    some program defined gets the parts of that mode, too.

    A receiver gets the parts of all runs until it is closed or the provider is shut down. Nothing here
    blocks, so of the overflow policies ``block`` is not to be had: ``drop_oldest`` takes its place where
    none was chosen.

    Never raises: a record that can't be read is counted in ``failures`` and reported once.
    """

    def __init__(self) -> None:
        self._receivers: tuple[StreamReceiver, ...] = ()
        self._audience = RLock()
        self._closed = False
        self._mishap = Mishaps("Reading a log record as a stream part")
        self._decoder = PartDecoder()
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._audience = RLock()
        self._decoder.reset()

    @property
    def failures(self) -> int:
        """How many records could not be read."""
        return self._mishap.count

    @property
    def skipped(self) -> int:
        """How many parts were left out because the state that they build on was not received."""
        return self._decoder.skipped

    def subscribe(self, config: StreamConfig) -> StreamReceiver:
        """Return a receiver of what comes from now on.

        Runs ask a provider once for each mode whether anybody wants it: subscribe before they start.

        Raises:
            ConfigError: ``overflow`` is ``block``, or the provider is shut down.
        """
        if config.overflow is OverflowPolicy.BLOCK and not config.gives("overflow"):
            config = replace(config, overflow=OverflowPolicy.DROP_OLDEST)
        receiver = StreamReceiver(config, lasting=True)
        self.attach(receiver)
        return receiver

    def attach(self, *receivers: StreamReceiver) -> None:
        """Let ``receivers`` have what comes from now on; clones of a subscribed one come here.

        Raises:
            ConfigError: as for :meth:`subscribe`.
        """
        for receiver in receivers:
            _check(receiver.config)
        with self._audience:
            if self._closed:
                raise ConfigError("StreamLogProcessor: it was shut down; subscribe to one that is in use")
            for receiver in receivers:
                receiver.attached(self)
            self._receivers = (*self._receivers, *receivers)

    def detach(self, receiver: StreamReceiver) -> None:
        """Give ``receiver`` nothing more; called by the receiver when it is closed."""
        with self._audience:
            receiver.detached(self)
            self._receivers = tuple(one for one in self._receivers if one is not receiver)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Offer ``log_record`` to whoever wants it."""
        receivers = self._receivers
        if not receivers:
            return
        record = log_record.log_record
        try:
            mode = mode_of(record)
            if mode is None:
                _offer_other(record, receivers)
            else:
                self._offer(record, mode, receivers)
        except Exception as error:  # noqa: BLE001 - what is raised here would reach the program that logs
            self._mishap(error)

    def _offer(self, record: LogRecord, mode: str, receivers: tuple[StreamReceiver, ...]) -> None:
        in_subgraph = semconv.GRAPH_NS in (record.attributes or ())
        wanting = [
            receiver
            for receiver in receivers
            if mode in _wanted(receiver.config) and (receiver.config.subgraphs or not in_subgraph)
        ]
        if wanting:
            part = self._decoder.part(record, mode)
            for receiver in wanting:
                if part is not None:
                    receiver.offer(part)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Return whether a receiver wants such a record."""
        # Whoever asks without a name, or with that of all custom modes, is told "maybe".
        mode = MODES.get(event_name or "")
        return any(
            any(isinstance(one, Custom) for one in receiver.config.modes)
            if mode is None
            else mode in _wanted(receiver.config)
            for receiver in self._receivers
        )

    def shutdown(self) -> None:
        """End all receivers; what they hold can still be taken."""
        with self._audience:
            self._closed = True
            receivers, self._receivers = self._receivers, ()
        for receiver in receivers:
            receiver.finish(End.DRAINED)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have nothing that waits: receivers are served at once."""
        return True


def _check(config: StreamConfig) -> None:
    if config.overflow is OverflowPolicy.BLOCK:
        raise ConfigError(
            "StreamConfig.overflow: 'block' can't be kept, a log record waits for nobody; "
            "choose drop_oldest, drop_newest, coalesce or error"
        )


def _wanted(config: StreamConfig) -> tuple[str, ...]:
    modes = tuple(one.name if isinstance(one, Custom) else one for one in config.modes)
    return (*modes, "end") if config.include_end else modes


def _offer_other(record: LogRecord, receivers: Iterable[StreamReceiver]) -> None:
    for receiver in receivers:
        for mode in receiver.config.modes:
            if not isinstance(mode, Custom):
                continue
            try:
                data = mode.fn(record)
            except Exception as error:  # noqa: BLE001 - user code; the other receivers are served
                receiver.fail(error)
                continue
            if data is not None:
                receiver.offer(part_of(record, mode.name, data))


def _describe(record: Any) -> dict[str, Any]:
    return {
        "severity": record.severity_text,
        "event_name": record.event_name,
        "body": record.body,
        "attributes": dict(record.attributes or {}),
    }


#: Every log record that is no graph event: its severity, event name, body and attributes.
OTHER_LOGS: Final = Custom(_describe, "logs")
