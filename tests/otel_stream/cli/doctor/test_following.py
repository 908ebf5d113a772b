"""Which backends are asked, and what their answers mean; stand-ins answer as the real ones do.

The real ones are asked in tests/backends/test_doctor.py.
"""

import json
import socket

import pytest

from tests.otel_stream.cli.doctor.conftest import said


def trace_of(number):
    return json.dumps({"batches": [{"scopeSpans": [{"spans": [{"name": "n"}] * number}]}]}).encode()


def logs_of(number):
    return json.dumps({"data": {"result": [{"values": [["1", "x"]] * number}]}}).encode()


def counted(number):
    return json.dumps({"data": {"result": [{"value": [1, str(number)]}]}}).encode()


ONE_SERIES = json.dumps({"data": {"result": [{"value": [1, "1"]}]}}).encode()


def backend(replies, text=b"{}", status=200):
    server = replies()
    server.text, server.status, server.content_type = text, status, "application/json"
    return server


def test_a_run_that_all_of_them_have(diagnose, http_endpoint, replies):
    servers = {
        "tempo": backend(replies, trace_of(6)),
        "jaeger": backend(replies, b'{"result": {"resourceSpans": ' + trace_of(6)[12:-1] + b"}}"),
        "loki": backend(replies, logs_of(14)),
        "victorialogs": backend(replies, counted(14)),
        "prometheus": backend(replies, ONE_SERIES),
    }
    report = diagnose(http_endpoint.url, **{name: server.url for name, server in servers.items()})
    assert (said(report), report.arrived) == ([], True)
    assert {name: signal.found_in for name, signal in report.signals.items()} == {
        "traces": ["tempo", "jaeger"],
        "logs": ["loki", "victorialogs"],
        "metrics": ["prometheus"],
    }
    asked = {name: server.got[-1][0] for name, server in servers.items()}
    assert asked["tempo"] == f"/api/traces/{report.trace_id}"
    assert asked["jaeger"] == f"/api/v3/traces/{report.trace_id}"
    assert f"trace_id%3D%22{report.trace_id}%22" in asked["loki"]
    assert f"trace_id%3A%3D{report.trace_id}" in asked["victorialogs"]
    assert "service.instance.id" not in asked["prometheus"]


NONE_IN = (
    "The endpoint took the run's {words}, but {name} has none of them: "
    "the Collector does not send them there, or {dropped}. "
    "Give the Collector's {signal} pipeline an exporter to {name}, keep more there, or wait longer (--wait)."
)


@pytest.mark.parametrize(
    ("name", "signal", "text", "message"),
    [
        (
            "tempo",
            "traces",
            b"{}",
            NONE_IN.format(
                words="spans",
                name="tempo",
                dropped="a sampler dropped them (tail_sampling, OTEL_STREAM_KEEP_FROM)",
                signal="traces",
            ),
        ),
        (
            "loki",
            "logs",
            logs_of(0),
            NONE_IN.format(
                words="log events",
                name="loki",
                dropped="a filter dropped them (OTEL_STREAM_KEEP_LOGS_FROM)",
                signal="logs",
            ),
        ),
        (
            "victorialogs",
            "logs",
            counted(0),
            NONE_IN.format(
                words="log events",
                name="victorialogs",
                dropped="a filter dropped them (OTEL_STREAM_KEEP_LOGS_FROM)",
                signal="logs",
            ),
        ),
        (
            "loki",
            "logs",
            logs_of(1),
            (
                "Only a part of the run's log events is in loki. "
                "Wait longer (--wait), or look into the Collector's log for what it refused."
            ),
        ),
        (
            "prometheus",
            "metrics",
            b'{"data": {"result": []}}',
            NONE_IN.format(
                words="metrics", name="prometheus", dropped="a filter dropped them", signal="metrics"
            ),
        ),
    ],
)
def test_a_backend_that_does_not_have_it(diagnose, http_endpoint, replies, name, signal, text, message):
    report = diagnose(http_endpoint.url, **{name: backend(replies, text).url})
    assert said(report) == [(name, "stop", (signal,), message)]
    assert {one: fate.arrived for one, fate in report.signals.items() if not fate.arrived} == {signal: False}


def test_a_trace_that_is_not_there_yet_is_waited_for(diagnose, http_endpoint, replies):
    server = backend(replies, trace_of(6))
    server.paths = dict.fromkeys(["/api/traces/"], 404)
    answers = iter([404, 503])

    class Late(dict):
        def get(self, path, default):
            return next(answers, default)

    server.paths = Late()
    report = diagnose(http_endpoint.url, wait=30, tempo=server.url)
    assert (said(report), report.signals["traces"].found_in, len(server.got)) == ([], ["tempo"], 3)


def test_one_store_of_a_signal_is_enough_unless_it_is_named(diagnose, http_endpoint, replies, default_urls):
    full, empty = backend(replies, trace_of(6)), backend(replies)
    default_urls |= {"tempo": full.url, "jaeger": empty.url}
    report = diagnose(http_endpoint.url)
    assert [(check, found) for check, found, *_ in said(report)] == [("jaeger", "note")]
    assert report.arrived


@pytest.mark.parametrize(
    ("text", "status", "seen"),
    [
        (b"<html>", 200, "not checked: what answers there is not tempo"),
        (b"[]", 401, "not checked: it answers 401"),
        (b"", 302, "not checked: it answers 302"),
    ],
)
def test_what_cannot_be_asked_is_not_checked(diagnose, http_endpoint, replies, text, status, seen):
    server = backend(replies, text, status)
    server.location = "http://192.0.2.1/"
    report = diagnose(http_endpoint.url, tempo=server.url)
    found = {one.check: (one.verdict.state, one.verdict.seen) for one in report.findings}
    assert (found["tempo"], found["jaeger"]) == (
        ("skipped", seen),
        ("skipped", "not checked: nothing answers there"),
    )
    assert (said(report), report.arrived) == ([], True)


def test_backends_of_this_machine_are_not_asked_about_an_endpoint_elsewhere(diagnose, http_endpoint):
    # An address of this machine that does not look like one: as good as another machine.
    with socket.create_server(("127.0.0.1", 0)):
        port = http_endpoint.url.rpartition(":")[2]
        report = diagnose(f"http://0.0.0.0:{port}")
    assert [(one.check, one.verdict.seen) for one in report.findings if one.verdict.state == "skipped"] == [
        (
            name,
            f"not checked: the endpoint is on another machine; --{name} URL says where to ask",
        )
        for name in ("tempo", "jaeger", "loki", "victorialogs", "prometheus")
    ]
    assert report.arrived
