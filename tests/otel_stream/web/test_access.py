"""Attacks on the server, and what becomes of them: each is refused before anything is read or run."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from otel_stream.web import Limits, create_app
from tests.otel_stream.web import graphs

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


def asking(app, client=("127.0.0.1", 5), host="localhost"):
    transport = httpx.ASGITransport(app, client=client)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "rebound.example"}, 421),
        ({"host": "localhost.example"}, 421),
        ({"host": "x@localhost"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://localhost"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-length": "99999999"}, 413),
        ({"content-length": "1e9"}, 400),
    ],
)
async def test_without_a_token_only_this_machine_and_its_own_pages_are_answered(headers, status):
    async with asking(create_app(graphs.ours())) as client:
        got = await client.get("/ok", headers=headers)
    assert (got.status_code, got.headers.get("access-control-allow-origin")) == (status, None)


async def test_from_elsewhere_nothing_is_answered_without_a_token():
    elsewhere = ("192.0.2.7", 5)
    async with asking(create_app(graphs.ours()), elsewhere) as client:
        refused = await client.get("/ok")
    async with asking(create_app(graphs.ours(), token="right"), elsewhere, "api.example") as client:
        none, wrong, key, bearer = [
            await client.get("/ok", headers=headers)
            for headers in (
                {},
                {"x-api-key": "wrong"},
                {"x-api-key": "right"},
                {"authorization": "Bearer right"},
            )
        ]
    assert refused.json() == {
        "detail": "Only this machine is answered: create_app needs a token, or authorize."
    }
    assert [one.status_code for one in (refused, none, wrong, key, bearer)] == [403, 401, 401, 200, 200]


async def test_pages_of_origins_that_are_named_may_ask_and_see_where_to_go_on():
    app = create_app(graphs.ours(), allowed_origins=["https://app.example"])
    async with asking(app) as client:
        allowed = await client.get("/ok", headers={"origin": "https://app.example"})
        before = await client.options("/threads", headers={"origin": "https://app.example"})
        other = await client.options("/threads", headers={"origin": "https://evil.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "content-location, location" in allowed.headers["access-control-expose-headers"]
    assert (before.status_code, other.status_code) == (204, 403)
    with pytest.raises(ValueError, match="name the origins"):
        create_app(graphs.ours(), allowed_origins=["*"])


async def test_authorize_is_asked_at_every_join_and_reconnect():
    asked, allowed = [], {"create", "create_run", "read"}

    async def authorize(identity, action, thread_id, run_id):
        asked.append((identity, action, thread_id, run_id))
        return action in allowed

    async with asking(create_app(graphs.ours(), authorize=authorize), host="api.example") as client:
        client.headers["authorization"] = "Bearer ada"
        id = (await client.post("/threads", json={})).json()["thread_id"]
        run = (await client.post(f"/threads/{id}/runs", json={"input": {}})).json()["run_id"]
        place = f"/threads/{id}/runs/{run}/stream"
        first = await client.get(place, headers={"last-event-id": "-1"})
        allowed.discard("read")
        again = await client.get(place, headers={"last-event-id": "0"})
        cancelled = await client.post(f"/threads/{id}/runs/{run}/cancel")
        deleted = await client.delete(f"/threads/{id}")
    assert [one.status_code for one in (first, again, cancelled, deleted)] == [200, 404, 403, 403]
    assert asked == [
        ("ada", "create", None, None),
        ("ada", "create_run", id, None),
        ("ada", "read", id, run),
        ("ada", "read", id, run),
        ("ada", "cancel", id, run),
        ("ada", "delete", id, None),
    ]


@pytest.mark.parametrize("answer", [None, 1, "yes", {"owner": "ada"}])
async def test_only_true_is_yes(answer):
    async with asking(create_app(graphs.ours(), authorize=lambda *_: answer)) as client:
        assert (await client.post("/threads", json={})).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/threads", b"[" * 100_000, 422),
        ("/threads", b"{", 422),
        ("/threads", b"[]", 422),
        ("/threads", b"\xff", 422),
        ("/threads", b'{"metadata": "' + b"x" * 2_000_000 + b'"}', 413),
        ("/runs/stream", b'{"assistant_id": "nobody"}', 404),
        ("/runs/stream", b'{"stream_mode": "<script>"}', 422),
        ("/runs/stream", b'{"multitask_strategy": "<script>"}', 422),
        ("/runs/stream", b'{"command": {"graph": "x"}}', 200),
        ("/runs/stream", b'{"config": "x"}', 422),
        ("/runs/stream", b'{"webhook": "http://169.254.169.254/"}', 422),
    ],
)
async def test_hostile_bodies_are_refused_as_json(path, body, status):
    async with asking(create_app(graphs.ours())) as client:
        got = await client.post(path, content=body)
    assert got.status_code == status
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-type"].startswith(("application/json", "text/event-stream"))


async def test_a_body_without_a_length_is_bounded_too():
    async def endless():
        while True:
            yield b"x" * 65536

    async with asking(create_app(graphs.ours())) as client:
        assert (await client.post("/threads", content=endless())).status_code == 413


async def test_a_body_that_never_ends_is_not_waited_for():
    async def slow():
        yield b'{"metadata":'
        await asyncio.Event().wait()

    async with asking(create_app(graphs.ours(), limits=Limits(request_seconds=0.05))) as client:
        assert (await client.post("/threads", content=slow())).status_code == 408


async def test_names_and_content_can_not_break_out_of_an_event():
    hostile = "a\r\nevent: error\r\ndata: {}\r\n\r\n\x1b[2J<script>"
    async with asking(create_app(graphs.ours())) as client:
        got = await client.post("/runs/stream", json={"input": {"log": [hostile]}, "stream_mode": ["values"]})
    events = [line for line in got.text.split("\r\n") if line.startswith("event:")]
    assert set(events) == {"event: metadata", "event: values"}
    assert "\x1b" not in got.text


async def test_readers_and_runs_are_bounded():
    app = create_app(graphs.ours(), limits=Limits(active_runs=1, subscribers=0))
    async with asking(app) as client:
        id = (await client.post("/threads", json={})).json()["thread_id"]
        run = (await client.post(f"/threads/{id}/runs", json={"input": {"mode": "slow"}})).json()["run_id"]
        second = await client.post("/runs/wait", json={"input": {}})
        reader = await client.get(f"/threads/{id}/runs/{run}/stream")
        await client.post(f"/threads/{id}/runs/{run}/cancel?wait=1")
    assert (second.status_code, reader.status_code) == (503, 503)


@pytest.mark.parametrize("limits", [Limits(ended_runs=1), Limits(ended_bytes=1000)])
async def test_what_is_kept_of_runs_that_have_ended_is_bounded(limits):
    async with asking(create_app(graphs.ours(), limits=limits)) as client:
        said = {"log": ["x" * 600]}
        ran = [
            await client.post("/runs/stream", json={"input": said, "stream_mode": ["values"]})
            for _ in range(4)
        ]
        again = [await client.get(one.headers["location"], headers={"last-event-id": "-1"}) for one in ran]
    assert [one.status_code for one in again[:2]] == [404, 404]
    assert again[-1].text == ran[-1].text


async def test_it_can_be_mounted_and_says_where_it_is():
    outer = Starlette(routes=[Mount("/agents/v1", create_app(graphs.ours()))])
    async with asking(outer) as client:
        got = await client.post("/agents/v1/runs/stream", json={"input": {}})
        again = await client.get(got.headers["location"], headers={"last-event-id": "-1"})
    assert got.headers["location"].startswith("/agents/v1/threads/")
    assert again.text == got.text


async def test_a_server_that_stops_ends_streams_with_a_reason_and_no_run_is_lost():
    app = create_app(graphs.ours())
    hub = app.state.hub
    async with asking(app) as client:
        id = (await client.post("/threads", json={})).json()["thread_id"]
        run = (await client.post(f"/threads/{id}/runs", json={"input": {"mode": "slow"}})).json()["run_id"]
        place = f"/threads/{id}/runs/{run}/stream"
        reading = asyncio.ensure_future(client.get(place, headers={"last-event-id": "-1"}))
        while not hub.subscribers:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0)
        await hub.aclose(seconds=0)
        told = (await reading).text
        refused = await client.post("/runs/wait", json={"input": {}})
        state = (await client.get(f"/threads/{id}/state")).json()
    assert told.endswith('event: otel\r\ndata: {"end":"server_stops"}\r\n\r\n')
    assert (refused.status_code, state["next"]) == (503, ["speak"])  # it can go on from there
