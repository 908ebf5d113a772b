"""The viewer's page below an application: what is exported to it is seen, by those who may see it."""

import asyncio
import os
import subprocess
import sys

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from otel_stream.view.places import Claim
from otel_stream.web import create_app
from tests.otel_stream.view.test_server import news
from tests.otel_stream.view.test_server import request as exported
from tests.otel_stream.view.viewers import ROOT, wait_for
from tests.otel_stream.web import graphs
from tests.otel_stream.web.conftest import Server

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])
TOKEN = {"authorization": "Bearer right"}
OTLP = {"content-type": "application/x-protobuf"}
RUNS = """
from engine import START, StateGraph
from otel_stream import configure
configure(service_name="elsewhere")
graph = StateGraph(dict).add_node("answer", lambda state: {"said": "hello"}).add_edge(START, "answer")
graph.compile(name="greeter").invoke({"name": "ada"}, {"configurable": {"thread_id": "t7"}})
"""


@pytest.fixture
def mounted(tmp_path, otel_globals):
    app = create_app(graphs.ours(), token="right", page=tmp_path / "runs")
    with Server(Starlette(routes=[Mount("/agents", app)])) as server:
        server.agents = app
        with httpx.Client(base_url=f"{server.url}/agents", timeout=20) as client:
            yield client, server
        asyncio.run_coroutine_threadsafe(app.state.hub.aclose(), app.state.hub.pace.loop).result(20)


def test_a_run_of_another_process_is_seen_below_the_prefix(mounted, anyio_backend):
    client, server = mounted
    subprocess.run(
        [sys.executable, "-c", RUNS],
        cwd=ROOT,
        check=True,
        timeout=50,
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{server.url}/agents/view",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20right",
        },
    )
    runs = wait_for(lambda: client.get("/view/api/runs", headers=TOKEN).json()["runs"])
    assert [(run["name"], run["thread"], run["state"]) for run in runs] == [("greeter", "t7", "ok")]
    led = client.get("/view", headers={"host": "elsewhere.example"})
    page = client.get("/view/")
    assert (led.status_code, led.headers["location"]) == (307, "view/")
    assert 'src="app.js"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    about = client.get("/view/api/about", headers=TOKEN).json()
    assert about["http"] == f"{server.url}/agents/view"


def test_news_come_while_it_is_open_and_end_with_the_server(mounted, anyio_backend):
    client, server = mounted
    with client.stream("GET", "/view/api/live?after=0", headers=TOKEN) as stream:
        lines = stream.iter_lines()
        assert news(lines) == {}
        posted = client.post("/view/v1/traces", content=exported(1, 3), headers={**OTLP, **TOKEN})
        assert posted.status_code == 200
        assert [run["spans"] for run in news(lines)["runs"]] == [3]
        server.agents.state.hub.end_streams()
        rest = [line for line in lines if line.startswith("event: ")]
    assert rest == ["event: closing"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/view/", {}, 200),
        ("GET", "/view/app.js", {}, 200),
        ("GET", "/view/api/runs", {}, 401),
        ("GET", "/view/api/runs?t=right", {}, 401),
        ("GET", "/view/api/runs", {"authorization": "Bearer wrong"}, 401),
        ("GET", "/view/api/runs", {"x-api-key": "right"}, 200),
        ("GET", "/view/api/live", {"authorization": "Basic right"}, 401),
        ("GET", "/view/api/runs", {**TOKEN, "origin": "https://evil.example"}, 403),
        ("GET", "/view/api/runs", {**TOKEN, "sec-fetch-site": "cross-site"}, 403),
        ("GET", "/view/", {"origin": "null"}, 403),
        ("POST", "/view/v1/traces", OTLP, 401),
        ("POST", "/view/v1/traces", {**OTLP, **TOKEN}, 200),
        ("POST", "/view/v1/traces", {**OTLP, **TOKEN, "origin": "http://localhost"}, 403),
        ("POST", "/view/v1/traces", {**OTLP, **TOKEN, "sec-fetch-site": "same-origin"}, 403),
        ("POST", "/view/api/runs", TOKEN, 405),
        ("GET", "/view/../app.py", TOKEN, 404),
        ("GET", "/view/%2e%2e/app.py", TOKEN, 404),
        ("GET", "/view/..%2fschema.py", TOKEN, 404),
        ("GET", "/view//etc/passwd", TOKEN, 404),
        ("GET", "/view/static/app.js", TOKEN, 404),
        ("GET", "/viewapi/runs", TOKEN, 404),
    ],
)
async def test_who_may_not_is_refused(tmp_path, method, path, headers, status):
    app = create_app(graphs.ours(), token="right", page=tmp_path)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        got = await client.request(method, path, headers=headers)
    await app.state.hub.aclose()
    assert (got.status_code, got.headers.get("access-control-allow-origin")) == (status, None)


async def test_without_a_token_this_machine_alone_sees_it(tmp_path):
    app = create_app(graphs.ours(), page=tmp_path)
    codes = []
    for client, host in (
        (("127.0.0.1", 5), "localhost"),
        (("127.0.0.1", 5), "rebound.example"),
        (("192.0.2.7", 5), "localhost"),
    ):
        transport = httpx.ASGITransport(app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as asking:
            codes.append(
                [
                    (await asking.get(path)).status_code
                    for path in ("/view/", "/view/api/runs", "/view/app.js")
                ]
            )
    await app.state.hub.aclose()
    assert codes == [[200] * 3, [421] * 3, [403] * 3]


async def test_authorize_says_who_views_and_who_exports(tmp_path):
    asked = []

    async def authorize(identity, action, thread_id, run_id):
        asked.append((identity, action, thread_id, run_id))
        return (identity, action) in {("ada", "view"), ("service", "export")}

    app = create_app(graphs.ours(), authorize=authorize, page=tmp_path)
    transport = httpx.ASGITransport(app)
    codes = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for who in ("ada", "service"):
            runs = await client.get("/view/api/runs", headers={"x-api-key": who})
            sent = await client.post("/view/v1/traces", headers={"x-api-key": who, **OTLP})
            codes[who] = runs.status_code, sent.status_code
    await app.state.hub.aclose()
    assert codes == {"ada": (200, 403), "service": (403, 200)}
    assert {one[2:] for one in asked} == {(None, None)}


async def test_a_folder_that_another_process_has_takes_nothing_from_the_rest(tmp_path, caplog):
    claim = Claim(tmp_path)
    app = create_app(graphs.ours(), page=tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        page, rest = await client.get("/view/"), await client.get("/ok")
    claim.release()
    said = f"The page shows nothing: another viewer writes into {str(tmp_path)!r}"
    assert (page.status_code, page.text, rest.status_code) == (503, f"{said}\n", 200)
    assert [record.getMessage() for record in caplog.records if record.name == "otel_stream.web.page"] == [
        said
    ]
