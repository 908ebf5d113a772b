"""The viewer as programs and browsers meet it: real exporters, both protocols, and attacks."""

import gzip
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from otel_stream.view.guard import HEADERS
from otel_stream.view.ingest import MAX_REQUEST
from tests.otel_stream.view.viewers import ROOT, Viewer, viewer

NO_ID = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}'
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e\0'\"; DROP TABLE unit; --"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    with viewer(tmp_path_factory.mktemp("shared")) as found:
        yield found


def run_demo(viewer: Viewer, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "otel_stream", "demo", "--json", "--modes", "custom", "--limit", "3"],
        cwd=ROOT,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": viewer.listening.http, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert "LOST" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_run_that_is_exported_is_seen_with_its_parts_and_states(shared: Viewer, protocol: str) -> None:
    endpoint = shared.listening.http if protocol == "http/protobuf" else f"http://{shared.listening.grpc}"
    name = f"demo-{protocol[:4]}"
    run_demo(
        shared,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_SERVICE_NAME=name,
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="true",
    )
    (run,) = shared.runs(f"service:{name}")
    assert (run["name"], run["thread"], run["state"], run["steps"]) == ("audit", "audit", "ok", 9)
    told = shared.get(f"runs/{run['key']}")
    assert len(told["spans"]) == run["spans"]
    nodes = {span["node"] for span in told["spans"] if "node" in span}
    assert nodes == {"audit_file", "deepen", "discover", "judge", "measure", "parse", "rank", "report"}
    states = shared.get(f"runs/{run['key']}/states")
    assert states["holes"] == []
    assert all(state["trusted"] for state in states["states"])
    root = [state for state in states["states"] if not state["ns"]]
    outline = shared.get(f"runs/{run['key']}/states/{root[1]['seq']}")
    assert [(one["key"], one["how"]) for one in outline["keys"] if one["how"] != "="] == [
        ("files", "+"),
        ("left_out", "+"),
    ]
    value = shared.get(f"runs/{run['key']}/states/{root[1]['seq']}/value", path='["files", 0]')
    assert sorted(httpx.Response(200, text=value["json"]).json()) == ["path", "size"]
    (message,) = shared.get(f"runs/{run['key']}/messages")["messages"]
    assert (message["role"], message["node"]) == ("ai", "report")
    assert message["text"].startswith("Audit of ")
    assert {point["name"] for point in shared.get(f"runs/{run['key']}/account")["points"]} >= {
        "graph.stream.parts.offered",
        "graph.stream.parts.dropped",
    }


@pytest.mark.parametrize("exporter", ["http", "grpc"])
def test_traces_of_anybody_are_seen_and_hostile_names_stay_text(shared: Viewer, exporter: str) -> None:
    listening = shared.listening
    way: Any = (
        HttpExporter(endpoint=f"{listening.http}/v1/traces")
        if exporter == "http"
        else GrpcExporter(endpoint=f"http://{listening.grpc}", insecure=True)
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(way))
    tracer = provider.get_tracer("anybody")
    with (
        tracer.start_as_current_span(f"GET {exporter} {HOSTILE}") as root,
        tracer.start_as_current_span("query", attributes={"db.x": HOSTILE}) as child,
    ):
        child.set_status(Status(StatusCode.ERROR, HOSTILE))
    provider.shutdown()
    trace = format(root.get_span_context().trace_id, "032x")
    (run,) = shared.runs(f"trace:{trace}")
    assert (run["name"], run["state"], run["errors"], run["spans"], run["graph"]) == (
        f"GET {exporter} {HOSTILE}",
        "ok",
        1,
        2,
        False,
    )
    id = format(child.get_span_context().span_id, "016x")
    about = shared.get(f"runs/{trace}/spans/{id}")["about"]
    assert (about["attributes"], about["message"]) == ({"db.x": HOSTILE}, HOSTILE)
    page = shared.client.get("/")
    assert HOSTILE not in page.text


def test_what_was_acknowledged_is_there_after_sigkill(tmp_path: Path) -> None:
    acknowledged = 0
    with viewer(tmp_path, end=signal.SIGKILL) as killed:
        client = killed.client
        for number in range(1, 200):
            answer = client.post(
                "/v1/traces", content=request(number, 20), headers={"content-type": "application/x-protobuf"}
            )
            assert answer.status_code == 200
            acknowledged = number
            if number == 60:
                killed.process.kill()
                killed.process.wait()
                break
    with viewer(tmp_path) as after:
        assert len(after.runs()) == acknowledged == 60
        assert {run["spans"] for run in after.runs()} == {20}


def request(trace: int, spans: int) -> bytes:
    found = ExportTraceServiceRequest()
    scope = found.resource_spans.add().scope_spans.add()
    for number in range(spans):
        scope.spans.add(
            trace_id=trace.to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            parent_span_id=b"" if number == 0 else (1).to_bytes(8, "big"),
            name=f"span {number}",
            start_time_unix_nano=10**18 + number,
            end_time_unix_nano=10**18 + 1000,
        )
    return found.SerializeToString()


def test_news_come_as_they_are_committed_and_go_on_from_a_version(shared: Viewer) -> None:
    client = shared.client
    protobuf = {"content-type": "application/x-protobuf"}
    client.post("/v1/traces", content=request(7_000, 1), headers=protobuf)
    key = f"{7_000:032x}"
    with shared.client.stream("GET", "/api/live", params={"run": key}) as stream:
        lines = stream.iter_lines()
        first = news(lines)
        assert [span["name"] for span in first["spans"]] == ["span 0"]
        client.post("/v1/traces", content=request(7_000, 3), headers=protobuf)
        second = news(lines)
        # What was known already is not told again.
        assert [span["name"] for span in second["spans"]] == ["span 1", "span 2"]
    with shared.client.stream("GET", "/api/live", params={"run": key, "after": first["version"]}) as stream:
        assert news(stream.iter_lines())["spans"] == second["spans"]


def news(lines: Iterator[str]) -> Any:
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: ") and kind == "news":
            return httpx.Response(200, text=line[6:]).json()
    raise AssertionError("the stream has ended")


def test_a_viewer_that_is_stopped_says_so_to_who_listens(tmp_path: Path) -> None:
    with viewer(tmp_path) as stopped:
        with stopped.client.stream("GET", "/api/live") as stream:
            lines = stream.iter_lines()
            news(lines)
            stopped.process.send_signal(signal.SIGINT)
            rest = [line for line in lines if line.startswith("event: ")]
        assert rest == ["event: closing"]
        assert stopped.process.wait(20) == 0
    assert not (tmp_path / "viewer.json").exists()


# -- attacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/runs", {"authorization": ""}, 401),
        ("/api/runs", {"authorization": "Bearer wrong"}, 401),
        ("/api/runs", {"authorization": "Basic wrong"}, 401),
        ("/api/live", {"authorization": "Bearer é".encode()}, 401),
        ("/api/runs", {"host": "evil.test"}, 421),
        ("/", {"host": "evil.test"}, 421),
        ("/", {"host": "evil.test:80@localhost"}, 421),
        ("/", {"host": "["}, 421),
        ("/", {"host": "192.168.0.1"}, 421),
        ("/api/runs", {"origin": "http://evil.test"}, 403),
        ("/api/runs", {"origin": "null"}, 403),
        ("/api/runs", {"sec-fetch-site": "cross-site"}, 403),
        ("/api/runs", {"sec-fetch-site": "same-site"}, 403),
        ("/api/runs?limit=nan", {}, 400),
        ("/api/runs?limit=1e400", {}, 400),
        ("/api/runs?q=" + "x" * 1001, {}, 400),
        ("/api/runs/none", {}, 404),
        ("/api/runs/x/states/1/value?path={", {}, 400),
        ("/../../etc/passwd", {}, 404),
        ("/static/app.js", {}, 404),
        ("/docs", {}, 404),
    ],
)
def test_a_request_that_may_not_be_is_refused(
    shared: Viewer, path: str, headers: dict[str, Any], status: int
) -> None:
    answer = shared.client.get(path, headers=headers)
    assert answer.status_code == status
    assert {name.decode(): answer.headers[name.decode()] for name, _ in HEADERS} == {
        name.decode(): value.decode() for name, value in HEADERS
    }
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (request(1, 1), {"origin": "http://localhost"}, 403),
        (request(1, 1), {"sec-fetch-site": "same-origin"}, 403),
        (request(1, 1), {"host": "evil.test"}, 421),
        (request(1, 1), {"content-type": "text/plain"}, 415),
        (request(1, 1), {"content-encoding": "br"}, 415),
        (b"not protobuf", {}, 400),
        (b"not gzip", {"content-encoding": "gzip"}, 400),
        (gzip.compress(request(1, 1))[:-9], {"content-encoding": "gzip"}, 400),
        (b"\0" * (MAX_REQUEST + 1), {}, 413),
        (gzip.compress(b"\0" * (80 * 2**20), 1), {"content-encoding": "gzip"}, 413),
        (b'{"resourceSpans": 7}', {"content-type": "application/json"}, 400),
        (b"[" * 100_000, {"content-type": "application/json"}, 400),
        (NO_ID, {"content-type": "application/json"}, 400),
    ],
    ids=(
        "foreign origin", "from a page", "rebound host", "text", "brotli", "no protobuf", "no gzip",
        "cut gzip", "too long", "too long unzipped", "no spans", "too deep", "no id",
    ),
)  # fmt: skip
def test_telemetry_that_may_not_be_is_refused(
    shared: Viewer, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = httpx.post(
        f"{shared.listening.http}/v1/traces",
        content=content,
        headers={"content-type": "application/x-protobuf", **headers},
        timeout=20,
    )
    assert answer.status_code == status
    assert shared.get("about")["takes"] is True


@pytest.mark.parametrize(
    "path",
    [
        *(f"runs?before={number}" for number in ("9007199254740990", "-9007199254740990", "1e15", "nan")),
        *(
            f"runs/{'ab' * 16}/{kind}/{number}"
            for kind in ("parts", "states")
            for number in ("9" * 5_000, "9" * 20, "-1", "%C2%B2")
        ),
    ],
)
def test_a_number_that_can_not_be_is_refused_or_found_nowhere(shared: Viewer, path: str) -> None:
    assert shared.client.get(f"/api/{path}").status_code in {200, 400, 404}


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//", "null"])
def test_an_origin_that_is_no_address_is_refused(shared: Viewer, origin: str) -> None:
    assert shared.client.get("/api/about", headers={"Origin": origin}).status_code == 403


def test_nothing_is_changed_by_what_a_page_could_send(shared: Viewer) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert shared.client.request(method, "/api/runs").status_code == 405


def test_the_token_is_where_only_its_user_reads_it(shared: Viewer, tmp_path: Path) -> None:
    with viewer(tmp_path) as found:
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert files["viewer.json"] == 0o600
        assert files["store.db"] == 0o600
        assert found.listening.token != shared.listening.token
        command = Path(f"/proc/{found.process.pid}/cmdline")
        assert not command.exists() or found.listening.token not in command.read_text()


def test_a_second_viewer_of_a_folder_leads_to_the_first(tmp_path: Path) -> None:
    with viewer(tmp_path) as first:
        done = subprocess.run(
            [sys.executable, "-m", "otel_stream", "view", "--no-open", "--data", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=50,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (
            0,
            f"A viewer is running already: {first.listening.link}\n",
        )


def test_beyond_loopback_exporters_need_the_token_too(tmp_path: Path) -> None:
    with viewer(tmp_path, "--host", "0.0.0.0") as found:
        port = httpx.URL(found.listening.http).port
        url = f"http://127.0.0.1:{port}/v1/traces"
        headers = {"content-type": "application/x-protobuf"}
        assert httpx.post(url, content=request(1, 1), headers=headers).status_code == 401
        bearer = {"authorization": f"Bearer {found.listening.token}"}
        assert httpx.post(url, content=request(1, 1), headers={**headers, **bearer}).status_code == 200
        grpc = f"http://127.0.0.1:{str(found.listening.grpc).rpartition(':')[2]}"
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(
            SimpleSpanProcessor(GrpcExporter(endpoint=grpc, insecure=True, headers=bearer))
        )
        provider.get_tracer("x").start_span("allowed").end()
        provider.shutdown()
        assert sorted(run["name"] for run in found.runs()) == ["allowed", "span 0"]


def test_a_file_is_shown_and_what_is_damaged_in_it_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "demo.jsonl"
    subprocess.run(
        [sys.executable, "-m", "otel_stream", "demo", "--json", "--limit", "2", "--telemetry", str(file)],
        cwd=ROOT, capture_output=True, check=True, timeout=50,
    )  # fmt: skip
    with file.open("ab") as lines:
        lines.write(b'{"resourceSpans": [{"cut')
    with viewer(tmp_path / "data", str(file)) as found:
        assert [run["name"] for run in found.runs()] == ["audit"]
        about = found.get("about")
        assert (about["file"], about["damaged"], about["takes"]) == ("demo.jsonl", 1, False)
        assert found.client.post("/v1/traces", content=b"").status_code == 404
    assert not (tmp_path / "data").exists()


def test_a_program_is_started_so_that_its_beginnings_are_seen(tmp_path: Path) -> None:
    names = "'OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_BSP_SCHEDULE_DELAY'"
    program = f"import os; print(*map(os.environ.get, ({names})))"
    process = subprocess.Popen(
        [sys.executable, "-m", "otel_stream", "view", "--no-open", "--port", "0", "--grpc-port", "0",
         "--data", str(tmp_path), "--", sys.executable, "-c", program],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].endswith(" 200\n"):
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert (process.wait(20), process.stdout.close()) == (0, None)
    assert lines[-1] == f"{lines[0][5:].partition('/#')[0]} 200\n"
