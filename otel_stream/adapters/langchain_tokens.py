"""Chunks of LangChain's models, told to a task's own handlers without a detour.

LangChain's way to a handler takes longer than what is done there, in an event loop by far. Where all who are
told of a call are handlers of ours, they are called directly. Importing it loads LangChain.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from time import time_ns
from typing import Any, Final, Protocol, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun

from otel_stream.calls import MANY_CHUNKS, Call
from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: Takes a token and its chunk.
Take: TypeAlias = Callable[[Any, Any], None]


class Taker(Protocol):
    """A handler that wants nothing of a chunk but itself and the id of its call."""

    def takes(self, run_id: uuid.UUID) -> Take | Call | None:
        """Return what takes the chunks of a call, asked once it has begun.

        A call that is only to know when they came: where nobody else is told, that is noted in place. None:
        they are not wanted.
        """


#: Classes of handlers that are such.
_OWN: Final[set[type]] = set()
#: Where a manager of one call keeps how many handlers it had, the call that only notes, what takes chunks.
_KEPT: Final = "otel_stream_takes"
_UNKNOWN: Final[tuple[int, Call | None, Take | None]] = (-1, None, None)


def tell_at_once(kind: type[Taker]) -> None:
    """Let handlers of ``kind`` be called directly. Idempotent."""
    if not _OWN:
        for manager, wrap in ((CallbackManagerForLLMRun, _now), (AsyncCallbackManagerForLLMRun, _later)):
            _wrap(manager, wrap)
    _OWN.add(kind)


def _wrap(manager: Any, wrap: Callable[[Any], Any]) -> None:
    setattr(manager, _KEPT, _UNKNOWN)
    manager.on_llm_new_token = wrap(manager.on_llm_new_token)


def _now(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def on_llm_new_token(manager: Any, token: Any, *, chunk: Any = None, **more: Any) -> None:
        count, call, take = manager.otel_stream_takes
        if count != len(manager.handlers):
            call, take = _takes_of(manager)
        if call is not None and token:
            times = call.times
            times.append(time_ns())
            if len(times) > MANY_CHUNKS:
                call.hand_on()
            return
        if take is None:
            original(manager, token, chunk=chunk, **more)
            return
        try:
            take(token, chunk)
        except Exception as error:  # noqa: BLE001 - as LangChain does it: a handler breaks no call
            _complain(error)

    return on_llm_new_token


def _later(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def on_llm_new_token(manager: Any, token: Any, *, chunk: Any = None, **more: Any) -> None:
        count, call, take = manager.otel_stream_takes
        if count != len(manager.handlers):
            call, take = _takes_of(manager)
        if call is not None and token:
            times = call.times
            times.append(time_ns())
            if len(times) > MANY_CHUNKS:
                call.hand_on()
            return
        if take is None:
            await original(manager, token, chunk=chunk, **more)
            return
        try:
            take(token, chunk)
        except Exception as error:  # noqa: BLE001 - as above
            _complain(error)

    return on_llm_new_token


def _takes_of(manager: Any) -> tuple[Call | None, Take | None]:
    """Return the call that notes chunks, if that is all, and what takes them; None: others are told, too."""
    handlers = manager.handlers
    call, take = None, None
    if all(type(handler) in _OWN for handler in handlers):
        wanting = (handler.takes(manager.run_id) for handler in handlers)
        found = [one for one in wanting if one is not None]
        call = found[0] if len(found) == 1 and isinstance(found[0], Call) else None
        takes = [_noting(one) if isinstance(one, Call) else one for one in found]
        take = takes[0] if len(takes) == 1 else _each(takes) if takes else _ignore
    setattr(manager, _KEPT, (len(handlers), call, take))
    return call, take


def _noting(call: Call) -> Take:
    came = call.noting()

    def take(token: Any, chunk: Any) -> None:
        if token or goes_on(chunk):
            came()

    return take


def goes_on(chunk: Any) -> bool:
    """Tell whether a chunk without text is one of the answer: the last one only says that it is over."""
    message = getattr(chunk, "message", None)
    return message is None or getattr(message, "chunk_position", None) != "last"


def _ignore(token: Any, chunk: Any) -> None:
    """Take nothing; of a module, so that a manager without handlers can be pickled."""


def _each(takes: Sequence[Take]) -> Take:
    def take_each(token: Any, chunk: Any) -> None:
        for take in takes:
            try:
                take(token, chunk)
            except Exception as error:  # noqa: BLE001 - of one the others must know nothing
                _complain(error)

    return take_each


def _complain(error: Exception) -> None:
    say(logger, logging.WARNING, "a chunk of a model is not shown: %s", placed(error))
