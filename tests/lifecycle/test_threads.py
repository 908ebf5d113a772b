"""Sync nodes, which nobody can stop: they are told, waited for, and named if they stay all the same."""

import logging
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from engine import Runtime, StreamWriter
from engine.executors import cancellation
from otel_stream.config import StreamConfig
from tests.engine.samples import compiled, side_by_side

UPDATES = StreamConfig(modes="updates")


class Threads:
    """Events between a node in a thread and its test."""

    def __init__(self) -> None:
        self.here, self.go, self.gone = (threading.Event() for _ in range(3))


async def leave(graph: Any, threads: Threads, config: StreamConfig = UPDATES) -> None:
    async with graph.open_stream({"log": []}, config):
        assert await anyio.to_thread.run_sync(threads.here.wait, 20)


@pytest.mark.clause("S-END-4")
async def test_a_node_that_asks_is_told_and_has_gone_when_its_stream_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads = Threads()

    def node(state: Any, runtime: Runtime) -> None:
        assert not runtime.cancelled
        threads.here.set()
        while not runtime.cancelled:
            threads.go.wait(0.001)
        threads.gone.set()

    await leave(compiled(a=node), threads)
    assert threads.gone.is_set()
    assert caplog.records == []


@pytest.mark.clause("S-END-4", "S-END-9")
async def test_a_node_that_stays_is_left_behind_and_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellation, "THREAD_GRACE", 0.01)
    threads = Threads()

    def stubborn(state: Any, writer: StreamWriter) -> None:
        threads.here.set()
        threads.go.wait(20)
        writer("too late")
        threads.gone.set()

    config = StreamConfig(modes="custom")
    async with compiled(a=stubborn).open_stream({"log": []}, config) as stream:
        assert await anyio.to_thread.run_sync(threads.here.wait, 20)
        await stream.aclose()
        threads.go.set()
        assert await anyio.to_thread.run_sync(threads.gone.wait, 20)
        assert stream.receivers[0].statistics().offered == 0
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            (
                "'a' still runs in its thread 0.01 s after its run has ended, and can't be stopped; let it "
                "return when runtime.cancelled is true, or make it async"
            ),
        )
    ]


@pytest.mark.clause("S-END-4")
async def test_a_sync_subgraph_in_a_thread_begins_nothing_more() -> None:
    threads, ran = Threads(), []

    def first(state: Any, runtime: Runtime) -> None:
        threads.here.set()
        while not runtime.cancelled:  # as its subgraph it is told what its run is told
            threads.go.wait(0.001)

    inner = compiled(name="inner", first=first, second=lambda state: ran.append("second"))

    def node(state: Any) -> None:
        try:
            inner.invoke({})
        finally:
            threads.gone.set()

    await leave(compiled(a=node), threads)
    assert threads.gone.is_set()
    assert ran == []


@pytest.mark.clause("S-END-4")
async def test_a_node_that_waits_for_room_is_woken() -> None:
    threads, raised = Threads(), []

    def node(state: Any, writer: Any) -> None:
        writer("one")
        threads.here.set()
        try:
            writer.write_blocking("two")
        except BaseException as error:
            raised.append(type(error).__name__)
            raise
        finally:
            threads.gone.set()

    await leave(compiled(a=node), threads, StreamConfig(modes="custom", buffer_size=1))
    assert threads.gone.is_set()
    assert raised == ["CancelledError"]


async def test_a_failing_sibling_tells_the_threads_beside_it() -> None:
    threads = Threads()

    def stays(state: Any, runtime: Runtime) -> None:
        threads.here.set()
        while not runtime.cancelled:
            threads.go.wait(0.001)
        threads.gone.set()

    async def fails(state: Any) -> None:
        assert await anyio.to_thread.run_sync(threads.here.wait, 20)
        raise ValueError("kaboom")

    with pytest.raises(ValueError, match="kaboom"):
        await side_by_side(a=stays, b=fails).ainvoke({})
    assert threads.gone.is_set()


def test_outside_of_a_run_nothing_is_cancelled() -> None:
    assert not Runtime().cancelled
