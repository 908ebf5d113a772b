"""Messages mode: what models, ``emit_message`` and returned messages show, and how it adds up."""

from collections.abc import Callable
from typing import Any

import langgraph.graph
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig

import engine
from engine import emit_message
from otel_stream.adapters.chunks import MessageChunk
from otel_stream.aggregate import Aggregate
from otel_stream.config import Custom, StreamConfig
from otel_stream.testing import arecord, expect, record
from tests.engine.talking import (
    GIVEN,
    ONLY_ASYNC,
    PLACES,
    LangGraph,
    Ours,
    State,
    chain,
    in_a_node,
    in_a_subgraph_of_a_subgraph,
    in_a_subgraph_that_is_a_node,
    in_two_nodes,
    says,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


# -- beside LangGraph --------------------------------------------------------------------------------


def comparable(items: list[Any]) -> list[Any]:
    """What does not differ from run to run: ids by their place, namespaces without task ids."""
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
            # It names the framework to LangChain's tracer.
            if key != "ls_integration"
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
        return comparable(items)

    assert await shown(Ours) == await shown(LangGraph)


@pytest.mark.parametrize("place", [p for p in PLACES if p not in ONLY_ASYNC], ids=lambda p: p.__name__)
def test_a_model_is_shown_as_langgraph_shows_it_without_an_event_loop(place: Callable[[Any], Any]) -> None:
    def shown(lib: Any) -> list[Any]:
        items = list(place(lib).stream(GIVEN, stream_mode="messages", subgraphs=True))
        return comparable(items)

    assert shown(Ours) == shown(LangGraph)


@pytest.mark.parametrize("place", [in_a_subgraph_that_is_a_node, in_a_subgraph_of_a_subgraph])
async def test_who_sees_subgraphs_and_who_does_not_are_shown_a_message_once_each(place: Any) -> None:
    deep, shallow = (StreamConfig(modes="messages", subgraphs=subgraphs) for subgraphs in (True, False))
    async with place(Ours).open_stream(GIVEN, deep, shallow) as stream:
        await stream
        inside, outside = [[part async for part in receiver] for receiver in stream.receivers]
    name = stream.result["messages"][-1].id
    assert [(part.ns != (), part.data[0].id, part.data[0].text) for part in inside] == [
        (True, name, "hel"),
        (True, name, "lo"),
        *[(True, name, "")] * (len(inside) - 2),
    ]
    assert [(part.ns, part.data[0].id, part.data[0].text) for part in outside] == [((), name, "hello")]


async def test_a_message_that_all_see_is_not_returned_once_more() -> None:
    seen: list[str] = []
    mode = Custom(lambda event: seen.append(type(event).__name__), "all")
    config = StreamConfig(modes=("messages", mode), subgraphs=True)
    async with in_a_subgraph_that_is_a_node(Ours).open_stream(GIVEN, config) as stream:
        await stream
    assert (
        seen.count("MessageReturned") == 1
    )  # which every mode of one's own that asks for all events is told
    async with in_two_nodes(Ours).open_stream(GIVEN, config) as stream:
        await stream
    assert seen.count("MessageReturned") == 1


async def test_a_stream_that_a_node_opens_counts_as_inside_for_the_run_around_it() -> None:
    inner = in_a_node(Ours)

    async def outer(state: Any) -> Any:
        config = StreamConfig(modes="messages")
        async with inner.open_stream(state, config) as stream:
            await stream
            own = [part.data[0].text async for part in stream if part.data[0].text]
        return {"messages": stream.result["messages"], "note": own}

    for subgraphs, shown in ((True, ["hel", "lo"]), (False, ["hello"])):
        config = StreamConfig(modes="messages", subgraphs=subgraphs)
        async with chain(Ours, outer).open_stream(GIVEN, config) as stream:
            await stream
            assert [part.data[0].text async for part in stream if part.data[0].text] == shown
        assert stream.result["note"] == ["hel", "lo"]


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


@pytest.mark.parametrize("lib", [engine, langgraph.graph])
@pytest.mark.parametrize("how", ["invoke", "stream", "stream messages"])
@pytest.mark.parametrize(("subgraphs", "shown"), [(False, []), (True, ["hello", " ", "there"])])
def test_a_graph_called_with_the_nodes_config_is_heard_as_a_subgraph_only(
    lib: Any, how: str, subgraphs: bool, shown: list[str]
) -> None:
    def model(state: Any) -> Any:
        talks = GenericFakeChatModel(messages=iter([AIMessage("hello there")]))
        return {"messages": [talks.invoke(state["messages"])]}

    inner = (
        lib.StateGraph(lib.MessagesState).add_node("model", model).add_edge("__start__", "model").compile()
    )

    def node(state: Any, config: RunnableConfig) -> Any:
        if how == "invoke":
            inner.invoke(state, config)
        else:
            [*inner.stream(state, config, stream_mode="messages" if "messages" in how else "updates")]
        return {"messages": [("assistant", "done")]}

    graph = lib.StateGraph(lib.MessagesState).add_node("node", node).add_edge("__start__", "node").compile()
    parts = graph.stream({"messages": [("user", "hi")]}, stream_mode="messages", subgraphs=subgraphs)
    heard = [part[-1] if subgraphs else part for part in parts]
    assert [message.content for message, _ in heard] == shown
