"""The command itself, in a process of its own: exit codes, what is printed, and JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.fixture
def doctor(tmp_path, default_urls):
    # In another process backends that this machine may really have are kept out by being named elsewhere.
    elsewhere = {f"OTEL_STREAM_DOCTOR_{name.upper()}": url for name, url in default_urls.items()}

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "otel_stream.cli", "doctor", "--wait", "0", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **elsewhere, **variables},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run


def said(done):
    """Return what was printed, but for what is there only beside LangGraph."""
    return [line for line in done.stdout.splitlines() if "runs of LangGraph" not in line]


def test_everything_arrives(doctor, http_endpoint, refusing, tmp_path):
    done = doctor(http_endpoint.url)
    (trace_id,) = {span.trace_id.hex() for span in http_endpoint.spans()}
    place = http_endpoint.url.removeprefix("http://")
    assert (done.returncode, done.stderr) == (0, "")
    lines = said(done)
    assert lines[2:6] == [
        "ok    look up 127.0.0.1: 127.0.0.1",
        f"ok    connect to {place}: open",
        f"ok    POST http://{place}/v1/traces (http/protobuf) [traces]: 200",
        f"ok    POST http://{place}/v1/logs (http/protobuf) [logs]: 200",
    ]
    assert (
        f"-     ask loki at http://127.0.0.1:{refusing} [logs]: not checked: nothing answers there" in lines
    )
    spans, records = len(http_endpoint.spans()), len(http_endpoint.records())
    assert lines[-4:-2] == [f"traces   arrived: {spans} spans", f"logs     arrived: {records} log events"]
    assert lines[-1] == f"trace    {trace_id}"


def test_something_stops(doctor, refusing):
    done = doctor(f"http://127.0.0.1:{refusing}")
    assert (done.returncode, done.stderr) == (1, "")
    assert said(done)[3:] == [
        f"STOP  connect to 127.0.0.1:{refusing}: connection refused",
        (
            f"      Nothing listens on port {refusing} of this machine; in a "
            "container, that means the container. "
            "Start a Collector there (otel-stream backends up), or correct ENDPOINT."
        ),
        "",
        "traces   stopped at: port",
        "logs     stopped at: port",
        "metrics  stopped at: port",
    ]


def test_json_is_one_object_and_all_that_is_printed(doctor, http_endpoint):
    done = doctor(http_endpoint.url, "--json", OTEL_LOGS_EXPORTER="none", OTEL_TRACES_EXPORTER="otlp,console")
    whole = json.loads(done.stdout)
    assert (done.returncode, done.stderr, whole["arrived"]) == (1, "", False)
    assert whole["signals"]["traces"] == {
        "endpoint": f"{http_endpoint.url}/v1/traces (http/protobuf)",
        "exported": len(http_endpoint.spans()),
        "lost": 0,
        "found_in": [],
        "stopped_at": "",
        "arrived": True,
    }
    assert [one for one in whole["findings"] if one["state"] == "stop"] == [
        {
            "check": "exporter",
            "signals": ["logs"],
            "state": "stop",
            "tried": "OTEL_LOGS_EXPORTER",
            "seen": "none",
            "means": "OTEL_LOGS_EXPORTER=none switches logs off.",
            "change": "Unset it, or set it to otlp.",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:4318",), "endpoint='localhost:4318' has no scheme: write http://localhost:4318 (or https://localhost:4318)."),
        (("--tempo", "tempo:3200"), "--tempo: 'tempo:3200' is no URL; write http://127.0.0.1:3200"),
        (("--wait", "-1"), "--wait: -1 is no time; give seconds, 0 or more"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(doctor, arguments, message):
    done = doctor(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"otel-stream: {message}\n")


def test_a_backend_can_be_named_by_the_environment(doctor, http_endpoint, replies):
    tempo = replies()
    tempo.text, tempo.content_type = b"{}", "application/json"
    done = doctor(http_endpoint.url, OTEL_STREAM_DOCTOR_TEMPO=tempo.url)
    assert done.returncode == 1
    assert "traces   stopped at: tempo" in done.stdout
