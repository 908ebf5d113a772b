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
from weakref import ref

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


def tell_at_once(kind: type[Taker]) -> None:
    """Let handlers of ``kind`` be called directly. Idempotent."""
    if not _OWN:
        for manager, wrap in ((CallbackManagerForLLMRun, _now), (AsyncCallbackManagerForLLMRun, _later)):
            _wrap(manager, wrap)
    _OWN.add(kind)


def _wrap(manager: Any, wrap: Callable[[Any], Any]) -> None:
    manager.on_llm_new_token = wrap(manager.on_llm_new_token)


# Whoever is told of a call's first chunk is told of the others by a function of that call's own manager: that
# is found sooner, and there is nothing left to look up.


def _now(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def on_llm_new_token(manager: Any, token: Any, *, chunk: Any = None, **more: Any) -> None:
        take = _take_of(manager)
        if take is None:
            original(manager, token, chunk=chunk, **more)
            return
        of_the_call = manager.on_llm_new_token = _of_a_call(manager, take, on_llm_new_token)
        of_the_call(token, chunk=chunk)

    return on_llm_new_token


def _of_a_call(manager: Any, take: Take, afresh: Callable[..., Any]) -> Callable[..., Any]:
    handlers, manager = (
        manager.handlers,
        ref(manager),
    )  # without a circle, which only the collector would find
    count = len(handlers)

    def on_llm_new_token(token: Any, *, chunk: Any = None, **more: Any) -> None:
        if len(handlers) != count:
            afresh(manager(), token, chunk=chunk, **more)
            return
        try:
            take(token, chunk)
        except Exception as error:  # noqa: BLE001 - as LangChain does it: a handler breaks no call
            _complain(error)

    return on_llm_new_token


def _later(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def on_llm_new_token(manager: Any, token: Any, *, chunk: Any = None, **more: Any) -> None:
        take = _take_of(manager)
        if take is None:
            await original(manager, token, chunk=chunk, **more)
            return
        of_the_call = manager.on_llm_new_token = _of_a_call_later(manager, take, on_llm_new_token)
        await of_the_call(token, chunk=chunk)

    return on_llm_new_token


def _of_a_call_later(
    manager: Any, take: Take, afresh: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    handlers, manager = manager.handlers, ref(manager)
    count = len(handlers)

    async def on_llm_new_token(token: Any, *, chunk: Any = None, **more: Any) -> None:
        if len(handlers) != count:
            await afresh(manager(), token, chunk=chunk, **more)
            return
        try:
            take(token, chunk)
        except Exception as error:  # noqa: BLE001 - as above
            _complain(error)

    return on_llm_new_token


def _take_of(manager: Any) -> Take | None:
    """Return what takes the chunks of a manager's call, None if there are other handlers than ours."""
    handlers = manager.handlers
    if not all(type(handler) in _OWN for handler in handlers):
        return None
    wanting = (handler.takes(manager.run_id) for handler in handlers)
    takes = tuple(take for take in wanting if take is not None)
    return takes[0] if len(takes) == 1 else _each(takes)


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
