"""*tools*: what the tools that nodes call do, as LangGraph shows it, of graphs of either kind."""

from collections.abc import Iterator
from typing import Any

import langgraph.func
import langgraph.graph
import langgraph.types
import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.prebuilt import ToolNode, ToolRuntime

import engine
from engine import START, StateGraph
from otel_stream.adapters.langgraph import LangGraphInstrumentor, open_stream
from otel_stream.config import StreamConfig


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


class State(engine.MessagesState):
    log: str


@tool
def echo(text: str, numbers: list[int]) -> str:
    """Return the text."""
    return text


@tool
def fails(text: str) -> str:
    """Raise."""
    raise LookupError(text)


@tool
def asks(text: str) -> str:
    """Ask a human."""
    return str(engine.interrupt(text))


@tool
def tells(text: str, runtime: ToolRuntime) -> str:
    """Show how far it has come."""
    for word in text.split():
        runtime.emit_output_delta(word)
    return text


def echoes(state: State) -> dict[str, Any]:
    return {"log": echo.invoke({"text": "hi", "numbers": [0]})}


async def aechoes(state: State) -> dict[str, Any]:
    return {"log": await echo.ainvoke({"text": "hi", "numbers": []})}


def raises(state: State) -> dict[str, Any]:
    try:
        return {"log": fails.invoke({"text": "no"})}
    except LookupError:
        return {"log": "caught"}


def hides(state: State, config: RunnableConfig) -> dict[str, Any]:
    return {"log": echo.invoke({"text": "hi", "numbers": []}, {"tags": ["nostream"]})}


def one(node: Any, lib: Any, **options: Any) -> Any:
    return lib.StateGraph(State).add_node("n", node).add_edge(START, "n").compile(**options)


def alone(node: Any) -> Any:
    return lambda lib: one(node, lib)


def as_a_task(lib: Any) -> Any:
    func = engine if lib is engine else langgraph.func

    @func.task
    def call() -> str:
        return str(echo.invoke({"text": "hi", "numbers": []}))

    @func.entrypoint()
    def flow(_: Any) -> str:
        return str(call().result())

    return flow


CALLS = AIMessage("", tool_calls=[{"name": "tells", "args": {"text": "a b"}, "id": "call-1"}])
GRAPHS: dict[str, Any] = {
    "sync": alone(echoes),
    "async": alone(aechoes),
    "failing": alone(raises),
    "hidden": alone(hides),
    "task": as_a_task,
    "tool node": alone(ToolNode([tells])),
    "subgraph": lambda lib: one(one(aechoes, lib), lib),
    "called": lambda lib: one(lambda s, config: one(echoes, lib).invoke(s, config), lib),
}


def plain(part: Any) -> tuple[Any, ...]:
    ns, data = tuple(name.partition(":")[0] for name in part[0]), dict(part[1])
    known, output = data.pop("tool_call_id"), data.pop("output", None)
    if output is not None:  # LangGraph's changes later: the state gives it an id
        data["output"] = getattr(output, "content", output)
    return ns, known if known == "call-1" else "an id", data


@pytest.mark.parametrize("subgraphs", [True, False])
@pytest.mark.parametrize("graph", GRAPHS)
async def test_tools_show_what_langgraph_shows(graph: str, subgraphs: bool) -> None:
    async def parts(lib: Any) -> list[Any]:
        made = GRAPHS[graph](lib)
        found = made.astream({"messages": [CALLS]}, stream_mode=["tools"], subgraphs=True)
        if not subgraphs:
            found = made.astream({"messages": [CALLS]}, stream_mode="tools")
            return [plain(((), part)) async for part in found]
        return [plain((ns, data)) async for ns, _, data in found]

    ours, theirs = await parts(engine), await parts(langgraph.graph)
    assert ours == theirs
    assert (ours == []) is (graph == "hidden" or (graph in ("subgraph", "called") and not subgraphs))


def test_a_tool_that_asks_is_shown_again_when_it_is_answered() -> None:
    def node(state: State) -> dict[str, Any]:
        return {"log": asks.invoke({"text": "sure?"})}

    graph = one(node, engine, checkpointer=engine.InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    first = [part["event"] for part in graph.stream({"messages": []}, config, stream_mode="tools")]
    then = [part["event"] for part in graph.stream(engine.Command(resume="yes"), config, stream_mode="tools")]
    assert (first, then) == (["tool-started"], ["tool-started", "tool-finished"])


@pytest.fixture
def instrumented() -> Iterator[None]:
    LangGraphInstrumentor().instrument()
    yield
    LangGraphInstrumentor().uninstrument()


@pytest.mark.usefixtures("instrumented")
async def test_receivers_of_a_langgraph_graph_see_its_tools() -> None:
    graph = one(one(aechoes, langgraph.graph), langgraph.graph)
    config = StreamConfig(modes="tools", subgraphs=True)
    async with open_stream(graph, {"messages": []}, config) as stream:
        parts = [part async for part in stream]
    assert [(part.type, part.node, part.data["event"]) for part in parts] == [
        ("tools", "n", "tool-started"),
        ("tools", "n", "tool-finished"),
    ]
    assert [name.partition(":")[0] for part in parts for name in part.ns] == ["n", "n"]


async def test_a_native_stream_has_tools_beside_other_modes() -> None:
    graph = StateGraph(State).add_node("n", aechoes).add_edge(START, "n").compile()
    async with graph.open_stream({"messages": []}, StreamConfig(modes=("tools", "updates"))) as stream:
        assert [(part.type, part.node, part.data.get("event")) async for part in stream] == [
            ("tools", "n", "tool-started"),
            ("tools", "n", "tool-finished"),
            ("updates", "n", None),
        ]


def test_a_graph_on_a_thread_of_its_own_is_shown_under_the_node() -> None:
    def shown(lib: Any) -> set[tuple[str, str]]:
        inner = one(echoes, lib)
        graph = one(lambda s: inner.invoke(s, {"configurable": {"thread_id": "own"}}), lib)
        parts = graph.stream({"messages": []}, stream_mode=["tools", "values"], subgraphs=True)
        return {("|".join(name.partition(":")[0] for name in ns), mode) for ns, mode, _ in parts}

    assert shown(engine) == {("", "values"), ("n", "values"), ("n", "tools")}
    assert shown(langgraph.graph) == {("", "values"), ("", "tools")}
