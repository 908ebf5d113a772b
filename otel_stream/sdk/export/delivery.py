"""From a batch to requests that a receiver takes, with each item booked once.

A batch is halved where it can't be sent as one: where an item can't be encoded, where the request is
longer than allowed, and where the receiver says that it is too long. What is left alone at the end is cut
until it fits, or lost by itself, and named.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import Message  # type: ignore[import-untyped]

from otel_stream.sdk.export.answers import Answer
from otel_stream.sdk.export.encoding import LOGS, MAX_LOG_ATTRIBUTES, Encoding
from otel_stream.sdk.export.limits import MAX_REQUEST
from otel_stream.sdk.export.shortening import shorten, shorten_attributes

_logger = logging.getLogger("otel_stream.sdk")

#: Called with how many items a request delivered, how many it lost, and why.
Book = Callable[[int, int, str], None]


class Sender(Protocol):
    """The way to one receiver. ``send`` never raises and may block; ``close`` ends what blocks.

    ``retrying``: a request has been refused and waits for its next try.
    """

    @property
    def retrying(self) -> bool: ...
    def send(self, request: Message) -> Answer: ...
    def close(self) -> None: ...


class Delivery:
    """Brings items of one signal to one receiver. For one thread at a time."""

    def __init__(self, encoding: Encoding, sender: Sender, limit: int | None = MAX_REQUEST) -> None:
        self._encoding = encoding
        self._sender = sender
        self._limit = limit
        #: What is told of every request; an account sets it.
        self.book: Book = _nobody

    def deliver(self, items: Sequence[Any]) -> bool:
        """Deliver ``items``; return whether all of them arrived."""
        if not items:
            return True
        try:
            request = self._encoding.request(items)
        except Exception as error:  # noqa: BLE001 - an encoder may raise anything
            if len(items) > 1:
                return self._halves(items)
            return self._lost(items, f"It can't be encoded: {type(error).__name__}.")
        return self._send(items, request)

    def _send(self, items: Sequence[Any], request: Message) -> bool:
        if self._limit is not None and not self._fits(request, self._limit):
            if len(items) > 1:
                return self._halves(items)
            self._shorten(request, self._limit)
        answer = self._sender.send(request)
        if answer.too_large and len(items) > 1:
            return self._halves(items)
        if answer.too_large:
            answer = self._shortened(request)
        if answer.too_large:
            return self._lost(items, answer.reason)
        return self._booked(items, answer)

    def _fits(self, request: Message, limit: int) -> bool:
        size = request.ByteSize()
        if self._encoding is LOGS and size > MAX_LOG_ATTRIBUTES:
            for record in self._encoding.entries(request):
                shorten_attributes(record, MAX_LOG_ATTRIBUTES)
            size = request.ByteSize()
        return bool(size <= limit)

    def _shorten(self, request: Message, limit: int) -> None:
        """Cut the only item of ``request`` until it, with what is around it, fits into ``limit``."""
        (entry,) = self._encoding.entries(request)
        around = request.ByteSize() - entry.ByteSize()
        shorten(entry, max(0, limit - around - 64))

    def _shortened(self, request: Message) -> Answer:
        """Send the only item of a request that was refused for its length, cut to a part of it."""
        size = request.ByteSize()
        answer = Answer(False, too_large=True)
        for part in (2, 8, 64):
            self._shorten(request, size // part)
            answer = self._sender.send(request)
            if not answer.too_large:
                return answer
        return answer

    def _halves(self, items: Sequence[Any]) -> bool:
        middle = len(items) // 2
        first = self.deliver(items[:middle])
        return self.deliver(items[middle:]) and first

    def _lost(self, items: Sequence[Any], reason: str) -> bool:
        named = self._encoding.named(items[0])
        self.book(0, self._weight(items), f"It was {named}. {reason}")
        return False

    def _booked(self, items: Sequence[Any], answer: Answer) -> bool:
        all_of_them = self._weight(items)
        lost = min(answer.rejected, all_of_them) if answer.taken else all_of_them
        self.book(all_of_them - lost, lost, answer.reason)
        return lost == 0

    def _weight(self, items: Sequence[Any]) -> int:
        weight = self._encoding.weight
        return sum(map(weight, items))

    @property
    def retrying(self) -> bool:
        """Whether a request has been refused and waits for its next try."""
        return self._sender.retrying

    def close(self) -> None:
        """End what blocks, and release what the sender holds."""
        self._sender.close()


def _nobody(exported: int, lost: int, reason: str) -> None:
    """Be told of a request, in place of an account."""
