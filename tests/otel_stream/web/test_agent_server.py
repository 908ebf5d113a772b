"""LangGraph's own Python client, and RemoteGraph, unchanged."""

import pytest
from langchain_core.messages import HumanMessage
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client
from langgraph_sdk.errors import ConflictError, NotFoundError

from tests.otel_stream.web import graphs


@pytest.fixture
async def client():
    """Make clients, which are closed."""
    made = []

    def make(url):
        made.append(get_client(url=url))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])
MODES = ["values", "updates", "messages-tuple", "custom"]


@pytest.fixture(params=["ours", "langgraphs"])
def graph(request):
    return getattr(graphs, request.param)()


def _shape(parts):
    """(mode, what is in it) of every part."""
    shapes = []
    for part in parts:
        data = part.data
        if part.event == "messages":
            shapes.append((part.event, data[0]["content"]))
        elif part.event == "metadata":
            shapes.append((part.event, sorted(data)))
        else:
            shapes.append((part.event, sorted(data) if isinstance(data, dict) else data))
    return shapes


async def test_a_run_streams_asks_and_goes_on(client, serving, traced, graph):
    with serving(graph) as server:
        sdk = client(server.url)
        thread = await sdk.threads.create()
        id, created = thread["thread_id"], []
        parts = [
            part
            async for part in sdk.runs.stream(
                id,
                "talk",
                input={"messages": [{"type": "human", "content": "hi"}], "mode": "ask"},
                stream_mode=MODES,
                on_run_created=created.append,
            )
        ]
        state = await sdk.threads.get_state(id)
        waiting = (await sdk.threads.get(id))["status"]
        resumed = [
            part
            async for part in sdk.runs.stream(id, "talk", command={"resume": "yes"}, stream_mode="updates")
        ]
        after = await sdk.threads.get_state(id)
        history = await sdk.threads.get_history(id)
        run = await sdk.runs.get(id, created[0]["run_id"])
    letters = [("messages", letter) for letter in graphs.WORDS]
    assert [one for one in _shape(parts) if one != ("messages", "")] == [
        ("metadata", ["attempt", "run_id", "span_id", "trace_id"]),
        ("values", ["log", "messages", "mode"]),
        ("custom", ["progress"]),
        *letters,
        ("updates", ["speak"]),
        ("values", ["log", "messages", "mode"]),
        ("updates", ["__interrupt__"]),
        ("values", ["__interrupt__", "log", "messages", "mode"]),
    ]
    assert [int(part.id) for part in parts] == sorted({int(part.id) for part in parts})
    assert created == [{"run_id": parts[0].data["run_id"], "thread_id": id}]
    assert (state["next"], [one["value"] for one in state["interrupts"]], waiting) == (
        ["check"],
        ["go on?"],
        "interrupted",
    )
    assert _shape(resumed)[1:] == [("updates", ["check"]), ("updates", ["inner"])]
    assert "answered yes" in after["values"]["log"]
    assert len(history) == 5
    assert (run["status"], run["metadata"]["trace_id"]) == ("interrupted", parts[0].data["trace_id"])


async def test_a_stream_that_is_cut_goes_on_and_every_event_comes_once(client, serving, cutting, graph):
    with serving(graph) as server:
        whole = [part async for part in client(server.url).runs.stream(None, "talk", input={"mode": ""})]
        way = cutting(server, 2)
        cut = [part async for part in client(way.url).runs.stream(None, "talk", input={"mode": ""})]
    assert [one.event for one in cut] == [one.event for one in whole]
    assert [one.id for one in cut] == [one.id for one in whole]
    (first, none), (again, last) = way.asked[:2]
    assert (first, none, again.startswith("GET /threads/"), str(last)) == (
        "POST /runs/stream",
        None,
        True,
        cut[1].id,
    )


async def test_who_comes_late_has_all_from_the_beginning_or_from_where_it_was(client, serving, graph):
    with serving(graph) as server:
        sdk = client(server.url)
        id = (await sdk.threads.create())["thread_id"]
        run = await sdk.runs.create(id, "talk", input={"mode": ""}, stream_mode=["updates", "custom"])
        await sdk.runs.join(id, run["run_id"])

        async def joined(last):
            parts = sdk.runs.join_stream(id, run["run_id"], last_event_id=last)
            return [(part.event, part.id) async for part in parts]

        all = await joined("-1")
        assert [event for event, _ in all] == ["metadata", "custom", "updates", "updates", "updates"]
        assert await joined(all[2][1]) == all[3:]
        assert await joined(None) == []


async def test_remote_graph_runs_streams_and_shows_state(client, serving, graph):
    with serving(graph) as server:
        remote = RemoteGraph("talk", client=client(server.url))
        config = {"configurable": {"thread_id": "11111111-1111-4111-8111-111111111111"}}
        result = await remote.ainvoke({"mode": ""}, config)
        parts = [
            (ns, mode)
            async for ns, mode, _ in remote.astream(
                {"mode": ""}, stream_mode=["updates", "custom"], subgraphs=True
            )
        ]
        state, drawing = await remote.aget_state(config), await remote.aget_graph()
    assert result["log"] == state.values["log"]
    assert [(len(ns), mode) for ns, mode in parts] == [
        (0, "custom"),
        (0, "updates"),
        (0, "updates"),
        (1, "updates"),
        (0, "updates"),
    ]
    assert sorted(drawing.nodes) == ["__end__", "__start__", "check", "inner", "speak"]


async def test_remote_graph_streams_tokens_is_asked_and_answers_though_it_is_cut(
    client, serving, cutting, graph
):
    config = {"configurable": {"thread_id": "22222222-1111-4111-8111-111111111111"}}
    asking = {"messages": [HumanMessage("hi", id="1")], "mode": "ask"}
    with serving(graph) as server:
        way = cutting(server, 9)
        remote = RemoteGraph("talk", client=client(way.url))
        streamed = remote.astream(asking, config, stream_mode=["messages", "updates"])
        first = [(part.event, part.data) async for part in streamed]
        assert way.cut.is_set()
        state = await remote.aget_state(config)
        last = [part async for part in remote.astream(Command(resume="yes"), config, stream_mode="updates")]
    assert "".join(data[0]["content"] for mode, data in first if mode == "messages") == graphs.WORDS
    assert [[*data] for mode, data in first if mode == "updates"] == [["speak"], ["__interrupt__"]]
    assert (state.next, [one.value for one in state.interrupts]) == (("check",), ["go on?"])
    assert [[*one] for one in last] == [["check"], ["inner"]]


async def test_a_run_that_fails_says_so_as_far_as_it_may(client, serving, graph):
    for shown, text in ((True, "kaboom"), (False, "The run failed; its trace says why.")):
        with serving(graph, show_errors=shown) as server:
            stream = client(server.url).runs.stream(None, "talk", input={"mode": "fail"})
            parts = [part async for part in stream]
        assert (parts[-1].event, parts[-1].data) == ("error", {"error": "ValueError", "message": text})


async def test_a_run_is_cancelled_and_a_busy_thread_says_so(client, serving, graph):
    with serving(graph) as server:
        sdk = client(server.url)
        id = (await sdk.threads.create())["thread_id"]
        stream = sdk.runs.stream(id, "talk", input={"mode": "slow"}, stream_mode="custom")
        first = [await anext(stream), await anext(stream)]
        run_id = first[0].data["run_id"]
        busy = (await sdk.threads.get(id))["status"]
        with pytest.raises(ConflictError):
            await sdk.runs.create(id, "talk", input={}, multitask_strategy="reject")
        await sdk.runs.cancel(id, run_id, wait=True)
        rest = [(part.event, part.data["error"]) async for part in stream]
        run = await sdk.runs.get(id, run_id)
        with pytest.raises(NotFoundError):
            await sdk.threads.get("00000000-0000-4000-8000-000000000000")
    assert (busy, rest, run["status"]) == ("busy", [("error", "Cancelled")], "interrupted")
