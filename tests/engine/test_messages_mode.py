"""Messages mode: what models, ``emit_message`` and returned messages show, and how it adds up."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph import func as langgraph_func
from langgraph import graph as langgraph_graph
from langgraph import types as langgraph_types

import engine
from engine import START, add_messages, emit_message
from otel_stream.adapters.chunks import MessageChunk
from otel_stream.aggregate import Aggregate
from otel_stream.testing import arecord, expect, record


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


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


# -- beside LangGraph --------------------------------------------------------------------------------


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


ONLY_ASYNC = {in_an_async_node, in_an_async_tool, in_a_subgraph_that_a_node_calls, in_async_tasks}
PLACES: list[Callable[[Any], Any]] = [
    in_a_node,
    in_an_async_node,
    in_a_tool,
    in_an_async_tool,
    in_a_subgraph_that_is_a_node,
    in_a_subgraph_that_a_node_calls,
    in_a_subgraph_of_a_subgraph,
    returned_whole_by_a_subgraph,
    in_two_nodes,
    in_tasks,
    in_async_tasks,
    sent,
    returned_whole,
]
TASKS = {in_tasks, in_async_tasks}
SUBGRAPHS = {place for place in PLACES if "_subgraph" in place.__name__}
GIVEN: dict[str, Any] = {"messages": [HumanMessage("hi", id="hi")]}


def comparable(items: list[Any], *, of_tasks: bool) -> list[Any]:
    """What does not differ from run to run: ids by their place, namespaces without task ids.

    Of what a ``@task`` says, the namespaces are left out: LangGraph counts the caller in, our engine doesn't.
    """
    ids: dict[Any, str] = {}
    found = []
    for ns, (message, metadata) in items:
        name = message.id if len(message.id) < 10 else ids.setdefault(message.id, f"made {len(ids)}")
        path = tuple(level.split(":")[0] for level in ns)
        about = {
            key: [level.split(":")[0] for level in value.split("|")]
            if key.endswith("checkpoint_ns")
            else value
            for key, value in metadata.items()
            # The first names the framework to LangChain's tracer; paths of pushed tasks have ids in them.
            if key not in {"ls_integration", "langgraph_path"}
            and not (of_tasks and key.endswith("checkpoint_ns"))
        }
        found.append((path, type(message), name, message.content, about))
    return found


USER = {"tags": ["run"], "metadata": {"user": 7}}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("config", [None, USER], ids=["plain", "configured"])
async def test_a_model_is_shown_as_langgraph_shows_it(
    place: Callable[[Any], Any], subgraphs: bool, config: Any
) -> None:
    async def shown(lib: Any) -> list[Any]:
        stream = place(lib).astream(GIVEN, config, stream_mode="messages", subgraphs=subgraphs)
        items = [item if subgraphs else ((), item) async for item in stream]
        return comparable(items, of_tasks=place in TASKS)

    if place in SUBGRAPHS and not subgraphs:
        # Known, and not yet as it should be: who doesn't want subgraphs is not shown their messages when the
        # node around them returns them, because somebody else may have seen them.
        assert await shown(Ours) == []
    else:
        assert await shown(Ours) == await shown(LangGraph)


@pytest.mark.parametrize("place", [p for p in PLACES if p not in ONLY_ASYNC], ids=lambda p: p.__name__)
def test_a_model_is_shown_as_langgraph_shows_it_without_an_event_loop(place: Callable[[Any], Any]) -> None:
    def shown(lib: Any) -> list[Any]:
        items = list(place(lib).stream(GIVEN, stream_mode="messages", subgraphs=True))
        return comparable(items, of_tasks=place in TASKS)

    assert shown(Ours) == shown(LangGraph)


# -- how it adds up ----------------------------------------------------------------------------------

chunkings = st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=5), min_size=1, max_size=4)


@settings(max_examples=40)
@given(chunkings, st.booleans())
def test_the_chunks_of_a_message_add_up_to_the_message_that_the_node_returns(
    messages: list[list[str]], asynchronous: bool
) -> None:
    # LangChain takes a stream without any text for no answer at all.
    messages = [[*words, "."] for words in messages]

    def node(state: State) -> Any:
        return {"messages": [says(*words).invoke("why?") for words in messages]}

    async def anode(state: State) -> Any:
        return {"messages": [await says(*words).ainvoke("why?") for words in messages]}

    recording = record(
        chain(Ours, anode if asynchronous else node), {"messages": []}, ("messages", "updates")
    )
    final = {message.id: message.text for message in recording.result["messages"]}
    assert recording.texts() == final
    assert [*final.values()] == ["".join(words) for words in messages]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=4)), min_size=1, max_size=12))
def test_chunks_of_several_messages_at_once_are_told_apart_by_their_ids(said: list[tuple[str, str]]) -> None:
    def node(state: State) -> Any:
        for name, text in said:
            emit_message(MessageChunk(id=name, content=text))

    final: dict[str, str] = {}
    for name, text in said:
        final[name] = final.get(name, "") + text
    assert record(chain(Ours, node), {}, "messages").texts() == final


@settings(max_examples=40)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=8))
def test_a_consumer_that_falls_behind_gets_the_whole_message_in_fewer_chunks(words: list[str]) -> None:
    async def node(state: State) -> Any:  # it never awaits, so nobody takes anything before its end
        for word in words:
            emit_message(MessageChunk(id="m", content=word))

    few = {"overflow": "coalesce", "buffer_size": 1, "include_end": False}
    recording = record(chain(Ours, node), {}, "messages", settings=few)
    recording.only("messages").expect(expect.message("".join(words), "node_0", id="m"))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=4)), min_size=1, max_size=12),
    st.sampled_from([1, 2, 5, "superstep"]),
    st.sampled_from([MessageChunk, AIMessageChunk]),
)
def test_an_aggregate_of_messages_says_what_their_chunks_say(
    said: list[tuple[str, str]], every: Any, kind: Any
) -> None:
    def node(state: State) -> Any:
        for name, text in said:
            emit_message(kind(id=name, content=text))

    whole = record(chain(Ours, node), {}, "messages").texts()
    fewer = record(chain(Ours, node), {}, "messages", settings={"aggregate": Aggregate(every)})
    assert fewer.texts() == whole
    if every == "superstep":
        assert len(fewer.data("messages")) == len(whole)


@settings(max_examples=40)
@given(st.lists(st.text(max_size=4), min_size=1, max_size=8), st.data())
def test_however_a_message_is_cut_it_is_expected_as_one(words: list[str], data: Any) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def node(state: State) -> Any:
        for piece in pieces:
            emit_message(MessageChunk(id="m", content=piece))

    record(chain(Ours, node), {}, "messages").expect(expect.joined_message(text, "node_0", id="m"))


async def test_two_messages_of_one_node_have_ids_of_their_own() -> None:
    def node(state: State) -> Any:
        return {"messages": [says("same").invoke("why?"), says("same").invoke("why?")]}

    recording = await arecord(chain(Ours, node), {"messages": []}, "messages")
    assert [*recording.texts().values()] == ["same", "same"]


async def test_a_graph_run_twice_gives_its_messages_other_ids() -> None:
    graph = in_a_node(Ours)
    first, second = [await arecord(graph, {"messages": []}, "messages") for _ in range(2)]
    assert first.texts().keys().isdisjoint(second.texts())


async def test_the_tag_nostream_of_a_run_silences_its_models() -> None:
    recording = await arecord(in_two_nodes(Ours), GIVEN, "messages", config={"tags": ["nostream"]})
    # What a node returns is no model's stream: it is shown, as it is in LangGraph.
    assert [*recording.texts().values()] == ["ab", "cd"]
    assert [type(chunk) for chunk, _ in recording.data("messages")] == [AIMessage, AIMessage]


@pytest.mark.parametrize(
    "make", [lambda text: AIMessageChunk(text, id="m"), lambda text: {"id": "m", "content": text}]
)
def test_a_message_that_was_emitted_is_not_shown_again_when_the_node_returns_it(make: Any) -> None:
    def node(state: State) -> Any:
        for word in ("a", "b"):
            emit_message(make(word))
        return {"messages": [AIMessage("ab", id="m")]}

    assert record(chain(Ours, node), {"messages": []}, "messages").texts() == {"m": "ab"}
