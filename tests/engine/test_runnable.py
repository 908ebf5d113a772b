"""A compiled graph is used as one of LangChain's Runnables, and its callbacks are told of graph and nodes."""

import inspect
import operator
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import langgraph.graph
import pytest
from langchain_core.callbacks import BaseCallbackHandler, adispatch_custom_event
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from langgraph._internal._runnable import RunnableCallable
from typing_extensions import TypedDict

from engine import START, InMemorySaver, StateGraph, interrupt
from engine.api.compiled import CompiledStateGraph


class S(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


def graph_of(node: Any = lambda s: {"log": ["a"]}, lib: Any = StateGraph, **options: Any) -> Any:
    return lib(S).add_node("a", node).add_edge(START, "a").compile(**options)


USES: dict[str, Any] = {
    "graph | function": lambda g: (g | (lambda d: d["log"])).invoke({}),
    "function | graph": lambda g: (RunnableLambda(lambda d: d) | g).invoke({}),
    "graph | graph": lambda g: (g | g).invoke({}),
    "dict of graphs": lambda g: ({"one": g} | RunnableLambda(lambda d: d["one"])).invoke({}),
    "pipe": lambda g: g.pipe(lambda d: d["log"]).invoke({}),
    "parallel": lambda g: RunnableParallel(a=g, b=g).invoke({}),
    "with_retry": lambda g: g.with_retry().invoke({}),
    "with_fallbacks": lambda g: g.with_fallbacks([g]).invoke({}),
    "bind": lambda g: g.bind(stream_mode="updates").invoke({}),
    "with_config": lambda g: g.with_config(tags=["t"]).invoke({}),
    "with_types": lambda g: g.with_types(input_type=dict).invoke({}),
    "map": lambda g: g.map().invoke([{}, {}]),
    "pick": lambda g: g.pick("log").invoke({}),
    "assign": lambda g: g.assign(more=lambda d: len(d["log"])).invoke({}),
    "as_tool": lambda g: g.as_tool(name="t", description="d", arg_types={"log": list}).invoke({"log": ["0"]}),
    "transform": lambda g: [*g.transform(iter([{}]))],
    "batch_as_completed": lambda g: [*g.batch_as_completed([{}])],
    "stream of a chain": lambda g: [*(g | RunnableLambda(lambda d: d)).stream({})],
    "is one": lambda g: isinstance(g, Runnable),
    "name": lambda g: (g.get_name(), g.get_name("Input")),
}


@pytest.mark.filterwarnings("ignore:This API is in beta")
@pytest.mark.parametrize("use", USES)
def test_a_graph_is_used_as_langgraphs_is(use: str) -> None:
    assert USES[use](graph_of()) == USES[use](graph_of(lib=langgraph.graph.StateGraph))


def test_a_graph_says_its_name_and_what_it_lacks() -> None:
    graph = graph_of(name="mine")
    assert repr(graph) == "CompiledStateGraph(name='mine', nodes=['a'])"
    assert repr(CompiledStateGraph[S]).endswith("CompiledStateGraph[tests.engine.test_runnable.S]")
    assert not hasattr(graph, "with_retries")


def test_input_and_output_have_a_pydantic_model() -> None:
    graph = graph_of()
    for model_of_it in (graph.get_input_schema(), graph.get_output_schema(), graph.input_schema):
        assert model_of_it(log=["a"]).log == ["a"]


def test_a_graph_loads_no_langchain_to_run() -> None:
    code = """
import asyncio, sys
from engine import START, StateGraph
g = StateGraph(dict).add_node("a", lambda s: {"x": 1}).add_edge(START, "a").compile()
assert g.invoke({}) is not None and repr(g) and not hasattr(g, "nothing")
assert [*g.stream({}, stream_mode=["updates", "values", "tasks", "debug", "custom"])]
assert g.get_graph().draw_mermaid() and g.get_graph().draw_ascii() and g._repr_mimebundle_()
assert asyncio.run(g.ainvoke({})) is not None
assert not [name for name in sys.modules if name.startswith(("langchain", "langgraph", "langsmith", "PIL"))]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class Tree(BaseCallbackHandler):
    """Writes down who is told of, below whom."""

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}
        self.seen: list[str] = []

    def _start(self, name: str, run_id: Any, parent_run_id: Any) -> None:
        path = f"{self.names[parent_run_id]}/{name}" if parent_run_id else name
        self.names[run_id] = path
        self.seen.append(f"+{path}")

    def on_chain_start(
        self, s: Any, i: Any, *, run_id: Any, parent_run_id: Any = None, name: Any = None, **_: Any
    ) -> None:
        self._start(name, run_id, parent_run_id)

    def on_chat_model_start(
        self, s: Any, m: Any, *, run_id: Any, parent_run_id: Any = None, **_: Any
    ) -> None:
        self._start("model", run_id, parent_run_id)

    def on_custom_event(self, name: str, data: Any, *, run_id: Any, **_: Any) -> None:
        self.seen.append(f"!{self.names[run_id]} {data}")

    def on_chain_end(self, outputs: Any, *, run_id: Any, **_: Any) -> None:
        self.seen.append(f"-{self.names[run_id]}")

    on_llm_end = on_chain_end

    def on_chain_error(self, error: BaseException, *, run_id: Any, **_: Any) -> None:
        self.seen.append(f"x{self.names[run_id]} {type(error).__name__}")


def model() -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("hello")]))


def calls(s: S) -> S:
    return {"log": [str(model().invoke("q").content)]}


def fails(s: S) -> S:
    raise LookupError


def asks(s: S) -> S:
    return {"log": [interrupt("q")]}


def nested(lib: Any) -> Any:
    return graph_of(graph_of(calls, lib, name="inner"), lib)


@pytest.mark.parametrize(
    "make",
    [lambda lib: graph_of(calls, lib), lambda lib: graph_of(fails, lib), nested],
    ids=["calls", "fails", "nested"],
)
@pytest.mark.parametrize("called", ["invoke", "stream", "in a chain"])
def test_callbacks_are_told_of_graph_and_nodes_as_langgraph_tells_them(make: Any, called: str) -> None:
    def told(lib: Any) -> list[str]:
        tree, graph = Tree(), make(lib)
        config: Any = {"callbacks": [tree], "run_name": "top"}
        try:
            if called == "in a chain":
                RunnableLambda(lambda _: graph.invoke({})).invoke({}, config)
            elif called == "stream":
                [*graph.stream({}, config)]
            else:
                graph.invoke({}, config)
        except LookupError:
            tree.seen.append("raised")
        return tree.seen

    assert told(StateGraph) == told(langgraph.graph.StateGraph)


def test_a_node_that_asks_is_told_of_as_such() -> None:
    tree = Tree()
    graph_of(asks, checkpointer=InMemorySaver()).invoke(
        {}, {"callbacks": [tree], "configurable": {"thread_id": "1"}}
    )
    assert tree.seen == ["+LangGraph", "+LangGraph/a", "xLangGraph/a GraphInterrupt", "-LangGraph"]


async def test_events_come_as_they_come_of_langgraph() -> None:
    async def node(s: S) -> S:
        await adispatch_custom_event("mine", 1)
        return {"log": [str((await model().ainvoke("q")).content)]}

    async def events(lib: Any) -> list[Any]:
        found = graph_of(node, lib).astream_events({}, version="v2")
        return [
            (
                e["event"],
                e["name"],
                len(e["parent_ids"]),
                dict(e["data"]).get("output") if e["event"] != "on_custom_event" else e["data"],
            )
            async for e in found
            if "model" not in e["event"]
        ]

    ours = await events(StateGraph)
    theirs = await events(langgraph.graph.StateGraph)
    assert ours == theirs
    assert ("on_custom_event", "mine", 1, 1) in ours


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("lib", [StateGraph, langgraph.graph.StateGraph])
async def test_a_run_as_projections_is_what_it_is_of_langgraph(lib: Any) -> None:
    run = graph_of(calls, lib).stream_events({}, version="v3")
    assert [str(message.text) for message in run.messages] == ["hello"]
    assert (len(run.output["log"]), run.interrupted) == (1, False)
    run = await graph_of(lib=lib).astream_events({}, version="v3")
    assert [value async for value in run.values][-1] == {"log": ["a"]}
    with pytest.raises(TypeError, match="stream_mode"):
        graph_of(lib=lib).stream_events({}, version="v3", stream_mode="values")


class Heard(BaseCallbackHandler):
    """Takes down the names of chains that begin."""

    def __init__(self) -> None:
        self.names: list[Any] = []

    def on_chain_start(self, *_: Any, name: str | None = None, **__: Any) -> None:
        self.names.append(name)


def test_functions_of_langgraphs_runnables_are_called_without_them_where_nobody_hears_of_it() -> None:
    ways: list[str] = []

    def log(_: S, config: RunnableConfig) -> S:
        files = {Path(frame.filename).name for frame in inspect.stack()}
        ways.append("runnable" if "_runnable.py" in files else "function")
        return {"log": [config["metadata"]["langgraph_node"]]}

    async def alog(state: S, config: RunnableConfig) -> S:
        return log(state, config)

    heard = Heard()
    graph = graph_of(RunnableCallable(log, alog, name="its own name"))
    assert graph.invoke({}) == {"log": ["a"]}
    assert graph.invoke({}, {"callbacks": [heard]}) == {"log": ["a"]}
    assert ways == ["function", "runnable"]
    assert heard.names == ["LangGraph", "a", "its own name"]


async def test_a_runnable_of_langgraphs_that_does_more_is_invoked() -> None:
    class Twice(RunnableCallable):
        async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
            return {"log": (await super().ainvoke(*args, **kwargs))["log"] * 2}

    async def alog(_: S) -> S:
        return {"log": ["a"]}

    assert await graph_of(Twice(lambda _: {"log": ["a"]}, alog)).ainvoke({}) == {"log": ["a", "a"]}
