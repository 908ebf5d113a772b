"""Chunks of LangChain's models, told to a task's own handlers without a detour.

LangChain's way to a handler takes longer than what is done there, in an event loop by far. Where all who are
told of a call are handlers of ours, they are called directly. Importing it loads LangChain.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun

from otel_stream.stream.guard import say
from otel_stream.trouble import placed

logger = logging.getLogger(__name__)

#: Classes of handlers that want nothing of a chunk but itself and the id of its call.
_OWN: Final[set[type]] = set()


def tell_at_once(kind: type) -> None:
    """Let handlers of ``kind`` be called directly. Idempotent."""
    if not _OWN:
        for manager, wrap in ((CallbackManagerForLLMRun, _now), (AsyncCallbackManagerForLLMRun, _later)):
            _wrap(manager, wrap)
    _OWN.add(kind)


def _wrap(manager: Any, wrap: Callable[[Any], Any]) -> None:
    manager.on_llm_new_token = wrap(manager.on_llm_new_token)


def _now(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def on_llm_new_token(manager: Any, token: Any, *, chunk: Any = None, **more: Any) -> None:
        if not _tell(manager, token, chunk):
            original(manager, token, chunk=chunk, **more)

    return on_llm_new_token


def _later(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(original)
    async def on_llm_new_token(manager: Any, token: Any, *, chunk: Any = None, **more: Any) -> None:
        if not _tell(manager, token, chunk):
            await original(manager, token, chunk=chunk, **more)

    return on_llm_new_token


def _tell(manager: Any, token: Any, chunk: Any) -> bool:
    """Tell handlers of a chunk, unless there are others than ours; return whether that was done."""
    for handler in manager.handlers:
        if type(handler) not in _OWN:
            return False
    for handler in manager.handlers:
        try:
            handler.on_llm_new_token(token, chunk=chunk, run_id=manager.run_id)
        except Exception as error:  # noqa: BLE001 - as LangChain does it: a handler breaks no call
            say(logger, logging.WARNING, "a chunk of a model is not shown: %s", placed(error))
    return True
