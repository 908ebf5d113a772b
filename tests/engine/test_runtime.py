"""What user code can ask for inside a node, and what a run's config brings along."""

import operator
from dataclasses import dataclass
from threading import Thread
from typing import Annotated, Any, TypedDict

import anyio
import pytest

from engine import (
    START,
    InMemorySaver,
    InMemoryStore,
    Runtime,
    Send,
    StateGraph,
    StreamWriter,
    emit_message,
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
)
from otel_stream import events as e
from otel_stream.config import StreamConfig
from tests.engine.recorder import WORLDS, record

every_world = pytest.mark.parametrize("world", WORLDS)


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


@dataclass
class Context:
    user: str
    limit: int = 3


def alone(node: Any, *, context_schema: Any = None, **options: Any) -> Any:
    graph = StateGraph(State, context_schema).add_node("a", node).add_edge(START, "a")
    return graph.compile(**{"name": "g", **options})


def written(recorder: Any) -> list[tuple[str, Any]]:
    return [(event.task.node, event.data) for event in recorder.of(e.CustomWritten)]


# -- the stream writer -----------------------------------------------------------------------------


@every_world
def test_a_writer_may_be_injected_or_asked_for(world: str) -> None:
    def node(state: Any, writer: StreamWriter, runtime: Runtime) -> None:
        writer(1)
        get_stream_writer()(2)
        runtime.stream_writer(3)
        get_runtime().stream_writer(4)

    recorder, _ = record(alone(node), {}, world=world)
    assert written(recorder) == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]


def test_a_writer_writes_for_its_own_task_wherever_it_is_called() -> None:
    def node(state: Any) -> None:
        writer = get_stream_writer()
        thread = Thread(target=writer, args=(state["log"][0],))
        thread.start()
        thread.join()

    graph = StateGraph(State).add_node("a", node)
    graph.add_conditional_edges(START, lambda state: [Send("a", {"log": [n]}) for n in range(3)], ["a"])
    recorder, _ = record(graph.compile(), {})
    inputs = [(event.task.input["log"][0], event.data) for event in recorder.of(e.CustomWritten)]
    assert sorted(inputs) == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("method", ["call", "write"])
async def test_a_writer_without_anybody_who_listens_does_nothing(method: str) -> None:
    async def node(state: Any, writer: Any) -> dict[str, Any]:
        if method == "call":
            writer("x")
        else:
            await writer.write("x")
        return {"log": ["done"]}

    assert await alone(node).ainvoke({}) == {"log": ["done"]}


async def test_an_awaited_write_waits_for_the_reader() -> None:
    progress: list[int] = []

    async def node(state: Any, writer: Any) -> None:
        for number in range(6):
            await writer.write(number)
            progress.append(number)

    config = StreamConfig(modes="custom", buffer_size=1)
    got = []
    async with alone(node).open_stream({}, config) as stream:
        async for part in stream:
            got.append(part.data)
            assert len(progress) <= part.data + 2  # its size, and the one being written
    assert got == list(range(6))


@pytest.mark.parametrize(
    "ask", [get_config, get_stream_writer, get_store, get_runtime, lambda: emit_message("x")]
)
def test_outside_of_a_node_there_is_nothing_to_ask(ask: Any) -> None:
    with pytest.raises(RuntimeError, match="only works inside a node"):
        ask()


# -- messages --------------------------------------------------------------------------------------


@every_world
def test_messages_of_any_client_are_told_with_their_metadata(world: str) -> None:
    def node(state: Any) -> None:
        emit_message({"id": "1", "content": "he"})
        emit_message({"id": "1", "content": "llo"}, {"ls_model_name": "toy"})

    recorder, _ = record(alone(node), {}, {"metadata": {"tenant": "acme"}}, world=world)
    told = [
        (x.chunk["content"], x.metadata.get("ls_model_name"), x.metadata["tenant"])
        for x in recorder.of(e.MessageWritten)
    ]
    assert told == [("he", None, "acme"), ("llo", "toy", "acme")]


# -- the runtime -----------------------------------------------------------------------------------


@every_world
def test_a_node_is_told_where_it_runs(world: str) -> None:
    seen: list[Runtime[Any]] = []

    def node(state: Any, runtime: Runtime[Any]) -> None:
        seen.append(runtime)

    config = {"configurable": {"thread_id": "t"}, "run_id": "run-7"}
    recorder, _ = record(alone(node, checkpointer=InMemorySaver()), {}, config, world=world)
    (task,) = (event.task for event in recorder.of(e.TaskStarted))
    info = seen[0].execution_info
    assert info is not None
    assert (info.task_id, info.checkpoint_ns, info.thread_id, info.run_id, info.node_attempt) == (
        task.id,
        f"a:{task.id}",
        "t",
        "run-7",
        1,
    )
    assert info.node_first_attempt_time is not None


@pytest.mark.parametrize("given", [Context("ada", 5), {"user": "ada", "limit": 5}])
async def test_the_context_reaches_nodes_routers_and_subgraphs(given: Any) -> None:
    seen: list[Any] = []

    def node(state: Any, runtime: Runtime[Context]) -> None:
        seen.append(("node", runtime.context))

    def route(state: Any, runtime: Runtime[Context]) -> str:
        seen.append(("route", runtime.context))
        return "sub"

    sub = alone(node, context_schema=Context)
    graph = StateGraph(State, Context).add_node("a", node).add_node("sub", sub).add_edge(START, "a")
    graph.add_conditional_edges("a", route, ["sub"])
    await graph.compile().ainvoke({}, context=given)
    assert seen == [("node", Context("ada", 5)), ("route", Context("ada", 5)), ("node", Context("ada", 5))]


@every_world
def test_a_store_may_be_injected_or_asked_for(world: str) -> None:
    store = InMemoryStore()

    def node(state: Any, store: Any, runtime: Runtime) -> dict[str, Any]:
        store.put(("notes",), "x", {"v": 1})
        found = [s.get(("notes",), "x").value for s in (get_store(), runtime.store)]
        return {"log": found}

    _, loop = record(alone(node, store=store), {}, world=world)
    assert loop.result == {"log": [{"v": 1}, {"v": 1}]}


# -- the config ------------------------------------------------------------------------------------


@every_world
def test_a_node_sees_the_config_of_its_run(world: str) -> None:
    seen: list[Any] = []

    def node(state: Any, config: Any) -> None:
        seen.append(config)
        seen.append(get_config())

    given = {"tags": ["t"], "metadata": {"k": "v"}, "configurable": {"model": "m"}, "recursion_limit": 50}
    record(alone(node), {}, given, world=world)
    for config in seen:
        assert config["tags"] == ["t"]
        assert config["metadata"]["k"] == "v"
        assert config["metadata"]["langgraph_node"] == "a"
        assert config["configurable"]["model"] == "m"
        assert config["recursion_limit"] == 50


def test_tags_metadata_and_name_come_with_the_run() -> None:
    recorder, _ = record(alone(lambda state: None), {}, {"tags": ["t"], "metadata": {"k": "v"}})
    (started,) = recorder.of(e.RunStarted)
    assert (started.run.graph, started.run.tags, dict(started.run.metadata)) == ("g", ("t",), {"k": "v"})


def test_what_a_graph_is_given_once_counts_for_all_of_its_runs() -> None:
    graph = alone(lambda state: None).with_config({"tags": ["always"], "metadata": {"k": 1, "l": 1}})
    recorder, _ = record(graph, {}, {"tags": ["now"], "metadata": {"k": 2}})
    (started,) = recorder.of(e.RunStarted)
    assert (started.run.tags, dict(started.run.metadata)) == (("always", "now"), {"k": 2, "l": 1})


def test_subgraphs_inherit_the_config_of_the_run_around_them() -> None:
    inner = alone(lambda state: None, name="inner")
    recorder, _ = record(alone(inner), {}, {"tags": ["t"], "metadata": {"k": "v"}})
    told = [
        (started.run.graph, started.run.tags, dict(started.run.metadata))
        for started in recorder.of(e.RunStarted)
    ]
    assert told == [("g", ("t",), {"k": "v"}), ("inner", ("t",), {"k": "v"})]


@every_world
def test_context_variables_reach_a_node_and_what_it_sets_stays_there(world: str) -> None:
    from contextvars import ContextVar

    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[str] = []

    def node(state: Any) -> None:
        seen.append(who.get())
        who.set("the node")

    graph = StateGraph(State).add_node("a", node).add_node("b", node).add_edge(START, "a").add_edge("a", "b")
    token = who.set("the caller")
    try:
        record(graph.compile(), {}, world=world)
    finally:
        after = who.get()
        who.reset(token)
    assert (seen, after) == (["the caller", "the caller"], "the caller")


async def test_tasks_side_by_side_are_told_apart() -> None:
    met = anyio.Event()
    inside: list[str] = []

    async def node(state: Any) -> dict[str, Any]:
        inside.append("x")
        if len(inside) == 3:
            met.set()
        await met.wait()
        return {"log": [get_config()["metadata"]["langgraph_path"][1]]}

    graph = StateGraph(State).add_node("a", node)
    graph.add_conditional_edges(START, lambda state: [Send("a", n) for n in range(3)], ["a"])
    assert await graph.compile().ainvoke({}) == {"log": [0, 1, 2]}


def test_what_a_config_holds_for_nodes_alone_stays_out_of_the_metadata() -> None:
    given = {"configurable": {"some_api_key": "secret", "run_id": "r"}}
    recorder, _ = record(alone(lambda state: None), {}, given)
    (started,) = recorder.of(e.RunStarted)
    assert dict(started.run.metadata) == {"run_id": "r"}
