"""Nothing of a run is kept once it has ended and LangGraph lets it go."""

import asyncio
import gc
from typing import Any

import pytest
from langgraph.pregel._loop import PregelLoop

from otel_stream import OverflowPolicy, StreamConfig
from otel_stream.adapters.langgraph import subscribe, task
from otel_stream.adapters.langgraph.tap import Tap
from otel_stream.config import MODES
from otel_stream.testing import telemetry
from tests.otel_stream.adapters.langgraph.scenarios import run, run_async, scenarios


def kept(*kinds: type) -> int:
    gc.collect()
    return sum(isinstance(one, kinds) for one in gc.get_objects())


@pytest.mark.usefixtures("instrumented")
def test_of_runs_that_have_ended_however_they_did_nothing_is_kept() -> None:
    ours, loops = kept(Tap), kept(PregelLoop)
    every: dict[str, Any] = {"buffer_size": 10, "overflow": OverflowPolicy.DROP_OLDEST, "subgraphs": True}
    with telemetry(), subscribe(StreamConfig(modes=MODES, **every)) as receiver:
        for one in scenarios(is_async=False):
            run(one)
        for one in scenarios(is_async=True):
            asyncio.run(run_async(one))
        while receiver.take_nowait() is not None:
            pass
        del one
    # Of a node that took too long, LangGraph may keep a loop a while longer.
    assert kept(Tap) - ours <= kept(PregelLoop) - loops <= 1
    assert task._RUNNING == {}
