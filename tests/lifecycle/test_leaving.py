"""Runs in progress when their process is about to end: their nodes are cancelled, their ends are told."""

import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from engine import START, Runtime, StateGraph
from engine.run import leaving
from otel_stream import semconv
from otel_stream.leaving import ProcessEndsError, leave
from otel_stream.testing import telemetry
from tests.reading import (
    by_ainvoke,
    by_astream,
    by_invoke,
    by_live_stream,
    by_open_stream,
    by_open_stream_in_a_thread,
    by_stream,
    by_the_engines_receiver,
)

PATIENCE = 20.0


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Ward:
    """Nodes that wait to be cancelled and then clean up."""

    def __init__(self, names: str) -> None:
        self.cleaned: list[str] = []
        self.all_in = threading.Event()
        self.inside = 0
        self._names = names

    def graph(self, node: Callable[[str], Any]) -> Any:
        graph = StateGraph(State)
        for name in self._names:
            graph.add_node(name, node(name)).add_edge(START, name)
        return graph.compile(name="job")

    def enter(self) -> None:
        self.inside += 1
        if self.inside == len(self._names):
            self.all_in.set()

    def on_a_loop(self) -> Any:
        def made(name: str) -> Any:
            async def node(state: State) -> None:
                self.enter()
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.lowlevel.checkpoint()
                    self.cleaned.append(name)

            return node

        return self.graph(made)

    def in_threads(self) -> Any:
        def made(name: str) -> Any:
            def node(state: State, runtime: Runtime) -> None:
                self.enter()
                while not runtime.cancelled:
                    threading.Event().wait(0.001)
                self.cleaned.append(name)

            return node

        return self.graph(made)


def ends(told: Any) -> list[str]:
    records = [one.log_record for one in told.logs if one.log_record.event_name == semconv.EVENT_RUN_END]
    return [record.attributes[semconv.GRAPH_RUN_END] for record in records]


@pytest.mark.parametrize("names", ["a", "ab"])
@pytest.mark.parametrize("way", [by_ainvoke, by_astream, by_open_stream, by_the_engines_receiver])
@pytest.mark.clause("S-END-13")
async def test_on_an_event_loop_nodes_are_cancelled_and_whoever_reads_is_told(way: Any, names: str) -> None:
    ward = Ward(names)
    told: list[BaseException] = []

    async def read() -> None:
        try:
            await way(ward.on_a_loop())
        except (Exception, anyio.get_cancelled_exc_class()) as error:
            told.append(error)

    with telemetry() as exported:
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            assert await anyio.to_thread.run_sync(ward.all_in.wait, PATIENCE)
            await anyio.to_thread.run_sync(leave, PATIENCE)
        assert sorted(ward.cleaned) == list(names)
        assert [span.name for span in exported.spans].count("invoke_workflow job") == 1
        assert ends(exported) == ["cancelled"]
    assert set() == leaving.IN_PROGRESS
    cancelled = anyio.get_cancelled_exc_class()
    assert [isinstance(error, (ProcessEndsError, cancelled)) for error in told] == [True]
    assert way is by_ainvoke or isinstance(told[0], ProcessEndsError)


@pytest.mark.parametrize("names", ["a", "ab"])
@pytest.mark.parametrize("way", [by_invoke, by_stream, by_live_stream, by_open_stream_in_a_thread])
@pytest.mark.clause("S-END-13")
def test_without_one_nodes_are_told_and_nothing_more_begins(way: Any, names: str) -> None:
    ward = Ward(names)
    told: list[BaseException] = []

    def read() -> None:
        try:
            way(ward.in_threads().copy())
        except Exception as error:
            told.append(error)

    with telemetry() as exported:
        thread = threading.Thread(target=read)
        thread.start()
        assert ward.all_in.wait(PATIENCE)
        leave(PATIENCE)
        thread.join(PATIENCE)
        assert sorted(ward.cleaned) == list(names)
        assert ends(exported) == ["ok"]  # they have returned, and there was nothing more to do
    assert (leaving.IN_PROGRESS, told) == (set(), [])


@pytest.mark.parametrize("way", [by_invoke, by_stream, by_live_stream, by_open_stream_in_a_thread])
@pytest.mark.clause("S-END-13")
def test_a_run_in_a_thread_that_has_more_to_do_is_cancelled(way: Any) -> None:
    ward, told = Ward("a"), []
    graph = StateGraph(State).add_node("a", ward.in_threads().nodes["a"].callback.func)

    def later(state: State) -> None:
        pytest.fail("it has begun")

    compiled = graph.add_node("later", later).add_edge(START, "a").add_edge("a", "later").compile()

    def read() -> None:
        try:
            way(compiled)
        except BaseException as error:
            told.append(error)

    with telemetry() as exported:
        thread = threading.Thread(target=read)
        thread.start()
        assert ward.all_in.wait(PATIENCE)
        leave(PATIENCE)
        thread.join(PATIENCE)
        assert ends(exported) == ["cancelled"]
    assert [type(error) for error in told] == [ProcessEndsError]
    assert set() == leaving.IN_PROGRESS


async def test_who_leaves_on_the_event_loop_itself_does_not_wait_for_what_it_would_have_to_run() -> None:
    ward = Ward("a")
    async with anyio.create_task_group() as group:
        group.start_soon(_quietly, by_open_stream, ward.on_a_loop())
        assert await anyio.to_thread.run_sync(ward.all_in.wait, PATIENCE)
        leave(PATIENCE)
    assert ward.cleaned == ["a"]


async def _quietly(way: Any, graph: Any) -> None:
    with pytest.raises(ProcessEndsError):
        await way(graph)
