"""LangGraph's own Python client of the thread-centric protocol, ``client.threads.stream``, unchanged.

What a message says comes while the iterator of messages is waited at: texts are read in tasks of their own.
"""

import asyncio
import operator
import time
from typing import Annotated, TypedDict

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langgraph_sdk import get_client, get_sync_client

from engine import StateGraph
from tests.otel_stream.web import graphs

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])
ASKING = {"messages": [{"type": "human", "content": "hi"}], "mode": "ask"}
CHANNELS = ["updates", "messages", "lifecycle", "input", "custom"]


@pytest.fixture(params=["ours", "langgraphs"])
def graph(request):
    return getattr(graphs, request.param)()


@pytest.fixture
async def talking():
    """Open a thread by a client that is closed in the end."""
    made = []

    def opened(url, **options):
        made.append(get_client(url=url))
        return made[-1].threads.stream(assistant_id="talk", **options)

    yield opened
    for one in made:
        await one.aclose()


async def said(thread):
    """The pieces of each message that comes until the run ends."""

    async def pieces(message):
        return [piece async for piece in message.text]

    return await asyncio.gather(
        *[asyncio.ensure_future(pieces(message)) async for message in thread.messages]
    )


async def what_is_asked(thread):
    while not thread.interrupted:  # noqa: ASYNC110 - the client has no event for it
        await asyncio.sleep(0.01)
    return [one["value"] for one in thread.interrupts]


async def test_it_streams_tokens_and_states(talking, serving, graph):
    with serving(graph) as server:
        async with talking(server.url) as thread:
            await thread.run.start(input={"mode": ""})
            assert await said(thread) == [[*graphs.WORDS]]
            assert (await thread.output)["log"][-1] == "look"


async def test_it_is_asked_and_answers(talking, serving, graph):
    with serving(graph) as server:
        async with talking(server.url) as thread:
            await thread.run.start(input=ASKING)
            assert await what_is_asked(thread) == ["go on?"]
            await thread.run.respond("yes")
            states = [state async for state in thread.values]
            output = await thread.output
    assert states[-1] == output
    assert output["log"][-1] == "look"
    assert "answered yes" in output["log"]


async def test_a_run_that_fails_is_one_that_raises(talking, serving, graph):
    with serving(graph) as server:
        async with talking(server.url) as thread:
            await thread.run.start(input={"mode": "fail"})
            assert await said(thread) == []
            with pytest.raises(RuntimeError, match=r"^Run errored: kaboom$"):
                await thread.output


def shape(event):
    """An event without what is another in every run."""
    params, data = event["params"], event["params"]["data"]
    what = data.get("event") or data.get("node") or sorted(data)
    return event["seq"], event["method"], len(params["namespace"]), what, data.get("delta")


async def events_of(url, talking):
    """All events of a run that ends, and what it is told of them."""
    async with talking(url) as thread:
        await thread.run.start(input={"mode": ""})
        events = [shape(event) async for event in thread.subscribe(CHANNELS)]
        return events, (await thread.output)["log"]


@pytest.mark.parametrize("after", [1, 2, 9, 20])
async def test_every_event_comes_once_though_it_is_cut(talking, serving, cutting, graph, after):
    with serving(graph) as server:
        whole, log = await events_of(server.url, talking)
        way = cutting(server, after)
        events, again = await events_of(way.url, talking)
        assert way.cut.is_set()
    assert events == whole
    assert again == log
    assert [seq for seq, *_ in events] == sorted({seq for seq, *_ in events})


async def test_a_text_is_whole_though_it_is_cut(talking, serving, cutting, graph):
    with serving(graph) as server:
        way = cutting(server, 9)
        async with talking(way.url) as thread:
            await thread.run.start(input={"mode": ""})
            assert await said(thread) == [[*graphs.WORDS]]
        assert way.cut.is_set()


async def test_who_comes_back_and_is_cut_is_asked_once_and_answers(talking, serving, cutting, graph):
    with serving(graph) as server:
        async with talking(server.url) as thread:
            await thread.run.start(input=ASKING)
            await what_is_asked(thread)
        way = cutting(server, 2)
        async with talking(way.url, thread_id=thread.thread_id) as again:
            assert await what_is_asked(again) == ["go on?"]
            await again.run.respond("yes")
            assert (await again.output)["log"][-1] == "look"
        assert way.cut.is_set()


async def test_messages_that_go_on_at_once_are_told_apart(talking, serving):
    class State(TypedDict, total=False):
        said: Annotated[list[str], operator.add]

    turns = {"left": asyncio.Event(), "right": asyncio.Event()}

    def speaking(name, words, mine, other):
        model = FakeListChatModel(responses=[words])

        async def speak(state):
            text = ""
            async for chunk in model.astream([HumanMessage("go")]):
                text += chunk.content
                turns[other].set()
                await turns[mine].wait()
                turns[mine].clear()
            turns[other].set()
            return {"said": [text]}

        return name, speak

    made = StateGraph(State).add_node(*speaking("left", "abc", "left", "right"))
    made.add_node(*speaking("right", "xyz", "right", "left"))
    made.add_edge("__start__", "left").add_edge("__start__", "right")
    with serving(made.compile(name="talk")) as server:
        async with talking(server.url) as thread:
            await thread.run.start(input={"said": []})
            assert sorted(await said(thread)) == [[*"abc"], [*"xyz"]]


def test_the_client_that_is_not_asynchronous_streams_and_answers(serving, graph, anyio_backend):
    with serving(graph) as server, get_sync_client(url=server.url) as sdk:
        with sdk.threads.stream(assistant_id="talk") as thread:
            thread.run.start(input={"mode": ""})
            texts = [str(message.text) for message in thread.messages]
        with sdk.threads.stream(assistant_id="talk") as thread:
            thread.run.start(input=ASKING)
            while not thread.interrupted:  # the client has no event for it
                time.sleep(0.01)
            thread.run.respond("yes")
            output = thread.output
    assert texts == [graphs.WORDS]
    assert "answered yes" in output["log"]
