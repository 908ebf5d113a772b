"""Chunks of LangChain's models, told to a task's own handlers without a detour.

LangChain's way to a handler takes longer than what is done there, in an event loop by far. Where all who are
told of a call are handlers of ours, they are called directly. Importing it loads LangChain.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun

from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: Takes a token and its chunk.
Take: TypeAlias = Callable[[Any, Any], None]


class Taker(Protocol):
    """A handler that wants nothing of a chunk but itself and the id of its call."""

    def takes(self, run_id: uuid.UUID) -> Take | None:
        """Return what takes the chunks of a call; asked once it has begun. None: they are not wanted."""


#: Classes of handlers that are such.
_OWN: Final[set[type]] = set()
#: Where a manager of one call keeps how many handlers it had, and what takes its chunks.
_KEPT: Final = "otel_stream_takes"
_UNKNOWN: Final[tuple[int, Take | None]] = (-1, None)


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
        count, take = manager.otel_stream_takes
        if count != len(manager.handlers):
            take = _take_of(manager)
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
        count, take = manager.otel_stream_takes
        if count != len(manager.handlers):
            take = _take_of(manager)
        if take is None:
            await original(manager, token, chunk=chunk, **more)
            return
        try:
            take(token, chunk)
        except Exception as error:  # noqa: BLE001 - as above
            _complain(error)

    return on_llm_new_token


def _take_of(manager: Any) -> Take | None:
    """Return what takes the chunks of a manager's call, None if there are other handlers than ours."""
    handlers = manager.handlers
    found = None
    if all(type(handler) in _OWN for handler in handlers):
        wanting = (handler.takes(manager.run_id) for handler in handlers)
        takes = tuple(take for take in wanting if take is not None)
        found = takes[0] if len(takes) == 1 else _each(takes) if takes else _ignore
    setattr(manager, _KEPT, (len(handlers), found))
    return found


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
