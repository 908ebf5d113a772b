"""Runs and streams do not add up, whichever way they end.

ABANDONED=10000 in the environment makes it ten thousand abandoned streams, RUNS=20000 as many runs a kind.
"""

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine import ExecutionEngine, StreamWriter
from otel_stream.config import StreamConfig
from tests.engine.samples import compiled, side_by_side, sub
from tests.lifecycle.scene import living

ROOT = Path(__file__).parents[2]
#: How many come first, and how many are looked at; of few it is only what is lost in a big way that shows.
FIRST, RUNS = (1000, int(os.environ["RUNS"])) if "RUNS" in os.environ else (500, 500)
COUNT = int(os.environ.get("ABANDONED", "500"))
CONFIG = StreamConfig(modes=["custom", "updates"], subgraphs=True)
#: Of runs, and of LangGraph's that are observed.
KINDS = [
    *("short", "failing", "abandoned", "unread", "lasting", "subgraphs"),
    *(
        "langgraph",
        "langgraph-failing",
        "langgraph-abandoned",
        "langgraph-subgraphs",
        "langgraph-interrupted",
    ),
]


async def talks_for_ever(state: Any, writer: StreamWriter) -> None:
    writer("x" * 100)
    await anyio.sleep_forever()


async def by_leaving(graph: Any) -> None:
    async with graph.open_stream({"log": []}, CONFIG) as stream:
        await anext(stream.receivers[0])


async def by_losing_astream(graph: Any) -> None:
    parts = graph.astream({"log": []}, stream_mode="custom", subgraphs=True)
    await anext(parts)


async def by_losing_the_run(graph: Any) -> None:
    """The run has nothing to wait for, and ends by itself."""

    async def talks(state: Any, writer: StreamWriter) -> None:
        writer("x" * 100)

    chatty = compiled(a=talks)
    await ExecutionEngine().execute_with_stream(chatty, {"log": []}, CONFIG)


async def many(way: Any, graph: Any, count: int, backend: str, tasks: int) -> int:
    """Abandon so many streams; return how many objects there are when all is over."""
    for _ in range(count):
        await way(graph)
    while living(backend) != tasks:
        gc.collect()
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.clause("S-END-7")
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@pytest.mark.parametrize("way", [by_leaving, by_losing_astream, by_losing_the_run])
async def test_abandoned_streams_leave_memory_flat(way: Any, anyio_backend_name: str) -> None:
    graph = side_by_side(a=talks_for_ever, b=sub(i=talks_for_ever))
    tasks = living(anyio_backend_name)
    before = await many(way, graph, 20, anyio_backend_name, tasks)
    after = await many(way, graph, COUNT, anyio_backend_name, tasks)
    assert after - before < COUNT  # not even one object for each


@pytest.mark.clause("S-END-7")
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells memory as Linux does")
@pytest.mark.parametrize("kind", KINDS)
def test_after_the_first_runs_memory_stays_flat(kind: str) -> None:
    """With telemetry, and a consumer that keeps the last part at hand while an error passes by."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.lifecycle.soak", kind, str(FIRST), str(RUNS)],
        cwd=ROOT,
        env={**os.environ, "OTEL_METRICS_EXPORTER": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 5 * 1024
