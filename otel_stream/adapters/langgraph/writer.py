"""What nodes write to *custom*, heard whether or not the caller asked for that mode."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any, Final

from otel_stream.adapters.langgraph.tap import Tap
from otel_stream.adapters.langgraph.task import running_here
from otel_stream.adapters.langgraph.words import CONF, RUNTIME
from otel_stream.events import CustomWritten, Observer


def telling(inner: Any, observer: Observer) -> Callable[[Any], None]:
    """Return a ``StreamWriter``, a function as LangGraph's is, that tells what goes to ``inner``."""

    def write(data: Any) -> None:
        task = running_here()
        if task is not None and observer.interest & CustomWritten.bit:
            observer.emit(CustomWritten(task, data, time_ns()))
        inner(data)

    setattr(write, _INNER, inner)
    return write


#: Where such a function keeps what it writes to.
_INNER: Final = "otel_stream_inner"


def listen(loop: Any, tap: Tap) -> None:
    """Let the nodes of a loop write through such a function."""
    configurable = loop.config.get(CONF, {})
    runtime = configurable.get(RUNTIME)
    if runtime is not None:
        given = runtime.stream_writer
        inner = getattr(given, _INNER, given)  # that of the graph around is handed down
        configurable[RUNTIME] = runtime.override(stream_writer=telling(inner, tap.observer))
