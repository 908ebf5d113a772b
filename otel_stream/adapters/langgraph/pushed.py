"""Messages that nodes show by ``push_message``: LangGraph looks for its handlers where ours are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from langgraph.config import get_config
from langgraph.graph import message as module

from otel_stream.adapters.langgraph.guard import guarded
from otel_stream.adapters.langgraph.messages import Ears
from otel_stream.adapters.langgraph.task import running_here


def hearing(convert: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``convert``, by which ``push_message`` makes messages, with what is made there told.

    Not ``push_message`` itself, which programs have imported by its name.
    """
    push = getattr(getattr(module, "push_message", None), "__code__", None)

    def convert_and_tell(*args: Any, **options: Any) -> Any:
        made = convert(*args, **options)
        if push is not None and sys._getframe(1).f_code is push:  # noqa: SLF001 - who asks
            guarded(_tell, made[0])
        return made

    return convert_and_tell


def _tell(message: Any) -> None:
    task = running_here()
    ears = None if task is None else task.tap.ears
    if isinstance(ears, Ears) and message.id is not None:  # else LangGraph raises
        ears.pushed(message, get_config().get("metadata") or {})
