"""Who watches a run: the receivers that were opened for it, those of every run, and telemetry."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final, NamedTuple

from otel_stream.config import StreamConfig
from otel_stream.stream.receiver import StreamReceiver
from otel_stream.stream.stream import Stream
from otel_stream.telemetry import consumer_for_run

#: What a run is cancelled with when the consumer of its stream leaves.
ABANDONED: Final = "the stream of the run was left"


class Audience(NamedTuple):
    """Who watches one root run."""

    stream: Stream
    #: Whether a receiver wants messages as they are streamed.
    messages: bool


class Claim:
    """An audience that waits for the run it was opened for: the first one that begins in its context."""

    __slots__ = ("audience",)

    def __init__(self, receivers: Iterable[StreamReceiver]) -> None:
        everyone = (*receivers, *_EVERYONE.receivers)
        stream = Stream(everyone, consumer_for_run())
        self.audience: Audience | None = Audience(stream, _want_messages(everyone))


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


def claimed() -> bool:
    """Whether the run that begins here was opened as a stream: then it is one of its own, in a node, too."""
    claim = CLAIM.get()
    return claim is not None and claim.audience is not None


def audience() -> Audience | None:
    """Return who watches a root run that begins here, None if nobody does."""
    claim = CLAIM.get()
    if claim is not None and claim.audience is not None:
        claimed, claim.audience = claim.audience, None
        return claimed
    receivers = tuple(one for one in _EVERYONE.receivers if not one.over)
    telemetry = consumer_for_run()
    if not receivers and telemetry is None:
        return None
    return Audience(Stream(receivers, telemetry), _want_messages(receivers))


def _want_messages(receivers: Iterable[StreamReceiver]) -> bool:
    return any("messages" in one.config.modes for one in receivers)
