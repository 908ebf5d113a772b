"""A node on a Ray cluster is what it is where its graph runs, and is gone when its worker is."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import pytest
import ray

import engine
from engine import Command, NodeTimeoutError, Remote, RetryPolicy, StateGraph, TimeoutPolicy, WorkerLostError
from engine.api.remote.host import Host, Outcome
from engine.executors.packing import unpacked
from engine.executors.ray import Said, workers_of
from otel_stream import StreamConfig
from tests.scale.ray import nodes

#: The same run each time, since the ids of its tasks follow from its own.
CONFIG = {"configurable": {"user": "Ada"}, "run_id": "5f2b9a3e-0c5b-4d86-9d0c-6d7e4c1f0a11"}
MODES = ("updates", "custom", "messages")
AT_ONCE = RetryPolicy(initial_interval=0.01, jitter=False)


@pytest.fixture
def place(tmp_path) -> str:
    (tmp_path / "count").touch()
    return str(tmp_path / "count")


def counted(place: str) -> int:
    return len(Path(place).read_text().splitlines())


async def until(holds) -> None:
    while not holds():  # noqa: ASYNC110 - it comes about in another process
        await anyio.sleep(0.02)


def told(parts) -> list:
    return [(part.type, part.node, part.attempt, part.data) for part in parts]


async def everything(graph, input) -> list:
    async with graph.open_stream(
        input, StreamConfig(modes=MODES, include_metadata=True), config=CONFIG
    ) as stream:
        return told([part async for part in stream])


@pytest.mark.parametrize("action", [nodes.sync_says, nodes.async_says])
async def test_its_parts_are_those_it_has_here(action) -> None:
    here = await everything(nodes.graph(action, on=None), {"log": [os.getpid()]})
    there = await everything(nodes.graph(action), {"log": [os.getpid()]})
    assert here[-1] == ("updates", "work", 1, {"work": {"log": ["Ada", False]}})
    assert there == [*here[:-1], ("updates", "work", 1, {"work": {"log": ["Ada", True]}})]


def test_its_parts_are_those_it_has_here_on_trio(anyio_backend) -> None:
    graphs = [nodes.graph(nodes.async_says, on=on) for on in (None, nodes.ELSEWHERE)]
    here, there = (anyio.run(everything, graph, {"log": [os.getpid()]}, backend="trio") for graph in graphs)
    assert there[:-1] == here[:-1]


@pytest.mark.parametrize("action", [nodes.sync_says, nodes.async_says])
def test_it_runs_where_there_is_no_event_loop(action) -> None:
    graph = nodes.graph(action)
    parts = graph.stream({"log": [os.getpid()]}, {"configurable": {"user": "Ada"}}, stream_mode=["custom"])
    assert [part[1] for part in parts] == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert graph.invoke({"log": [os.getpid()]})["log"][1:] == [None, True]


async def test_a_block_receiver_that_is_not_read_holds_it(place, anyio_backend_name) -> None:
    graph = nodes.graph(nodes.floods)
    config = StreamConfig(modes="custom", buffer_size=10, overflow="block")
    async with graph.open_stream({"place": place}, config) as stream:
        await until(lambda: counted(place) >= 10)
        before = -1
        while before != counted(place):  # it has come to a stand
            before = counted(place)
            await anyio.sleep(1)
        assert before <= 10 + 2 * 64 + 1
        assert stream.receivers[0].statistics().held <= 10 + 64


async def test_a_cancelled_run_stops_it(place) -> None:
    async with nodes.graph(nodes.sleeps).open_stream({"place": place}, StreamConfig()):
        await until(lambda: counted(place) == 1)
    assert counted(place) == 2


async def test_a_timeout_is_its_own_failure_and_stops_it(place) -> None:
    await nodes.graph(nodes.async_says).ainvoke(
        {"log": [0]}
    )  # a worker that takes its time to start is there
    graph = nodes.graph(nodes.sleeps, timeout=TimeoutPolicy(run_timeout=3))
    with pytest.raises(NodeTimeoutError, match="node 'work' was longer than 3"):
        await graph.ainvoke({"place": place})
    assert counted(place) == 2


async def test_a_heartbeat_there_keeps_an_idle_timeout_from_ending_it() -> None:
    graph = nodes.graph(nodes.beats, timeout=TimeoutPolicy(idle_timeout=3))
    assert (await graph.ainvoke({"log": []}))["log"] == ["alive"]


async def test_a_dead_worker_is_a_failure_and_the_node_is_not_run_twice(place) -> None:
    graph = nodes.graph(nodes.dies, on=Remote(num_cpus=0, concurrency=2), retry_policy=AT_ONCE)
    with pytest.raises(
        WorkerLostError, match=r"node 'work' lost its worker .*; it was running on it"
    ) as lost:
        await graph.ainvoke({"place": place})
    assert (lost.value.node, lost.value.begun, counted(place)) == ("work", True, 1)


async def test_what_had_begun_on_a_dead_worker_ends_here_as_cancelled() -> None:
    from otel_stream.testing import telemetry

    graph = nodes.graph(nodes.waits_inside())

    async def kill_who_speaks() -> None:
        async with graph.open_stream({}, StreamConfig(modes="custom", subgraphs=True)) as stream:
            async for part in stream:
                os.kill(part.data, signal.SIGKILL)

    with telemetry() as seen, pytest.raises(WorkerLostError):
        await kill_who_speaks()
    keys = ("graph.run.end", "graph.superstep.end", "graph.task.end")
    found = {
        (span.name, span.attributes[key]) for span in seen.spans for key in keys if key in span.attributes
    }
    assert found == {
        ("invoke_workflow elsewhere", "error"),
        ("superstep", "error"),
        ("invoke_node work", "error"),
        ("invoke_workflow inner", "cancelled"),
        ("superstep", "cancelled"),
        ("invoke_node waits", "cancelled"),
    }


async def test_attempts_that_are_over_at_once_there_have_their_spans_here() -> None:
    from otel_stream.testing import telemetry

    with telemetry() as seen:
        await nodes.graph(nodes.fails_once_inside()).ainvoke({})
    attempts = [span for span in seen.spans if span.name == "attempt"]
    (node,) = [span for span in seen.spans if span.name == "invoke_node fails_once"]
    assert [
        (span.attributes["graph.task.attempt"], span.status.status_code.name, span.parent.span_id)
        for span in sorted(attempts, key=lambda span: span.start_time)
    ] == [(1, "ERROR", node.context.span_id), (2, "UNSET", node.context.span_id)]


async def test_an_idempotent_node_is_retried_on_another_worker(place) -> None:
    on = Remote(num_cpus=0, concurrency=2, idempotent=True)
    graph = nodes.graph(nodes.dies, on=on, retry_policy=AT_ONCE)
    assert (await graph.ainvoke({"place": place}))["log"] == ["lived"]
    assert counted(place) == 2


async def test_what_it_asks_is_answered_and_it_begins_anew() -> None:
    graph = nodes.graph(nodes.asks, checkpointer=engine.InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    assert (await graph.ainvoke({"log": []}, config))["__interrupt__"][0].value == "first?"
    assert (await graph.ainvoke(Command(resume="a"), config))["__interrupt__"][0].value == "second?"
    assert (await graph.ainvoke(Command(resume="b"), config))["log"] == ["a", "b"]


async def test_a_subgraph_there_keeps_its_checkpoints_here() -> None:
    graph = nodes.graph(nodes.inner(), checkpointer=engine.InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    modes = ["custom", "updates"]
    parts = [part async for part in graph.astream({}, config, stream_mode=modes, subgraphs=True)]
    assert [(len(ns), mode) for ns, mode, _ in parts] == [
        (1, "custom"),
        (1, "updates"),
        (1, "updates"),
        (0, "updates"),
    ]
    inside = (await graph.aget_state(config, subgraphs=True)).tasks[0].state
    assert (inside.values, inside.next) == ({"log": ["begun"]}, ("asks",))
    await graph.ainvoke(Command(resume="a"), config)
    assert (await graph.ainvoke(Command(resume="b"), config))["log"] == ["begun", "a", "b"]


async def test_the_store_of_the_graph_is_its_own() -> None:
    store = engine.InMemoryStore()
    graph = nodes.graph(nodes.remembers, store=store)
    assert (await graph.ainvoke({"log": []}))["log"] == ["kept"]
    assert store.get(("notes",), "a").value == {"text": "kept"}


async def test_what_it_raises_is_raised_here_and_says_where() -> None:
    with pytest.raises(ValueError, match="no") as raised:
        await nodes.graph(nodes.fails).ainvoke({"log": ["x"]})
    assert raised.value.args == ("no", ["x"])
    assert "in fails" in raised.value.__notes__[0]


async def test_a_large_value_goes_by_reference() -> None:
    graph = nodes.graph(nodes.measures)
    assert (await graph.ainvoke({"log": [], "blob": b"x" * 3_000_000}))["log"] == [3_000_000]


async def test_what_is_no_type_of_pythons_own_goes_and_comes_as_well() -> None:
    reference = ray.put("there")
    answer = await nodes.graph(nodes.hands_back).ainvoke({"log": [nodes.Parcel(1, reference)]})
    assert [type(one) for one in answer["log"]] == [nodes.Parcel, nodes.Parcel]
    assert await answer["log"][1].reference == "there"


async def test_code_that_can_not_be_sent_is_named() -> None:
    import threading

    lock = threading.Lock()

    def locked(state):
        with lock:
            return {}

    with pytest.raises(TypeError, match="node 'work' runs elsewhere, and its code can't be pickled"):
        await nodes.graph(locked).ainvoke({"log": []})


def exports_to(path: str):
    """What a worker calls first: it exports its spans to a file."""

    def configure() -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

        provider = TracerProvider(resource=Resource({"service.name": "embedder"}))
        file = Path(path).open("a", buffering=1)  # noqa: SIM115 - as long as the process
        exporter = ConsoleSpanExporter(out=file, formatter=lambda span: span.to_json(indent=None) + "\n")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)

    return configure


async def test_its_span_is_made_there_in_the_trace_of_the_run(tmp_path) -> None:
    from otel_stream.testing import telemetry

    path = tmp_path / "spans"
    graph = nodes.graph(nodes.async_says, on=Remote(num_cpus=0, setup=exports_to(str(path))))
    with telemetry() as seen:
        await graph.ainvoke({"log": [0]})
    node = next(span for span in seen.spans if span.name == "invoke_node work")
    there = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(span["name"], span["resource"]["attributes"]["service.name"]) for span in there] == [
        ("attempt", "embedder")
    ]
    assert there[0]["parent_id"] == f"0x{node.context.span_id:016x}"
    assert there[0]["context"]["trace_id"] == f"0x{node.context.trace_id:032x}"


def test_a_number_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Remote.concurrency must be a whole number, 1 or more, not 0"):
        Remote(concurrency=0)


def test_a_graph_is_drawn_as_if_all_of_it_were_here() -> None:
    graph = StateGraph(nodes.State).add_node("work", nodes.inner(), on=Remote()).add_edge("__start__", "work")
    assert "asks" in graph.compile().get_graph(xray=True).draw_mermaid()


def test_the_page_says_what_happens(capsys) -> None:
    page = (Path(__file__).parents[3] / "docs" / "ray.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    exec(compile(program, "docs/ray.md", "exec", dont_inherit=True), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines() == [
        "values {'texts': ['a', 'bcd'], 'lengths': []}",
        "custom {'done': 1}",
        "custom {'done': 2}",
        "values {'texts': ['a', 'bcd'], 'lengths': [1, 3]}",
    ]


async def test_what_is_stopped_before_it_has_begun_never_begins() -> None:
    host = Host()
    await host.stop(7)  # calls of an actor may overtake each other
    host._nodes["key"] = lambda: pytest.fail("it ran")
    said = Said(*unpacked(await host.begin((7, 0, "key", None, {}))))
    assert Outcome(*said.end).end == "cancelled"
    assert not host._tasks


async def test_code_that_a_worker_has_forgotten_is_sent_again() -> None:
    graph = nodes.graph(lambda state: {"log": ["again"]})
    assert (await graph.ainvoke({"log": []}))["log"] == ["again"]
    graph.builder.nodes["work"].callback.afunc.__self__._code.key = "not known there"
    for worker in workers_of(nodes.ELSEWHERE, lambda: Host)._all:
        worker.known.add("not known there")
    assert (await graph.ainvoke({"log": []}))["log"] == ["again"]
