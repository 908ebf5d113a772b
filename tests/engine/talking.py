"""Where a chat model can be called in a graph: the same graphs for LangGraph and for our engine."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph import func as langgraph_func
from langgraph import graph as langgraph_graph
from langgraph import types as langgraph_types

import engine
from engine import START, add_messages


class Says(BaseChatModel):
    """Says these words, one chunk each; without a run's id, so that LangChain has to find one."""

    words: tuple[str, ...]
    name: str | None = None

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(self.words)))])

    def _stream(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for word in self.words:
            chunk = ChatGenerationChunk(message=AIMessageChunk(word))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


def says(*words: str) -> Says:
    return Says(words=words)


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    note: Any


@tool
def ask(question: str) -> str:
    """Ask a model."""
    return says("in ", "a ", "tool").invoke(question).text


@tool
async def aask(question: str) -> str:
    """Ask a model."""
    return (await says("in ", "a ", "tool").ainvoke(question)).text


def in_a_node(lib: Any) -> Any:
    def node(state: Any) -> Any:
        return {"messages": [says("hel", "lo").invoke("why?")]}

    return chain(lib, node)


def in_an_async_node(lib: Any) -> Any:
    async def node(state: Any) -> Any:
        return {"messages": [await says("hel", "lo").ainvoke("why?")]}

    return chain(lib, node)


def in_a_tool(lib: Any) -> Any:
    def node(state: Any) -> Any:
        return {"messages": [ToolMessage(ask.invoke({"question": "why?"}), tool_call_id="1", id="t")]}

    return chain(lib, node)


def in_an_async_tool(lib: Any) -> Any:
    async def node(state: Any) -> Any:
        return {"messages": [ToolMessage(await aask.ainvoke({"question": "?"}), tool_call_id="1", id="t")]}

    return chain(lib, node)


def in_a_subgraph_that_is_a_node(lib: Any) -> Any:
    return chain(lib, in_a_node(lib))


def in_a_subgraph_that_a_node_calls(lib: Any) -> Any:
    inner = in_an_async_node(lib)

    async def outer(state: Any) -> Any:
        return {"messages": (await inner.ainvoke(state))["messages"]}

    return chain(lib, outer)


def in_a_subgraph_of_a_subgraph(lib: Any) -> Any:
    return chain(lib, in_a_subgraph_that_is_a_node(lib))


def returned_whole_by_a_subgraph(lib: Any) -> Any:
    return chain(lib, returned_whole(lib))


def in_two_nodes(lib: Any) -> Any:
    def first(state: Any) -> Any:
        return {"messages": [says("a", "b").invoke("why?")]}

    def second(state: Any) -> Any:
        says("un", "seen").with_config(tags=["nostream"]).invoke("why?")
        return {"messages": [*state["messages"], says("c", "d").invoke("why?")]}

    return chain(lib, first, second)


def in_tasks(lib: Any) -> Any:
    @lib.task
    def one(text: str) -> str:
        return str(says(text, "!").invoke("why?").text)

    @lib.entrypoint()
    def workflow(texts: Any) -> Any:
        return [one(text).result() for text in ("a", "b")]

    return workflow


def in_async_tasks(lib: Any) -> Any:
    @lib.task
    async def one(text: str) -> str:
        return (await says(text, "!").ainvoke("why?")).text

    @lib.entrypoint()
    async def workflow(texts: Any) -> Any:
        return [await one(text) for text in ("a", "b")]

    return workflow


def in_a_subgraph_that_a_task_calls(lib: Any) -> Any:
    inner = in_an_async_node(lib)

    @lib.task
    async def one(state: Any) -> Any:
        return (await inner.ainvoke(state))["messages"]

    @lib.task
    async def around(state: Any) -> Any:
        return await one(state)

    @lib.entrypoint()
    async def workflow(state: Any) -> Any:
        return [await one(state), await around(state)]

    return workflow


def in_a_subgraph_and_then_returned_by_another_node(lib: Any) -> Any:
    inner = in_a_node(lib)
    said: list[Any] = []

    def first(state: Any) -> Any:
        said.extend(inner.invoke(state)["messages"])

    def second(state: Any) -> Any:
        return {"messages": said}

    return chain(lib, first, second)


def in_a_subgraph_that_is_given_a_message(lib: Any) -> Any:
    inner = in_two_nodes(lib)

    def outer(state: Any) -> Any:
        return inner.invoke({"messages": [HumanMessage("only for you", id="new")]})

    return chain(lib, outer)


def sent(lib: Any) -> Any:
    def spread(state: Any) -> Any:
        return [lib.Send("worker", {"note": "a"})]

    def worker(state: Any) -> Any:
        return {"messages": [says(state["note"], "!").invoke("why?")]}

    return (
        lib.StateGraph(State)
        .add_node("worker", worker)
        .add_conditional_edges(START, spread, ["worker"])
        .compile()
    )


def returned_whole(lib: Any) -> Any:
    def node(state: Any) -> Any:
        return {"messages": [*state["messages"], AIMessage("whole", id="w"), HumanMessage("too", id="h")]}

    return chain(lib, node)


class LangGraph:
    StateGraph = langgraph_graph.StateGraph
    Send = langgraph_types.Send
    task = staticmethod(langgraph_func.task)
    entrypoint = langgraph_func.entrypoint


class Ours:
    StateGraph = engine.StateGraph
    Send = engine.Send
    task = staticmethod(engine.task)
    entrypoint = engine.entrypoint


def chain(lib: Any, *nodes: Any) -> Any:
    graph = lib.StateGraph(State)
    names = [f"node_{index}" for index in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for before, after in zip([START, *names], names, strict=False):
        graph.add_edge(before, after)
    return graph.compile()


ONLY_ASYNC = {
    in_an_async_node,
    in_an_async_tool,
    in_a_subgraph_that_a_node_calls,
    in_a_subgraph_that_a_task_calls,
    in_async_tasks,
}
PLACES: list[Callable[[Any], Any]] = [
    in_a_node,
    in_an_async_node,
    in_a_tool,
    in_an_async_tool,
    in_a_subgraph_that_is_a_node,
    in_a_subgraph_that_a_node_calls,
    in_a_subgraph_of_a_subgraph,
    in_a_subgraph_that_a_task_calls,
    in_a_subgraph_and_then_returned_by_another_node,
    in_a_subgraph_that_is_given_a_message,
    returned_whole_by_a_subgraph,
    in_two_nodes,
    in_tasks,
    in_async_tasks,
    sent,
    returned_whole,
]
GIVEN: dict[str, Any] = {"messages": [HumanMessage("hi", id="hi")]}
