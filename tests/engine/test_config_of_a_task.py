"""A config that comes from a task names it, however a graph or a model is called with it, and wherever."""

import asyncio
import copy
import operator
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from engine import (
    START,
    Command,
    InMemorySaver,
    InMemoryStore,
    MessagesState,
    Runtime,
    StateGraph,
    get_config,
    get_stream_writer,
    interrupt,
)
from otel_stream.config import StreamConfig

THREAD: Any = {"configurable": {"thread_id": "1"}}


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def ask(state: Log, runtime: Runtime[Any]) -> Log:
    return {"log": [interrupt("may I?"), runtime.context, type(runtime.store).__name__]}


def asking(**options: Any) -> Any:
    return StateGraph(Log).add_node("ask", ask).add_edge(START, "ask").compile(**options)


def around(node: Callable[..., Any]) -> Any:
    graph = StateGraph(Log).add_node("n", node).add_edge(START, "n")
    return graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())


# -- ways to say where ---------------------------------------------------------------------------------

CONFIGS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda config: None,
    "as it is": lambda config: config,
    "asked for": lambda config: get_config(),
    "added to": lambda config: {**config, "tags": ["mine"], "recursion_limit": 5},
    "settings added": lambda config: {**config, "configurable": {**config["configurable"], "model": "x"}},
    "copied": copy.deepcopy,
    "the thread by name": lambda config: {"configurable": {"thread_id": config["configurable"]["thread_id"]}},
    "only settings": lambda config: {"configurable": {"model": "x"}},
}


def last(parts: Any) -> Any:
    return [*parts][-1]


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda graph, config: graph.invoke({}, config),
    "stream": lambda graph, config: last(graph.stream({}, config, stream_mode="values")),
    "batch": lambda graph, config: graph.batch([{}], config)[0],
    "with_config": lambda graph, config: graph.with_config(config).invoke({}),
    "asyncio.run in a thread": lambda graph, config: in_thread(
        lambda: asyncio.run(graph.ainvoke({}, config)), config
    ),
    "invoke in a thread": lambda graph, config: in_thread(lambda: graph.invoke({}, config), config),
    "a LangChain chain": lambda graph, config: RunnableLambda(graph.invoke).invoke({}, config),
    "a LangChain chain that passes nothing on": lambda graph, config: RunnableLambda(
        lambda _: graph.invoke({})
    ).invoke({}, config),
}


def in_thread(call: Callable[[], Any], config: Any) -> Any:
    if config is None or "checkpoint_ns" not in config["configurable"]:
        pytest.skip("nothing tells a bare thread whose it is")
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


async def last_of(parts: Any) -> Any:
    found = None
    async for part in parts:
        found = part
    return found


async def by_open_stream(graph: Any, config: Any) -> Any:
    async with graph.open_stream({}, StreamConfig(modes=("values",)), config=config) as stream:
        return await stream.wait()


ASYNC_WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "ainvoke": lambda graph, config: graph.ainvoke({}, config),
    "astream": lambda graph, config: last_of(graph.astream({}, config, stream_mode="values")),
    "abatch": lambda graph, config: first_of(graph.abatch([{}], config)),
    "with_config": lambda graph, config: graph.with_config(config).ainvoke({}),
    "open_stream": by_open_stream,
    "another task": lambda graph, config: asyncio.create_task(graph.ainvoke({}, config)),
}


async def in_executor(graph: Any, config: Any) -> Any:
    if config is None or "checkpoint_ns" not in config["configurable"]:
        pytest.skip("nothing tells a bare thread whose it is")
    return await asyncio.get_running_loop().run_in_executor(None, graph.invoke, {}, config)


ASYNC_WAYS["invoke in an executor"] = in_executor


async def first_of(answers: Any) -> Any:
    return (await answers)[0]


def is_asked_once_and_goes_on(graph: Any, run: Callable[..., Any]) -> None:
    asked = run({})
    assert [i.value for i in asked["__interrupt__"]] == ["may I?"]
    assert graph.get_state(THREAD).next == ("n",)
    assert run(Command(resume="yes"))["log"] == ["yes", {"user": "me"}, "InMemoryStore"]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("way", WAYS)
def test_a_subgraph_that_is_given_the_nodes_config_is_the_nodes_subgraph(way: str, config: str) -> None:
    sub = asking()

    def node(state: Log, config: Any, given: Any = CONFIGS[config]) -> Any:
        return WAYS[way](sub, given(config))

    graph = around(node)
    is_asked_once_and_goes_on(graph, lambda x: graph.invoke(x, THREAD, context={"user": "me"}))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_a_subgraph_that_is_given_the_nodes_config_is_the_nodes_subgraph_on_asyncio(
    way: str, config: str
) -> None:
    sub = asking()

    async def node(state: Log, config: Any, given: Any = CONFIGS[config]) -> Any:
        return await ASYNC_WAYS[way](sub, given(config))

    graph = around(node)
    is_asked_once_and_goes_on(graph, lambda x: asyncio.run(graph.ainvoke(x, THREAD, context={"user": "me"})))


def test_a_subgraph_with_memory_keeps_it_when_it_is_given_the_nodes_config() -> None:
    counting = StateGraph(Log).add_node("count", lambda s: {"log": [len(s["log"])]}).add_edge(START, "count")
    sub = counting.compile(checkpointer=True)
    graph = around(lambda s, config: {"log": [sub.invoke({"log": []}, config)["log"]]})
    graph.invoke({}, THREAD)
    assert graph.invoke({}, THREAD)["log"] == [[0], [0, 1]]


def test_a_config_that_names_another_thread_is_a_run_of_its_own() -> None:
    sub = asking(checkpointer=InMemorySaver())

    def node(state: Log, config: Any) -> Log:
        other = {**config, "configurable": {**config["configurable"], "thread_id": "2"}}
        return {"log": [sub.invoke({}, other)["__interrupt__"][0].value]}

    assert around(node).invoke({}, THREAD)["log"] == ["may I?"]
    assert sub.get_state({"configurable": {"thread_id": "2"}}).next == ("ask",)


def test_a_graph_bound_to_a_thread_is_a_subgraph_where_it_is_a_node() -> None:
    sub = asking().with_config({"configurable": {"thread_id": "2"}})
    graph = around(sub)
    is_asked_once_and_goes_on(graph, lambda x: graph.invoke(x, THREAD, context={"user": "me"}))


def test_nothing_of_the_task_is_in_what_is_stored_or_shown() -> None:
    sub = StateGraph(Log).add_node("a", lambda s: {"log": ["a"]}).add_edge(START, "a").compile()
    graph = around(lambda s, config: sub.invoke({}, config))
    graph.invoke({}, THREAD)
    state = graph.get_state(THREAD)
    assert set(state.config["configurable"]) == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    assert not any(str(key).startswith("__") for key in state.metadata or ())


def test_a_config_can_be_pickled_and_names_no_task_then() -> None:
    configs: list[Any] = []
    around(lambda s, config: configs.append(config)).invoke({}, {**THREAD, "tags": ["t"]})
    copied = pickle.loads(pickle.dumps(configs[0]))
    assert copied["tags"] == ["t"]
    assert copied["configurable"]["thread_id"] == "1"
    sub = StateGraph(Log).add_node("a", lambda s: {"log": ["a"]}).add_edge(START, "a").compile()
    assert sub.invoke({}, {**copied, "configurable": {}}) == {"log": ["a"]}


# -- who speaks ----------------------------------------------------------------------------------------


def model(text: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(text)]))


class Worker:
    """A thread that serves whoever asks, and was started in the context of whoever asked first."""

    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.pool is None:
            started = threading.Event()
            self.pool = ThreadPoolExecutor(1)
            self.pool.submit(started.set)
        return self.pool.submit(function, *args).result()


class LoopWorker:
    """An event loop of its own, whose one task runs in the context of whoever asked first."""

    def __init__(self) -> None:
        self.queue: Any = None

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self.queue is None:
            self.queue = asyncio.Queue()
            self.task = asyncio.create_task(self.serve())
        future = asyncio.get_running_loop().create_future()
        await self.queue.put((future, function, args))
        return await future

    async def serve(self) -> None:
        while True:
            future, function, args = await self.queue.get()
            future.set_result(await function(*args))


def say_and_write(text: str, config: Any) -> Any:
    def work(_: Any) -> Any:
        get_stream_writer()(text)
        return model(text).invoke("q")

    return RunnableLambda(work).invoke(None, config)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


async def test_tokens_and_writes_go_to_the_run_whose_config_the_call_was_given() -> None:
    worker = LoopWorker()

    async def work(text: str, config: Any) -> Any:
        async def inside(_: Any) -> Any:
            get_stream_writer()(text)
            return await model(text).ainvoke("q")

        return await RunnableLambda(inside).ainvoke(None, config)

    async def node(state: MessagesState, config: Any) -> Any:
        text = config["configurable"]["user"]
        return {"messages": [await worker.call(work, text, config)]}

    graph = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").compile()

    async def heard(user: str) -> list[Any]:
        config = {"configurable": {"user": user}}
        parts = graph.astream({"messages": []}, config, stream_mode=["messages", "custom"])
        return [data if mode == "custom" else data[0].content async for mode, data in parts]

    assert await heard("one") == ["one", "one"]
    assert await asyncio.gather(heard("two"), heard("three")) == [["two", "two"], ["three", "three"]]
    worker.task.cancel()


def test_a_thread_pool_speaks_for_whoever_it_works_for() -> None:
    worker = Worker()

    def node(state: MessagesState, config: Any) -> Any:
        return {"messages": [worker.call(say_and_write, config["configurable"]["user"], config)]}

    graph = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").compile()
    for user in ("one", "two"):
        config = {"configurable": {"user": user}}
        parts = [*graph.stream({"messages": []}, config, stream_mode=["messages", "custom"])]
        assert [data if mode == "custom" else data[0].content for mode, data in parts] == [user, user]


def test_a_subgraph_called_with_another_runs_config_is_shown_in_that_run() -> None:
    sub = StateGraph(Log).add_node("a", lambda s: get_stream_writer()("hello")).add_edge(START, "a").compile()
    configs: list[Any] = []
    both = threading.Barrier(2, timeout=30)

    def lends(state: Log, config: Any) -> None:
        configs.append(config)
        both.wait()
        both.wait()

    def borrows(state: Log) -> None:
        both.wait()
        sub.invoke({}, configs[0])
        both.wait()

    def heard(node: Callable[..., Any]) -> list[Any]:
        graph = StateGraph(Log).add_node("n", node).add_edge(START, "n").compile()
        return [
            ns[0].split(":")[0] + " " + data
            for ns, data in graph.stream({}, stream_mode="custom", subgraphs=True)
        ]

    with ThreadPoolExecutor(2) as pool:
        lent, borrowed = pool.map(heard, [lends, borrows])
    assert (lent, borrowed) == (["n hello"], [])
