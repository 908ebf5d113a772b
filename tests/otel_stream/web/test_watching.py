"""An engine's runs followed by clients; and runs of clients, seen by the engine."""

import asyncio
import json
import threading

import httpx
import pytest

from engine import START, ExecutionEngine, StateGraph
from otel_stream import StreamConfig
from otel_stream.web import Limits, create_app
from tests.otel_stream.web import graphs
from tests.otel_stream.web.conftest import Server

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def asking(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=20)


def told(text):
    """The events of a stream: their names and data."""
    found, name = [], ""
    for line in text.replace("\r\n", "\n").split("\n"):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            found.append((name, json.loads(value)))
    return found


async def turn():
    """Let others of the loop have theirs."""
    await asyncio.sleep(0)


async def begin(client):
    """The first request, with which it is watched where there is no lifespan."""
    assert (await client.get("/ok")).json() == {"ok": True}


async def the_run(client, thread):
    while (found := await client.get(f"/threads/{thread}/runs")).status_code == 404:
        await turn()  # a request without a socket gives nobody else a turn
    return found.json()[0]


def bounded():
    """Nothing here waits for longer."""
    return asyncio.timeout(20)


WHOLE = ["speak", "check", "speak", "check", "look"]  # what the subgraph has got, it gives back, too


async def test_a_run_that_a_program_starts_is_followed_from_its_beginning_to_its_end(otel_globals):
    engine = ExecutionEngine()
    async with bounded(), asking(create_app(engine)) as client:
        await begin(client)
        result = await engine.execute(graphs.ours(), {"mode": "plain"}, {"configurable": {"thread_id": "t7"}})
        run = await the_run(client, "t7")
        stream = await client.get(f"/threads/t7/runs/{run['run_id']}/stream", headers={"last-event-id": "-1"})
        late = await client.get(f"/threads/t7/runs/{run['run_id']}/stream", headers={"last-event-id": "3"})
        run = await the_run(client, "t7")
        thread = (await client.get("/threads/t7")).json()
    events = told(stream.text)
    assert [name for name, _ in events if name == "metadata"] == ["metadata"]
    assert [data["log"] for name, data in events if name == "values"] == [
        [], ["speak"], ["speak", "check"], WHOLE
    ]  # fmt: skip
    assert [next(iter(data)) for name, data in events if name == "updates"] == ["speak", "check", "inner"]
    assert "".join(data[0]["content"] for name, data in events if name == "messages") == graphs.WORDS
    assert [name.partition(":")[0] for name, _ in events if "|" in name and name.startswith("updates")] == [
        "updates|inner"
    ]
    assert told(late.text) == events[-len(told(late.text)) :]
    assert run["status"] == "success"
    assert (thread["status"], thread["metadata"]["graph_id"]) == ("idle", "talk")
    assert thread["values"]["log"] == result["log"]


@pytest.mark.parametrize(
    ("mode", "status", "last"),
    [
        ("fail", "error", {"error": "ValueError", "message": "The run failed; its trace says why."}),
        ("ask", "interrupted", None),
    ],
)
async def test_how_it_ends_is_said(otel_globals, mode, status, last):
    engine = ExecutionEngine()
    async with bounded(), asking(create_app(engine)) as client:
        await begin(client)
        await asyncio.gather(
            engine.execute(graphs.ours(), {"mode": mode}, {"configurable": {"thread_id": "t"}}),
            return_exceptions=True,
        )
        run = await the_run(client, "t")
        place = f"/threads/t/runs/{run['run_id']}"
        stream = await client.get(f"{place}/stream", headers={"last-event-id": "-1"})
        joined = (await client.get(f"{place}/join")).json()
        thread = (await client.get("/threads/t")).json()
    name, data = told(stream.text)[-1]
    assert (thread["status"], data if name == "error" else None) == (status, last)
    assert ("__interrupt__" in joined) == (mode == "ask")


async def test_who_watches_can_not_stop_it_and_is_asked_for_at_every_join(otel_globals):
    engine, asked = ExecutionEngine(), []

    def authorize(identity, action, thread_id, run_id):
        asked.append((identity, action, thread_id))
        return identity == "ada"

    app = create_app(engine, authorize=authorize)
    async with bounded(), asking(app) as client:
        await begin(client)
        going = asyncio.ensure_future(
            engine.execute(graphs.ours(), {"mode": "slow"}, {"configurable": {"thread_id": "t"}})
        )
        while not app.state.hub.threads:
            await turn()
        (run,) = app.state.hub.threads["t"].runs
        mine, others = {"x-api-key": "ada"}, {"x-api-key": "eve"}
        place = f"/threads/t/runs/{run}"
        refused = await client.get(f"{place}/stream", headers=others)
        cancel = await client.post(f"{place}/cancel", headers=mine)
        delete = await client.delete("/threads/t", headers=mine)
        new = await client.post("/threads/t/runs", headers=mine, json={"assistant_id": "talk"})
        assert not going.done()
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await app.state.hub.aclose()
    assert [one.status_code for one in (refused, cancel, delete, new)] == [404, 409, 409, 404]
    assert ("eve", "read", "t") in asked


async def test_runs_of_clients_are_the_engines_and_told_once(otel_globals):
    engine = ExecutionEngine()
    seen = await engine.stream(StreamConfig(modes=("updates",)))
    async with bounded(), asking(create_app(graphs.ours(), engine=engine)) as client:
        asked = {"input": {"mode": "ask"}, "stream_mode": ["updates"], "if_not_exists": "create"}
        asks = await client.post("/threads/t/runs/stream", json=asked)
        mine = await engine.execute(graphs.ours(), {"mode": "plain"}, {"configurable": {"thread_id": "u"}})
        answers = await client.post(
            "/threads/t/runs/stream", json={"command": {"resume": "yes"}, "stream_mode": ["updates"]}
        )
        known = (await client.get("/threads/t/runs")).json()
        other = (await client.get("/threads/u/runs")).json()
    seen.close()
    names = [
        next(iter(data))
        for text in (asks.text, answers.text)
        for name, data in told(text)
        if name == "updates"
    ]
    assert names == ["speak", "__interrupt__", "check", "inner"]
    assert [run["status"] for run in known] == ["success", "interrupted"]
    assert [run["status"] for run in other] == ["success"]
    assert mine["log"] == WHOLE
    assert seen.statistics().offered == len(names) + 3


def counting(steps):
    async def count(state):
        return {"number": state.get("number", 0) + 1}

    made = StateGraph(dict).add_node("count", count).add_edge(START, "count")
    made.add_conditional_edges("count", lambda state: "count" if state["number"] < steps else "__end__")
    return made.compile(name="counting")


async def test_what_can_not_be_taken_in_time_is_counted_and_the_end_is_never_lost(otel_globals):
    """The engine's loop is another one than the server's, which stands still meanwhile."""
    engine = ExecutionEngine()
    app = create_app(engine, limits=Limits(events=50))
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 1000}
    async with bounded(), asking(app) as client:
        await begin(client)
        other = threading.Thread(target=lambda: asyncio.run(engine.execute(counting(500), {}, config)))
        other.start()
        other.join(15)  # this loop does nothing until it is over: the run waited for nobody
        assert not other.is_alive()
        run = await the_run(client, "t")
        stream = await client.get(f"/threads/t/runs/{run['run_id']}/stream", headers={"last-event-id": "-1"})
        run = await the_run(client, "t")
    lost = [data["lost"] for name, data in told(stream.text) if name == "otel" and "lost" in data]
    assert (run["status"], len(lost)) == ("success", 1)
    assert lost[0] > 500


async def test_more_runs_than_may_go_on_are_counted_and_an_app_that_ends_lets_them_go(otel_globals):
    engine = ExecutionEngine()
    app = create_app(engine, limits=Limits(active_runs=2))
    hub = app.state.hub
    async with bounded(), asking(app) as client:
        await begin(client)
        slow = [
            asyncio.ensure_future(
                engine.execute(graphs.ours(), {"mode": "slow"}, {"configurable": {"thread_id": str(n)}})
            )
            for n in range(4)
        ]
        while hub.unseen < 2:
            await turn()
        assert list(hub.threads) == ["0", "1"]
        await hub.aclose()
        assert hub.seen == []
        assert [one.done() for one in slow] == [False] * 4  # they are the program's
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


def test_a_server_follows_runs_of_another_thread_while_they_go_on(otel_globals, anyio_backend):
    engine = ExecutionEngine()
    with Server(create_app(engine)) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        asyncio.run(engine.execute(graphs.ours(), {"mode": "plain"}, {"configurable": {"thread_id": "t"}}))
        while not (found := client.get("/threads/t/runs")).is_success or not found.json():
            pass
        run = found.json()[0]["run_id"]
        events = told(client.get(f"/threads/t/runs/{run}/stream", headers={"last-event-id": "-1"}).text)
    assert [data["log"] for name, data in events if name == "values"][-1] == WHOLE


def test_what_makes_no_sense_is_refused(anyio_backend):
    from langgraph.graph import StateGraph as LangGraphs

    theirs = (
        LangGraphs(dict).add_node("a", lambda state: state).add_edge("__start__", "a").compile(name="theirs")
    )
    with pytest.raises(ValueError, match="engine runs no graph of LangGraph's, such as 'theirs'"):
        create_app(theirs, engine=ExecutionEngine())
    with pytest.raises(ValueError, match="graphs is empty"):
        create_app([])
