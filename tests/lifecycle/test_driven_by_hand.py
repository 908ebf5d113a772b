"""Streams that are driven step by step, by an event loop that does not run in between, and then lost."""

import asyncio
import gc
import logging
import operator
import threading
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest

from engine import START, StateGraph, StreamWriter
from engine.api import pull
from engine.executors import background
from otel_stream import semconv
from otel_stream.testing import telemetry

TIMES = 3


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Ward:
    """Nodes that clean up, with and without awaiting anything."""

    def __init__(self, names: str) -> None:
        self.begun: list[str] = []
        self.cleaned: list[str] = []
        graph = StateGraph(State).add_node("before", self._before).add_edge(START, "before")
        for name in names:
            graph.add_node(name, self._node(name)).add_edge("before", name)
        self.graph = graph.compile(name="job")

    async def _before(self, state: State) -> State:
        return {"log": ["before"]}

    def _node(self, name: str) -> Any:
        async def node(state: State, writer: StreamWriter) -> None:
            writer(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.begun.append(name)
                await asyncio.sleep(0)
                self.cleaned.append(name)

        return node


def everything_is_over(told: Any, times: int = TIMES) -> None:
    gc.collect()
    assert (set(), set()) == (background._RUNNING, pull._GUARDIANS)
    names = [span.name for span in told.spans]
    records = [one.log_record for one in told.logs]
    ends = [
        (one.attributes or {})[semconv.GRAPH_RUN_END]
        for one in records
        if one.event_name == semconv.EVENT_RUN_END
    ]
    assert (names.count("invoke_workflow job"), ends) == (times, ["abandoned"] * times)


@pytest.mark.parametrize("names", ["a", "ab"])
@pytest.mark.clause("S-END-5", "S-END-7", "S-END-12")
def test_in_a_node_its_nodes_are_cancelled_and_all_spans_end(
    names: str, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    ward = Ward(names)
    with telemetry() as told:
        for _ in range(TIMES):
            stream = ward.graph.astream({}, stream_mode="custom")
            assert loop.run_until_complete(anext(stream)) == "a"
            del stream
        assert asyncio.all_tasks(loop) == set()
        everything_is_over(told)
    assert sorted(ward.cleaned) == sorted(names * TIMES)
    assert caplog.records == []


@pytest.mark.clause("S-END-5", "S-END-7", "S-END-12")
def test_between_two_nodes_it_ends_too(loop: asyncio.AbstractEventLoop) -> None:
    with telemetry() as told:
        for _ in range(TIMES):
            stream = Ward("a").graph.astream({}, stream_mode="updates")
            assert loop.run_until_complete(anext(stream)) == {"before": {"log": ["before"]}}
            del stream
        assert asyncio.all_tasks(loop) == set()
        everything_is_over(told)


@pytest.mark.clause("S-END-5")
def test_left_as_the_program_ends_it_is_abandoned_though_the_loop_cancels_everything() -> None:
    async def main() -> None:
        async for _ in Ward("a").graph.astream({}, stream_mode="custom"):
            break

    with telemetry() as told:
        for _ in range(TIMES):
            asyncio.run(main())
        everything_is_over(told)


@pytest.mark.parametrize("names", ["a", "ab"])
@pytest.mark.clause("S-END-5", "S-END-7", "S-END-12")
def test_on_a_loop_that_is_closed_it_ends_without_it(names: str, caplog: pytest.LogCaptureFixture) -> None:
    ward = Ward(names)
    with telemetry() as told, caplog.at_level(logging.DEBUG, "asyncio"):
        for _ in range(TIMES):
            loop = asyncio.new_event_loop()
            stream = ward.graph.astream({}, stream_mode="custom")
            loop.run_until_complete(anext(stream))
            loop.close()
            del stream, loop
        everything_is_over(told)
    assert sorted(ward.begun) == sorted(names * TIMES)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.clause("S-END-12")
def test_one_that_is_kept_while_its_loop_is_closed_ends_when_another_loop_is_used() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    kept, other = Ward("a"), Ward("b")
    stream = kept.graph.astream({}, stream_mode="custom")
    first.run_until_complete(anext(stream))
    first.close()
    again = other.graph.astream({}, stream_mode="custom")
    second.run_until_complete(anext(again))
    assert kept.begun == ["a"]
    del stream
    second.run_until_complete(again.aclose())
    second.close()
    assert other.cleaned == ["b"]
    assert (set(), set()) == (background._RUNNING, pull._GUARDIANS)


@pytest.mark.clause("S-END-12")
def test_one_that_is_lost_in_another_thread_ends_when_its_loop_runs_again(
    loop: asyncio.AbstractEventLoop,
) -> None:
    ward = Ward("ab")
    with telemetry() as told:
        streams = [ward.graph.astream({}, stream_mode="custom")]
        loop.run_until_complete(anext(streams[0]))
        thread = threading.Thread(target=streams.clear)
        thread.start()
        thread.join()
        pending = asyncio.all_tasks(loop)
        assert pending
        loop.run_until_complete(asyncio.wait(pending))
        everything_is_over(told, 1)
    assert sorted(ward.cleaned) == ["a", "b"]


def test_one_that_was_read_to_its_end_leaves_nothing(loop: asyncio.AbstractEventLoop) -> None:
    with telemetry() as told:
        stream = Ward("").graph.astream({}, stream_mode="updates")
        loop.run_until_complete(anext(stream))
        with pytest.raises(StopAsyncIteration):
            loop.run_until_complete(anext(stream))
        assert [span.name for span in told.spans].count("invoke_workflow job") == 1
    assert (background._RUNNING, pull._GUARDIANS, asyncio.all_tasks(loop)) == (set(), set(), set())


@pytest.mark.clause("S-END-12")
def test_one_that_the_loop_holds_last_ends_as_that_runs_on(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unheard.append)
    ward = Ward("ab")
    with telemetry() as told:
        for _ in range(TIMES):
            streams = [ward.graph.astream({}, stream_mode="custom")]
            assert loop.run_until_complete(anext(streams[0])) == "a"
            loop.call_soon(streams.clear)
            while pending := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.wait(pending))
        everything_is_over(told)
    assert (sorted(ward.cleaned), unheard) == (sorted("ab" * TIMES), [])
