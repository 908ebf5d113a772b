"""The thread-centric protocol: commands to a thread, and one stream of all that happens in it."""

import json

import httpx
import pytest

from otel_stream.web import Limits, create_app
from otel_stream.web.feed import Entry
from otel_stream.web.threads import Wanted
from tests.otel_stream.web import graphs

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])
THREAD = "11111111-1111-4111-8111-111111111111"
ENDED = {("lifecycle", end) for end in ("completed", "failed", "interrupted")}
ALL = ["values", "updates", "messages", "lifecycle", "input", "checkpoints", "tasks", "custom", "tools"]


@pytest.fixture(params=["ours", "langgraphs"])
def graph(request):
    return getattr(graphs, request.param)()


def asking(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def say(client, method, **params):
    got = await client.post(f"/threads/{THREAD}/commands", json={"id": 7, "method": method, "params": params})
    assert got.status_code == 200, got.text
    return got.json()


async def told(client, **asked):
    """What a thread's stream says until its run has ended."""
    events = []
    asked = {"channels": ALL, **asked}
    async with client.stream("POST", f"/threads/{THREAD}/stream/events", json=asked) as got:
        one = {}
        async for line in got.aiter_lines():
            if line and not line.startswith(":"):
                one.__setitem__(*line.split(": ", 1))
            elif one:
                events.append({**json.loads(one["data"]), "id": one.get("id")})
                one = {}
                if shape(events[-1])[:2] in ENDED and events[-1]["params"]["namespace"] == []:
                    return events
    raise AssertionError(events)


def shape(event):
    if event["type"] == "error":
        return (event["error"],)
    data, where = event["params"]["data"], event["params"]["namespace"]
    if event["method"] == "messages":
        said = data.get("delta", data.get("content", {})).get("text")
        return ("messages", data["event"], said)
    if event["method"] == "lifecycle":
        return ("lifecycle", data["event"], data["graph_name"], len(where))
    return (event["method"], len(where))


async def test_a_run_is_told_from_its_beginning_to_what_it_asks_and_its_answer(graph, serving):
    with serving(graph, show_errors=False) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            begun = await say(client, "run.start", assistant_id="talk", input={"mode": "ask"})
            first = await told(client, channels=["lifecycle", "input", "messages", "custom", "updates"])
            (asked,) = [one["params"]["data"] for one in first if one["method"] == "input.requested"]
            answered = await say(
                client, "input.respond", namespace=[], interrupt_id=asked["interrupt_id"], response="yes"
            )
            last = first[-1]["seq"]
            second = await told(client, channels=["lifecycle", "updates"], since=last)
            state = (await client.get(f"/threads/{THREAD}/state")).json()
    assert set(begun) == {"type", "id", "result", "meta"}
    assert (begun["type"], begun["id"], begun["meta"]) == ("success", 7, {"applied_through_seq": 0})
    assert answered["meta"] == {"applied_through_seq": last}
    assert [shape(one) for one in first] == [
        ("lifecycle", "running", "talk", 0),
        ("custom", 0),
        ("messages", "message-start", None),
        ("messages", "content-block-start", ""),
        *(("messages", "content-block-delta", letter) for letter in graphs.WORDS),
        ("updates", 0),
        ("messages", "content-block-finish", graphs.WORDS),
        ("messages", "message-finish", None),
        ("input.requested", 0),
        ("lifecycle", "interrupted", "talk", 0),
    ]
    assert (asked["payload"], asked["value"]) == ("go on?", "go on?")
    assert [one["seq"] for one in first] == sorted({one["seq"] for one in first})
    assert all(one["id"] == str(one["seq"]) for one in first)
    assert [shape(one) for one in second] == [
        ("lifecycle", "running", "talk", 0),
        ("updates", 0),
        ("lifecycle", "started", "inner", 1),
        ("updates", 1),
        ("lifecycle", "completed", "inner", 1),
        ("updates", 0),
        ("lifecycle", "completed", "talk", 0),
    ]
    assert "answered yes" in state["values"]["log"]


async def test_who_comes_without_a_number_is_told_all_and_knows_by_ids_what_it_had(graph, serving):
    with serving(graph, show_errors=False) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            await say(client, "run.start", assistant_id="talk", input={"mode": ""})
            first, again = await told(client), await told(client)
    assert first == again
    assert len({one["event_id"] for one in first}) == len(first)
    assert {one["method"] for one in first} == {*ALL} - {"input", "tools"}


async def test_who_is_too_late_is_told_that_something_is_gone_and_the_newest_state(serving):
    with serving(limits=Limits(events=3)) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            await say(client, "run.start", assistant_id="talk", input={"mode": ""})
            await told(client)
            gap, newest, *rest = await told(client)
    assert (gap["type"], gap["error"]) == ("error", "resume_gap")
    assert newest["method"] == "values"
    assert len(rest) <= 3


async def test_a_run_that_fails_says_so_as_far_as_it_may(graph, serving):
    with serving(graph, show_errors=False) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            await say(client, "run.start", assistant_id="talk", input={"mode": "fail"})
            last = (await told(client))[-1]
    assert last["params"]["data"] == {
        "event": "failed", "graph_name": "talk", "error": "The run failed; its trace says why.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (Wanted(frozenset({"updates"}), None, None), ["updates", "updates|a:1", "updates|a:1|b:2"]),
        (Wanted(frozenset({"updates"}), frozenset({()}), 0), ["updates"]),
        (Wanted(frozenset({"updates"}), frozenset({()}), 1), ["updates", "updates|a:1"]),
        (Wanted(frozenset({"updates"}), frozenset({("a:1",)}), None), ["updates|a:1", "updates|a:1|b:2"]),
        (Wanted(frozenset({"updates"}), frozenset({("b:2",)}), None), []),
        (Wanted(frozenset({"input"}), None, None), ["input.requested"]),
    ],
)
async def test_channels_places_and_depth_say_what_is_seen(wanted, seen):
    names = ["updates", "updates|a:1", "updates|a:1|b:2", "input.requested"]
    assert [name for name in names if wanted.write(Entry(0, name, b"{}", None))] == seen


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("state.fork", "not_supported"),
        ("agent.getTree", "not_supported"),
        ("<script>", "unknown_command"),
        (["x"], "unknown_command"),
        (None, "unknown_command"),
    ],
)
async def test_a_command_that_there_is_not_is_answered_as_one(method, error):
    async with asking(create_app(graphs.ours())) as client:
        got = await say(client, method)
    assert (got["type"], got["id"], got["error"]) == ("error", 7, error)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("commands", {"method": "run.start", "params": "x"}, 422),
        ("commands", {"method": "run.start", "params": {"config": "x"}}, 422),
        ("commands", {"method": "run.start", "params": {"config": {"configurable": []}}}, 200),
        ("commands", {"method": "run.start", "params": {"config": {"configurable": [1]}}}, 422),
        ("commands", {"method": "run.start", "params": {"assistant_id": ["x"]}}, 422),
        ("commands", {"method": "input.respond", "params": {"responses": 5}}, 422),
        ("commands", {"method": "input.respond", "params": {"interrupt_id": {}}}, 422),
        ("stream/events", {}, 422),
        ("stream/events", {"channels": "values"}, 422),
        ("stream/events", {"channels": [{}]}, 422),
        ("stream/events", {"channels": [], "namespaces": [5]}, 422),
        ("stream/events", {"channels": [], "depth": "x"}, 422),
        ("stream/events", {"channels": [], "since": "x"}, 422),
        ("stream/events", {"channels": ["values"]}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(path, body, status):
    async with asking(create_app(graphs.ours())) as client:
        got = await client.post(f"/threads/{THREAD}/{path}", json=body)
    assert (got.status_code, got.headers["content-type"]) == (status, "application/json")


async def test_authorize_is_asked_for_commands_and_streams():
    asked = []

    def authorize(identity, action, thread_id, run_id):
        asked.append((action, thread_id))
        return False

    async with asking(create_app(graphs.ours(), authorize=authorize)) as client:
        command = await client.post(f"/threads/{THREAD}/commands", json={"method": "run.start"})
        stream = await client.post(f"/threads/{THREAD}/stream/events", json={"channels": ["values"]})
    assert (command.status_code, stream.status_code) == (403, 404)
    assert asked == [("create_run", THREAD), ("read", THREAD)]
