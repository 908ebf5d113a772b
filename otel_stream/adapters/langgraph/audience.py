"""Who watches a run: the receivers that were opened for it, those of every run, and telemetry."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from otel_stream.config import StreamConfig
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream
from otel_stream.telemetry import consumer_for_run


class Claim:
    """A stream that waits for the run it was opened for: the first one that begins in its context."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream: Stream | None = stream


CLAIM: Final[ContextVar[Claim | None]] = ContextVar("otel_stream_langgraph_claim", default=None)


class _Everyone:
    """The receivers of every run of the process."""

    receivers: tuple[StreamReceiver, ...] = ()

    def attach(self, *receivers: StreamReceiver) -> None:
        """Show ``receivers`` every run that begins from now on."""
        for receiver in receivers:
            receiver.attached(self)
            self.receivers = (*self.receivers, receiver)

    def detach(self, receiver: StreamReceiver) -> None:
        """Show ``receiver`` no more runs."""
        receiver.detached(self)
        self.receivers = tuple(one for one in self.receivers if one is not receiver)


_EVERYONE: Final = _Everyone()


def subscribe(config: StreamConfig) -> StreamReceiver:
    """Return a receiver of every run of every LangGraph graph of this process from now on.

    It sees the runs that begin after this, in the modes of ``config`` whatever their callers asked for, until
    it is closed. Needs ``LangGraphInstrumentor().instrument()``.
    """
    receiver = StreamReceiver(config, lasting=True)
    _EVERYONE.attach(receiver)
    return receiver


def audience() -> Stream | None:
    """Return the stream of a root run that begins here, None if nobody wants to know of it."""
    claim = CLAIM.get()
    if claim is not None and claim.stream is not None:
        stream, claim.stream = claim.stream, None
        return stream
    receivers = tuple(one for one in _EVERYONE.receivers if not one.over)
    telemetry = consumer_for_run()
    return Stream(receivers, telemetry) if receivers or telemetry is not None else None
