"""What nodes write to *custom*, heard whether or not the caller asked for that mode."""

from __future__ import annotations

from time import time_ns
from typing import Any

from otel_stream.adapters.langgraph.tap import Tap
from otel_stream.adapters.langgraph.task import CURRENT
from otel_stream.adapters.langgraph.words import CONF, RUNTIME
from otel_stream.events import CustomWritten, Observer


class Writer:
    """A ``StreamWriter`` that tells ``observer`` what goes to ``inner``."""

    __slots__ = ("inner", "observer")

    def __init__(self, inner: Any, observer: Observer) -> None:
        self.inner = inner
        self.observer = observer

    def __call__(self, data: Any) -> None:
        """Write ``data``."""
        task = CURRENT.get()
        if task is not None and self.observer.interest & CustomWritten.bit:
            self.observer.emit(CustomWritten(task, data, time_ns()))
        self.inner(data)


def listen(loop: Any, tap: Tap) -> None:
    """Let the nodes of a loop write through ``Writer``."""
    configurable = loop.config.get(CONF, {})
    runtime = configurable.get(RUNTIME)
    if runtime is not None:
        inner = runtime.stream_writer
        if isinstance(inner, Writer):  # that of the graph around, handed down
            inner = inner.inner
        configurable[RUNTIME] = runtime.override(stream_writer=Writer(inner, tap.observer))
