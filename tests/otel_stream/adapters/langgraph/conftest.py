"""LangGraph instrumented for the time of a test, and somebody who takes down every event."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_stream import Custom, OverflowPolicy, StreamConfig
from otel_stream.adapters.langgraph import LangGraphInstrumentor, subscribe
from otel_stream.events import Event
from tests.engine.recorder import Recorder


@pytest.fixture
def instrumented() -> Iterator[None]:
    LangGraphInstrumentor().instrument()
    yield
    LangGraphInstrumentor().uninstrument()


@pytest.fixture
def told(instrumented: None) -> Iterator[Recorder]:
    """Every event of every run, in its order."""
    recorder = Recorder()

    def take_down(event: Event) -> None:
        recorder.emit(event)

    mode = Custom(take_down, "taken down")
    config = StreamConfig(modes=(mode,), overflow=OverflowPolicy.DROP_OLDEST, subgraphs=True)
    with subscribe(config):
        yield recorder
