"""Sync nodes, which nobody can stop: they are told, waited for, and named if they stay all the same."""

import logging
import threading
import time
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from engine import Runtime, StreamWriter
from engine.executors import cancellation
from engine.run.failures import siblings_of
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


def one_of_many(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Let the event loop have so many threads, and nobody be left behind before the test is over."""
    monkeypatch.setattr(cancellation, "THREAD_GRACE", 60)
    anyio.to_thread.current_default_thread_limiter().total_tokens = threads


@pytest.mark.clause("S-END-4")
async def test_after_a_failure_all_threads_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the third of them, which waits for a thread, would be waited for first."""
    one_of_many(monkeypatch, threads=2)
    began: list[str] = []
    all_in = anyio.Event()

    def busy(name: str) -> Any:
        def node(state: Any, runtime: Runtime) -> None:
            began.append(name)
            if len(began) == 2:
                anyio.from_thread.run_sync(all_in.set)
            while not runtime.cancelled:
                time.sleep(0.001)

        return node

    async def fails(state: Any) -> None:
        await all_in.wait()
        raise ValueError("now")

    graph = side_by_side(a=busy("a"), b=busy("b"), c=busy("c"), d=fails, e=busy("e"))
    with pytest.raises(ValueError, match="now"):
        await graph.ainvoke({"log": []})
    assert set(began) >= {"a", "b", "c"}


@pytest.mark.clause("S-ERR-3")
async def test_two_that_fail_at_once_wait_for_the_same_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    one_of_many(monkeypatch, threads=1)
    busy = anyio.Event()

    def in_the_thread(name: str) -> Any:
        def node(state: Any, runtime: Runtime) -> None:
            anyio.from_thread.run_sync(busy.set)
            while not runtime.cancelled:
                time.sleep(0.001)
            raise ValueError(name)

        return node

    def fails(name: str) -> Any:
        async def node(state: Any) -> None:
            await busy.wait()
            raise ValueError(name)

        return node

    graph = side_by_side(a=in_the_thread("a"), b=in_the_thread("b"), c=fails("c"), d=fails("d"))
    with pytest.raises(ValueError) as caught:
        await graph.ainvoke({"log": []})
    failed = (caught.value, *siblings_of(caught.value))
    assert [one.args[0] for one in failed] == ["a", "b", "c", "d"]


@pytest.mark.clause("S-END-4")
async def test_threads_that_stay_are_waited_for_all_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_many(monkeypatch, threads=2)
    monkeypatch.setattr(cancellation, "THREAD_GRACE", 0.05)
    waited: list[float] = []
    told: list[float] = []
    real = cancellation.InThread.begun

    async def begun(thread: Any) -> None:
        waited.append(time.monotonic())
        told.append(thread._told)
        await real(thread)

    monkeypatch.setattr(cancellation.InThread, "begun", begun)
    released, all_in = threading.Event(), anyio.Event()
    here: list[str] = []

    def stubborn(name: str) -> Any:
        def node(state: Any) -> None:
            here.append(name)
            if len(here) == 2:
                anyio.from_thread.run_sync(all_in.set)
            assert released.wait(20)

        return node

    async def fails(state: Any) -> None:
        await all_in.wait()
        raise ValueError("now")

    graph = side_by_side(**{name: stubborn(name) for name in "abcdefgh"}, z=fails)
    with pytest.raises(ValueError, match="now"):
        await graph.ainvoke({"log": []})
    released.set()
    assert len(told) > 1
    assert max(told) <= waited[0]  # they have one deadline: none is told when another one was waited for
    assert sorted(record.getMessage()[:27] for record in caplog.records) == [
        f"{name!r} still runs in its thread"[:27] for name in sorted(here)
    ]
