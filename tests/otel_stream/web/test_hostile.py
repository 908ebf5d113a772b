"""Whatever a client sends, it is answered by a status that says what is wrong, and by no failure of ours."""

import asyncio
import itertools
from urllib.parse import quote

import httpx
import pytest

from engine import START, InMemorySaver, StateGraph
from otel_stream.web import Limits, create_app

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

FIELDS = [
    "metadata", "thread_id", "status", "limit", "offset", "graph_id", "if_exists", "assistant_id", "input",
    "command", "config", "stream_mode", "checkpoint", "checkpoint_id", "multitask_strategy", "if_not_exists",
    "interrupt_before", "durability", "context", "values", "as_node", "before", "on_disconnect", "webhook",
    "channels", "namespaces", "depth", "since", "method", "params", "id", "threadId", "runId", "messages",
    "state", "tools", "forwardedProps", "trigger", "messageId", "stream_subgraphs",
]  # fmt: skip
VALUES = [7, 10**30, "x", "\r\nset-cookie: a=b", [[]], [{}], {"x": []}, {"configurable": []}]
ROUTES = [
    "/assistants/search", "/threads", "/threads/search", "/threads/t", "/threads/t/state",
    "/threads/t/state/checkpoint", "/threads/t/history", "/threads/t/runs/wait", "/threads/t/commands",
    "/ag-ui", "/chat",
]  # fmt: skip
BASE = {
    "/threads/t/commands": {
        "method": "run.start",
        "id": 1,
        "params": {"assistant_id": "greeter", "input": {}},
    },
    "/threads/t/runs/wait": {"assistant_id": "greeter", "input": {}},
    "/ag-ui": {"threadId": "t", "runId": "r", "messages": []},
    "/chat": {"id": "t", "messages": [{"parts": []}]},
    "/threads/t/state": {"values": {"said": "x"}},
}


def greeter():
    made = StateGraph(dict).add_node("answer", lambda state: {"said": "hello"}).add_edge(START, "answer")
    return made.compile(name="greeter", checkpointer=InMemorySaver())


def asking(app, **more):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=20, **more)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_field_of_whatever_kind_is_used_or_refused(otel_globals, path):
    failed = []
    app = create_app(greeter(), limits=Limits(active_runs=10_000))
    app.state.hub.pace.hurry = True  # no reader waits for its turn
    async with asking(app) as client:
        await client.post("/threads", json={"thread_id": "t"})
        for field, value in itertools.product(FIELDS, VALUES):
            method = "PATCH" if path == "/threads/t" else "POST"
            got = await client.request(method, path, json={**BASE.get(path, {}), field: value})
            if got.status_code >= 500:
                failed.append((field, value, got.text[:80]))
    assert failed == []


@pytest.mark.parametrize("id", ["a\r\nset-cookie: b=c", "a b", "gr\u00fc\u00dfe \u20ac", "a/../b"])
async def test_an_id_can_not_break_out_of_a_header(otel_globals, id):
    async with asking(create_app(greeter())) as client:
        path = f"/threads/{quote(id, safe='')}/runs"
        asked = {"input": {}, "if_not_exists": "create"}
        got = [await client.post(f"{path}{end}", json=asked) for end in ("", "/stream", "/wait")]
    for one in got:
        if "/" in id:
            assert one.status_code == 404  # it is another path
        else:
            place = one.headers["content-location"]
            assert one.status_code == 200
            assert place.partition("/runs/")[0] == f"/threads/{quote(id, safe='')}"
            assert "set-cookie" not in one.headers


async def test_what_is_remembered_of_a_thread_is_bounded():
    async with asking(create_app(greeter(), limits=Limits(metadata_bytes=100))) as client:
        long = await client.post("/threads", json={"thread_id": "x" * 1001})
        large = await client.post("/threads", json={"thread_id": "t", "metadata": {"a": "x" * 100}})
        await client.post("/threads", json={"thread_id": "u", "metadata": {"a": "x" * 50}})
        more = await client.patch("/threads/u", json={"metadata": {"b": "x" * 50}})
        found = await client.post("/threads/search", json={})
    assert [one.status_code for one in (long, large, more)] == [422, 413, 413]
    kept = [(one["thread_id"], one["metadata"]) for one in found.json()]
    assert (kept, found.headers["x-pagination-total"]) == ([("u", {"a": "x" * 50})], "1")


async def test_who_leaves_before_its_request_is_whole_is_no_failure():
    sent = []
    messages = iter(
        [{"type": "http.request", "body": b'{"a', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/threads", "raw_path": b"/threads", "root_path": "",
        "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 5),
        "server": ("localhost", 80), "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    await create_app(greeter())(scope, receive, send)  # it would raise, and its server log a traceback
    assert sent == []


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//", "null", "http://localhost:x", "a b"])
async def test_an_origin_that_is_no_address_is_refused(origin):
    async with asking(create_app(greeter())) as client:
        got = [
            await client.request(method, "/ok", headers={"origin": origin}) for method in ("GET", "OPTIONS")
        ]
    assert [one.status_code for one in got] == [403, 403]


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "-1", "1e9", "9" * 5_000, "\udc80"])
async def test_what_looks_like_a_number_in_an_address_is_used_or_refused(number):
    text = quote(number, errors="surrogatepass")
    async with asking(create_app(greeter())) as client:
        await client.post("/threads", json={"thread_id": "t"})
        got = [
            await client.get(f"/assistants/greeter/graph?xray={text}"),
            await client.get(f"/threads/t/history?limit={text}"),
            await client.get(f"/threads/t/history?before={text}"),
        ]
    assert [one.status_code for one in got if one.status_code >= 500] == []


@pytest.mark.parametrize("last", ["9" * 4_000, "9" * 5_000, "-7", "1_0", "0x1", "\u00b2"])
async def test_a_last_event_that_never_was_is_the_end_the_beginning_or_refused(otel_globals, last):
    app = create_app(greeter())
    app.state.hub.pace.hurry = True  # no reader waits for its turn
    async with asking(app) as client:
        run = (await client.post("/threads", json={"thread_id": "t"})).json()
        run = (await client.post("/threads/t/runs", json={"input": {}})).json()["run_id"]
        await client.get(f"/threads/t/runs/{run}/join")
        header = [(b"last-event-id", last.encode("latin-1"))]
        got = await client.get(f"/threads/t/runs/{run}/stream", headers=header)
    assert got.status_code in (200, 422)
    assert last != "-7" or got.text.startswith("event: metadata")


@pytest.mark.parametrize("stream", ["GET /threads/t/stream", "POST /threads/t/stream/events"])
async def test_who_reads_a_thread_that_is_deleted_is_told(otel_globals, stream):
    method, path = stream.split()
    reads = asyncio.Event()

    def authorize(identity, action, thread_id, run_id):
        if action == "read":
            reads.set()
        return True

    app = create_app(greeter(), authorize=authorize, limits=Limits(heartbeat=0.01))
    app.state.hub.pace.hurry = True  # no reader waits for its turn
    async with asking(app) as client:
        begun = {"method": "run.start", "params": {"input": {}}}
        await client.post("/threads/t/commands", json=begun)
        reading = asyncio.create_task(client.request(method, path, json={"channels": ["lifecycle"]}))
        await reads.wait()
        deleted = await client.delete("/threads/t")
        text = (await asyncio.wait_for(reading, 20)).text
        assert (await client.get("/threads/t")).status_code == 404
    assert deleted.status_code == 204
    assert text.rstrip().endswith('data: {"end":"thread_gone"}')
    assert app.state.hub.subscribers == 0
