"""What a receiver makes of a request, and how long one goes on asking."""

from __future__ import annotations

import random
import time
from threading import Event
from typing import Any, Final

import msgspec
from google.protobuf.message import Message  # type: ignore[import-untyped]

from otel_stream.forking import in_child
from otel_stream.sdk.configure.destinations import Destination
from otel_stream.sdk.export.encoding import Encoding

#: Seconds before the second try, unless the receiver says; doubled for each that follows.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
#: Tries of one request.
MOST_TRIES: Final = 8


class Answer(msgspec.Struct, frozen=True):
    """What became of one request.

    ``taken``: as a whole, but for ``rejected`` items. ``too_large``: a shorter one might be taken.
    ``again``: the same request may be taken later, in so many seconds if it is above 0. ``reason`` is what
    the receiver, or the way to it, said.
    """

    taken: bool
    rejected: int = 0
    too_large: bool = False
    again: float | None = None
    reason: str = ""


def read_answer(body: Any, field: str) -> Answer:
    """Return what an OTLP response says: success, but for what it names."""
    partial = body.partial_success
    rejected = max(0, getattr(partial, field))
    return Answer(True, rejected, reason=partial.error_message)


class Sender:
    """Sends requests to one receiver until they are answered for good, each for ``place.timeout`` at most."""

    def __init__(self, place: Destination, encoding: Encoding) -> None:
        self._place = place
        self._encoding = encoding
        self._stopped = Event()
        #: Whether a request has been refused and waits for its next try.
        self.retrying = False
        #: What is open to the receiver, if anything is.
        self._connection: Any = None
        in_child(self._disconnect)

    def _disconnect(self) -> None:
        # What was open at a fork is the parent's.
        self._connection = None

    def send(self, request: Message) -> Answer:
        """Send ``request``, again where the receiver asks for it, and return what became of it."""
        body = self._body(request)
        try:
            return self._persist(body, time.monotonic() + self._place.timeout)
        finally:
            self.retrying = False

    def close(self) -> None:
        """Make no further try, and close what is open."""
        self._stopped.set()
        if self._connection is not None:
            self._connection.close()

    def _body(self, request: Message) -> bytes:
        body: bytes = request.SerializeToString()
        return body

    def _attempt(self, body: bytes, seconds: float) -> Answer:
        """Send ``body`` once, within ``seconds``; never raises."""
        raise NotImplementedError

    def _persist(self, body: bytes, deadline: float) -> Answer:
        pause, answer = FIRST_PAUSE, Answer(False)
        for _ in range(MOST_TRIES):
            answer = self._attempt(body, max(0.001, deadline - time.monotonic()))
            if answer.again is None or self._stopped.is_set():
                return answer
            self.retrying = True
            wait = answer.again or pause * random.uniform(0.8, 1.2)
            if wait > deadline - time.monotonic() or self._stopped.wait(wait):
                return answer
            pause = min(LONGEST_PAUSE, pause * 2)
        return answer
