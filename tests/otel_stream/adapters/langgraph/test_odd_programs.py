"""Programs that do what few do: they go on as they would, and are told of in full."""

import copy
import dataclasses
import inspect
import operator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import push_message
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy, Command, interrupt

from otel_stream import OverflowPolicy, StreamConfig
from otel_stream.adapters import langchain_calls
from otel_stream.adapters.langgraph import open_stream, subscribe
from otel_stream.testing import telemetry
from tests.hashless import Hashless

pytestmark = pytest.mark.usefixtures("instrumented")


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def one(node: Any, **options: Any) -> Any:
    return StateGraph(State).add_node("n", node).add_edge(START, "n").compile(name="g", **options)


def everything(*modes: Any) -> StreamConfig:
    return StreamConfig(modes=modes, buffer_size=10_000, overflow=OverflowPolicy.DROP_OLDEST, subgraphs=True)


# -- ends ---------------------------------------------------------------------------------------------------


class Array:
    """What compares as arrays do: to something that is neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Shy(Exception):
    @property
    def args(self) -> Any:
        raise RuntimeError("not to be looked at")


@pytest.mark.parametrize("error", [ValueError(Array()), Shy()])
def test_a_run_whose_error_does_not_like_to_be_looked_at_has_an_end(error: BaseException) -> None:
    def node(state: State) -> State:
        raise error

    with telemetry() as seen, pytest.raises(type(error)):
        one(node).invoke({"log": []})
    assert sorted(span.name for span in seen.spans) == ["invoke_node n", "invoke_workflow g", "superstep"]


@task(cache_policy=CachePolicy())
def doubled(number: int) -> int:
    return number * 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_functional_task_out_of_the_cache_is_told_as_cached(is_async: bool) -> None:
    @entrypoint(cache=InMemoryCache())
    async def flow_async(number: int) -> int:
        return await doubled(number)

    @entrypoint(cache=InMemoryCache())
    def flow(number: int) -> int:
        return doubled(number).result()

    async def run() -> list[Any]:
        if is_async:
            return [p async for p in flow_async.astream(1, stream_mode=["updates", "tasks"])]
        return list(flow.stream(1, stream_mode=["updates", "tasks"]))

    for cached in (False, True):
        with telemetry() as seen, subscribe(everything("updates", "tasks")) as receiver:
            shown = [part for part in await run() if part[0] == "updates"]
            parts = list(iter(receiver.take_nowait, None))
        assert [(part.type, part.data) for part in parts if part.type == "updates"] == shown
        assert ({"__metadata__": {"cached": True}}.items() <= shown[0][1].items()) is cached
        results = [part.data["result"] for part in parts if part.type == "tasks" and "result" in part.data]
        assert dict(results[0]) == {"__return__": 2}
        (span,) = [one for one in seen.spans if one.name == "invoke_node doubled"]
        attributes = span.attributes or {}
        assert (attributes.get("graph.task.cached", False), attributes.get("graph.task.end")) == (
            cached,
            None,
        )


# -- what is current ----------------------------------------------------------------------------------------


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def current_after(call: Any) -> list[str]:
    """Return what the spans of a node lie below which it opens after a call."""

    def node(state: State, config: RunnableConfig) -> State:
        call(config)
        with seen.tracer_provider.get_tracer("the program's").start_as_current_span("mine"):
            return {"log": [1]}

    with telemetry() as seen:
        one(node).invoke({"log": []})
        names = {span.context.span_id: span.name for span in seen.spans}
        return [names[span.parent.span_id] for span in seen.spans if span.name == "mine" and span.parent]


def test_the_first_tool_of_a_process_leaves_nothing_current(monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = langchain_calls.BaseTool
    for name in ("run", "arun"):  # as LangChain has them, before anybody called anything
        monkeypatch.setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    langchain_calls._let_calls_be_current.cache_clear()
    assert current_after(lambda config: add.invoke({"a": 1, "b": 2})) == ["invoke_node n"]


def test_a_tool_that_is_told_by_hand_leaves_nothing_current() -> None:
    def by_hand(config: RunnableConfig) -> None:
        manager = CallbackManager.configure(inheritable_callbacks=config["callbacks"])
        manager.on_tool_start({"name": "hand"}, "x").on_tool_end("y")

    def within(config: RunnableConfig) -> None:
        @tool
        def outer(a: int) -> int:
            """Tell of another one."""
            by_hand(config)
            return a

        outer.invoke({"a": 1})

    assert current_after(by_hand) == current_after(within) == ["invoke_node n"]


# -- what nodes are given -----------------------------------------------------------------------------------


def test_a_runtime_is_copied_as_ever() -> None:
    def node(state: State, runtime: Runtime[None]) -> State:
        assert inspect.isfunction(runtime.stream_writer)
        dataclasses.asdict(runtime)
        copy.deepcopy(runtime).stream_writer("copied")
        return {"log": [1]}

    with subscribe(everything("custom")) as receiver:
        assert list(one(node).stream({"log": []}, stream_mode="custom")) == ["copied"]
        assert [part.data for part in iter(receiver.take_nowait, None)] == ["copied"]


def test_what_a_thread_writes_that_was_handed_the_config_is_shown() -> None:
    @tool
    def telling(a: int) -> int:
        """Write."""
        get_stream_writer()({"telling": a})
        return a

    def node(state: State, config: RunnableConfig) -> State:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(telling.invoke, {"a": 1}, config).result()
        return {"log": [1]}

    with subscribe(everything("custom")) as receiver:
        assert list(one(node).stream({"log": []}, stream_mode="custom")) == [{"telling": 1}]
        assert [(part.node, part.data) for part in iter(receiver.take_nowait, None)] == [
            ("n", {"telling": 1})
        ]


@pytest.mark.parametrize("key", ["messages", None])
async def test_a_message_that_is_pushed_is_shown(key: str | None) -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        push_message(AIMessage("pushed", id="p"), state_key=key)
        return {}

    graph = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").compile()
    shown = [part async for part in graph.astream({"messages": []}, stream_mode="messages")]
    async with open_stream(graph, {"messages": []}, everything("messages")) as stream:
        got = [part.data async for part in stream]
    assert (
        [message for message, _ in got] == [message for message, _ in shown] == [AIMessage("pushed", id="p")]
    )
    assert got[0][1]["langgraph_node"] == "n"
    with telemetry() as seen:
        graph.invoke({"messages": []})
    assert seen.events.count("graph.messages") == 1


# -- streams within nodes -----------------------------------------------------------------------------------


async def test_a_stream_that_a_node_opens_has_the_parts_of_its_graph() -> None:
    inner, got = one(lambda state: {"log": ["in"]}), list[Any]()

    async def node(state: State) -> State:
        async with open_stream(inner, {"log": []}, everything("updates")) as stream:
            got.extend([part.data async for part in stream])
            return {"log": [*(await stream)["log"]]}

    with telemetry() as seen:
        assert await one(node).ainvoke({"log": []}) == {"log": ["in"]}
    assert got == [{"n": {"log": ["in"]}}]
    assert len({span.context.trace_id for span in seen.spans}) == 1
    assert len(seen.spans) == 6


async def test_a_stream_that_was_not_entered_says_so() -> None:
    stream = open_stream(one(lambda state: {}), {"log": []}, everything("updates"))
    with pytest.raises(RuntimeError, match="async with"):
        async for _ in stream:
            pass
    with pytest.raises(RuntimeError, match="async with"):
        await stream


# -- hostile objects ----------------------------------------------------------------------------------------


class Unhashable(InMemorySaver):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


def test_a_run_that_goes_on_with_a_checkpointer_without_a_hash_is_linked() -> None:
    graph = one(lambda state: {"log": [interrupt("?")]}, checkpointer=Unhashable())
    config: Any = {"configurable": {"thread_id": "1"}}
    with telemetry() as seen:
        graph.invoke({"log": []}, config)
        assert graph.invoke(Command(resume="!"), config) == {"log": ["!"]}
    first, second = [span for span in seen.spans if span.name == "invoke_workflow g"]
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


def test_values_of_a_class_without_a_hash_are_shown() -> None:
    odd = Hashless()
    with telemetry() as seen, subscribe(everything("values", "updates", "messages")) as receiver:
        one(lambda state: {"log": [odd, AIMessage("said", id="m")]}).invoke({"log": [odd]})
        parts = list(iter(receiver.take_nowait, None))
    assert [part.type for part in parts] == ["values", "messages", "updates", "values"]
    assert parts[-1].data["log"][:2] == [odd, odd]
    assert len(seen.spans) == 3
