"""A browser watches a run of another process, out of a topic."""

from __future__ import annotations

import json

import httpx

from otel_stream import StreamConfig
from otel_stream.kafka import KafkaSink
from otel_stream.web import watch_app
from tests.scale.graphs import writing


async def sent(servers: str, topic: str) -> str:
    config = StreamConfig(modes=("custom", "values"))
    async with (
        KafkaSink(topic, config, servers=servers) as sink,
        writing(5).open_stream({}, sink) as stream,
    ):
        await stream.wait()
        return stream.run_id


async def watched(app, path: str, **headers: str) -> list[tuple[str, str, dict]]:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    found = []
    for block in answer.text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


async def test_it_sees_every_part_in_order(servers, topic) -> None:
    run_id = await sent(servers, topic)
    events = await watched(watch_app(topic, servers=servers), f"/runs/{run_id}/stream")
    assert [(kind, data["run_id"]) for kind, _, data in events] == [
        *[("custom", run_id)] * 5,
        ("values", run_id),
    ]
    assert [data["data"]["number"] for kind, _, data in events if kind == "custom"] == [0, 1, 2, 3, 4]


async def test_it_goes_on_behind_what_it_has_seen(servers, topic) -> None:
    run_id = await sent(servers, topic)
    app = watch_app(topic, servers=servers)
    whole = await watched(app, f"/runs/{run_id}/stream")
    rest = await watched(app, f"/runs/{run_id}/stream", **{"last-event-id": whole[2][1]})
    assert rest == whole[3:]


async def test_who_may_not_is_told_so_before_anything_is_read(topic) -> None:
    app = watch_app(topic, servers="127.0.0.1:1", authorize=lambda who, action, thread, run: run == "mine")
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/runs/yours/stream")
    assert (answer.status_code, answer.json()) == (403, {"detail": "This is not allowed."})


async def test_a_last_event_that_is_no_number_is_refused(topic) -> None:
    app = watch_app(topic, servers="127.0.0.1:1")
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/runs/yours/stream", headers={"last-event-id": "x"})
    assert (answer.status_code, answer.json()) == (
        422,
        {"detail": "Last-Event-ID 'x' is no number of an event."},
    )
