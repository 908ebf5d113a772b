"""The way to the endpoint and its answer: real servers, each wrong in one way, and the sentence about it."""

import socket
import ssl
import time
from contextlib import ExitStack
from email.utils import formatdate

import grpc
import pytest
import trustme
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.trace.export import SpanExportResult

from tests.otel_stream.cli.doctor.conftest import said, server_context, traces_over_grpc

ALL = ("traces", "logs", "metrics")


def fates(report):
    return {name: signal.stopped_at or signal.arrived for name, signal in report.signals.items()}


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_run_that_arrives_is_counted_and_has_no_content(
    http_endpoint, grpc_endpoint, monkeypatch, diagnose, protocol
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    endpoint = grpc_endpoint if protocol == "grpc" else http_endpoint
    report = diagnose(endpoint.url)
    assert said(report) == []
    assert [one.check for one in report.findings if one.verdict.state == "ok"] == [
        "packages", "engine", "LangGraph", "host", "port",
        *["answer"] * (1 if protocol == "grpc" else 3), *["export"] * 3,
    ]  # fmt: skip
    assert fates(report) == dict.fromkeys(ALL, True)
    spans, records = endpoint.spans(), endpoint.records()
    assert (report.signals["traces"].exported, report.signals["logs"].exported) == (len(spans), len(records))
    assert {span.trace_id.hex() for span in spans} == {report.trace_id}
    assert {span.name for span in spans} == {
        "invoke_workflow otel-stream-doctor", "superstep", "invoke_node first", "invoke_node second",
    }  # fmt: skip
    assert 'steps":' not in str(records)
    assert "gen_ai.invoke_workflow.duration" in endpoint.metrics()
    assert endpoint.services() == {"otel-stream-doctor"}


def test_a_name_that_nobody_knows(diagnose):
    report = diagnose("http://collector.invalid:4318")
    assert said(report) == [
        (
            "host",
            "stop",
            ALL,
            (
                "There is no host collector.invalid as seen from this machine. "
                "Correct the name in ENDPOINT; in a container, use the name of the Collector's service."
            ),
        )
    ]
    assert fates(report) == dict.fromkeys(ALL, "host")


def test_a_port_that_refuses(diagnose, refusing, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{refusing}")
    assert said(diagnose()) == [
        (
            "port",
            "stop",
            ALL,
            (
                f"Nothing listens on port {refusing} of this machine; in a container, "
                "that means the container. "
                "Start a Collector there (otel-stream backends up), or correct OTEL_EXPORTER_OTLP_ENDPOINT."
            ),
        )
    ]


def test_a_port_that_does_not_even_refuse(diagnose):
    # As behind a firewall: a queue that is full lets nobody in, and tells nobody.
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(place)
        report = diagnose(f"http://127.0.0.1:{place[1]}", patience=0.5)
    assert said(report) == [
        (
            "port",
            "stop",
            ALL,
            (
                f"Nothing answers at 127.0.0.1:{place[1]}, not even to refuse; a firewall may swallow it. "
                f"Correct host and port in ENDPOINT, or let the firewall pass port {place[1]}."
            ),
        )
    ]


def test_each_signal_goes_its_own_way(diagnose, refusing, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http_endpoint.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"http://127.0.0.1:{refusing}/v1/logs")
    report = diagnose()
    assert [(check, signals) for check, _, signals, _ in said(report)] == [("port", ("logs",))]
    assert "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT." in said(report)[0][3]
    assert fates(report) == {"traces": True, "logs": "port", "metrics": True}
    assert (len(http_endpoint.records()), len(http_endpoint.spans())) == (
        0,
        report.signals["traces"].exported,
    )


def test_something_that_takes_connections_and_says_nothing(diagnose, silent):
    report = diagnose(f"http://127.0.0.1:{silent}", patience=0.3)
    assert {(check, message) for check, _, _, message in said(report)} == {
        (
            "answer",
            (
                f"127.0.0.1:{silent} takes the connection, and then neither HTTP nor gRPC is spoken. "
                "Is it the port of an OTLP endpoint? Correct ENDPOINT."
            ),
        )
    }


# -- the wrong protocol ----------------------------------------------------------------------------


def test_http_to_a_port_for_grpc(diagnose, grpc_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    place = grpc_endpoint.url.removeprefix("http://")
    assert said(diagnose(grpc_endpoint.url)) == [
        (
            "answer",
            "stop",
            (signal,),
            (
                f"{place} speaks gRPC, and is spoken to over HTTP. "
                "Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or write the port for HTTP into "
                "ENDPOINT, usually 4318."
            ),
        )
        for signal in ALL
    ]


def test_grpc_to_a_port_for_http(diagnose, http_endpoint, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    place = http_endpoint.url.removeprefix("http://")
    assert said(diagnose(http_endpoint.url)) == [
        (
            "answer",
            "stop",
            ALL,
            (
                f"{place} speaks HTTP, and is spoken to over gRPC. Set "
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, "
                "or write the port for gRPC into ENDPOINT, usually 4317."
            ),
        )
    ]


# -- TLS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_https_to_a_server_without_tls(diagnose, http_endpoint, grpc_endpoint, monkeypatch, protocol):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    endpoint = grpc_endpoint if protocol == "grpc" else http_endpoint
    place = endpoint.url.removeprefix("http://")
    assert said(diagnose(f"https://{place}")) == [
        (
            "TLS",
            "stop",
            ALL,
            f"{place} speaks no TLS, and the endpoint says https. Write http://{place} into ENDPOINT.",
        )
    ]


def test_grpc_without_a_scheme_means_tls(diagnose, grpc_endpoint, monkeypatch):
    place = grpc_endpoint.url.removeprefix("http://")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", place)
    assert said(diagnose()) == [
        (
            "TLS",
            "stop",
            ALL,
            (
                f"{place} speaks no TLS, and gRPC uses it unless the endpoint says http://. "
                f"Write http://{place} into OTEL_EXPORTER_OTLP_ENDPOINT."
            ),
        )
    ]


def test_http_to_a_server_that_expects_tls(diagnose, replies, authority):
    server = replies(server_context(authority))
    report = diagnose(f"http://127.0.0.1:{server.port}")
    assert {message for *_, message in said(report)} == {
        (
            f"127.0.0.1:{server.port} expects TLS, and is spoken to without. "
            f"Write https://127.0.0.1:{server.port} into ENDPOINT."
        )
    }
    assert server.got == []


def test_a_certificate_of_an_authority_that_is_not_trusted(diagnose, replies, authority):
    server = replies(server_context(authority))
    assert said(diagnose(server.url)) == [
        (
            "TLS",
            "stop",
            ALL,
            (
                f"The certificate of 127.0.0.1:{server.port} comes from an authority "
                "that is not trusted here. "
                "Set OTEL_EXPORTER_OTLP_CERTIFICATE to a file with the certificate of that authority."
            ),
        )
    ]


def test_the_authority_being_trusted_is_the_remedy(diagnose, replies, authority, authority_file, monkeypatch):
    server = replies(server_context(authority))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority_file)
    report = diagnose(server.url)
    assert (said(report), fates(report)) == ([], dict.fromkeys(ALL, True))


def test_an_authority_that_is_overruled(diagnose, replies, authority, authority_file, monkeypatch, tmp_path):
    server = replies(server_context(authority))
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority_file)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    assert [message for *_, message in said(diagnose(server.url))] == [
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE is not heeded, for REQUESTS_CA_BUNDLE "
            "wins over it, and does not trust "
            f"127.0.0.1:{server.port}. "
            "Unset REQUESTS_CA_BUNDLE for this program, or add the certificate to the file that it names."
        )
    ]
    # That is what the exporter does, too.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    exported = OTLPSpanExporter(timeout=0.5).export([])
    assert (exported, server.got) == (SpanExportResult.FAILURE, [])
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert OTLPSpanExporter(timeout=5).export([]) is SpanExportResult.SUCCESS


def test_the_same_over_grpc(diagnose, authority, authority_file, monkeypatch):
    issued = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())]
    )
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    with traces_over_grpc(credentials=credentials) as place:
        distrusted = diagnose(f"https://{place}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority_file)
        trusted = diagnose(f"https://{place}")
    assert (fates(distrusted)["traces"], fates(trusted)["traces"]) == ("TLS", True)


def test_a_certificate_that_is_signed_by_itself(diagnose, replies, authority, tmp_path):
    # An authority's own certificate is one; trustme lets nobody serve it, so its key is borrowed.
    pem = tmp_path / "self.pem"
    pem.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = replies(context)
    assert [message for *_, message in said(diagnose(server.url))] == [
        (
            f"The certificate of 127.0.0.1:{server.port} is signed by itself, and "
            "nothing here says to trust it. "
            "Set OTEL_EXPORTER_OTLP_CERTIFICATE to a file with that certificate."
        )
    ]


def test_a_certificate_for_another_name(diagnose, replies, authority, authority_file, monkeypatch):
    server = replies(server_context(authority, "collector.example"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority_file)
    assert [message for *_, message in said(diagnose(server.url))] == [
        (
            f"The certificate of 127.0.0.1:{server.port} is not for this IP "
            "address. Write the name that is in the "
            "certificate into the endpoint, or have it issued for 127.0.0.1."
        )
    ]
    assert [message for *_, message in said(diagnose(f"https://localhost:{server.port}"))] == [
        (
            f"The certificate of localhost:{server.port} is for another name. Write the name that is in the "
            "certificate into the endpoint, or have it issued for localhost."
        )
    ]


def test_a_file_of_certificates_that_is_not_there(diagnose, replies, authority, monkeypatch):
    server = replies(server_context(authority))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "nowhere.pem")
    assert [message for *_, message in said(diagnose(server.url))] == [
        (
            "A file of certificates can't be read, or holds none. "
            "Correct OTEL_EXPORTER_OTLP_CERTIFICATE='nowhere.pem'."
        )
    ]


def test_a_server_that_wants_a_certificate_of_the_client(
    diagnose, replies, authority, authority_file, monkeypatch, tmp_path
):
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    server = replies(context)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority_file)
    assert {message for *_, message in said(diagnose(server.url))} == {
        (
            f"127.0.0.1:{server.port} wants to see a certificate of the client. "
            "Set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY to files with one."
        )
    }
    issued = authority.issue_cert("client.example")
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(certificate))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(key))
    report = diagnose(server.url)
    assert (said(report), fates(report)) == ([], dict.fromkeys(ALL, True))


# -- answers ---------------------------------------------------------------------------------------


def test_credentials_that_are_missing_and_that_are_wrong(diagnose, replies, monkeypatch):
    server = replies()
    server.status = 401
    assert said(diagnose(server.url)) == [
        (
            "answer",
            "stop",
            (signal,),
            (
                f"{server.url}/v1/{signal} wants credentials, and is given none. "
                'Set OTEL_EXPORTER_OTLP_HEADERS, such as "authorization=Bearer%20TOKEN".'
            ),
        )
        for signal in ALL
    ]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20geheim")
    report = diagnose(server.url)
    assert said(report)[0][3] == (
        f"{server.url}/v1/traces does not accept the credentials that it is given (header authorization). "
        "Correct OTEL_EXPORTER_OTLP_HEADERS; a blank in a value may have to be written as %20."
    )
    assert server.got[-1][1]["authorization"] == "Bearer geheim"
    assert b"geheim" not in report.to_json()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            403,
            (
                "{url}/v1/traces knows who asks, and does not allow traces. "
                "Use credentials that may write traces; they are in OTEL_EXPORTER_OTLP_HEADERS."
            ),
        ),
        (
            404,
            (
                "Something answers at {url}/v1/traces, but takes no OTLP there. "
                "Correct host, port and path in ENDPOINT; a Collector takes OTLP at "
                "port 4318, without a path."
            ),
        ),
        (
            415,
            (
                "{url}/v1/traces does not take OTLP as protobuf. "
                "Give the address of an OTLP endpoint, such as a Collector's port 4318, in ENDPOINT."
            ),
        ),
        (
            429,
            (
                "{url}/v1/traces takes no more for now: it is overloaded, or a quota is used up. "
                "Send less, or give the Collector more memory."
            ),
        ),
        (500, "{url}/v1/traces failed. Look into the log of the server there."),
        (
            502,
            (
                "A proxy answers at {url}/v1/traces, and finds no Collector behind it. "
                "Start the Collector, or correct the proxy."
            ),
        ),
        (
            503,
            (
                "{url}/v1/traces takes nothing now: a Collector says so when its "
                "memory limit or queue is full. "
                "Look into its log, and at what stands behind it."
            ),
        ),
        (418, "{url}/v1/traces refuses traces: 418. Look into the log of the server there."),
    ],
)
def test_what_a_status_of_http_means(diagnose, replies, status, message):
    server = replies()
    server.status = status
    assert said(diagnose(server.url))[0] == ("answer", "stop", ("traces",), message.format(url=server.url))


@pytest.mark.parametrize(
    ("code", "beginning"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "http://{place} wants credentials, and is given none."),
        (grpc.StatusCode.PERMISSION_DENIED, "http://{place} knows who asks, and does not allow traces."),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "http://{place} takes no more for now:"),
        (grpc.StatusCode.UNAVAILABLE, "http://{place} takes nothing now:"),
        (grpc.StatusCode.DATA_LOSS, "http://{place} refuses traces: DATA_LOSS."),
    ],
)
def test_what_a_code_of_grpc_means(diagnose, monkeypatch, code, beginning):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with traces_over_grpc(code) as place:
        check, state, signals, message = said(diagnose(f"http://{place}"))[0]
    assert (check, state, signals) == ("answer", "stop", ("traces",))
    assert message.startswith(beginning.format(place=place))


def test_a_collector_without_a_pipeline_for_one_signal_over_http(diagnose, replies):
    server = replies()
    server.paths = {"/v1/logs": 404}
    report = diagnose(server.url)
    assert said(report) == [
        (
            "answer",
            "stop",
            ("logs",),
            (
                f"The Collector at 127.0.0.1:{server.port} has no pipeline for logs, "
                "though it takes traces and metrics. "
                "Add logs with its OTLP receiver to service.pipelines of its configuration, "
                "or set OTEL_LOGS_EXPORTER=none."
            ),
        )
    ]
    assert fates(report) == {"traces": True, "logs": "answer", "metrics": True}


def test_a_collector_with_a_pipeline_for_traces_alone_over_grpc(diagnose, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with traces_over_grpc() as place:
        report = diagnose(f"http://{place}")
    assert [message.partition(". ")[0] for *_, message in said(report)] == [
        f"The Collector at {place} has no pipeline for {signal}, though it takes traces"
        for signal in ("logs", "metrics")
    ]
    assert fates(report) == {"traces": True, "logs": "answer", "metrics": "answer"}


def test_an_endpoint_of_one_signal_without_its_path(diagnose, replies, monkeypatch):
    server = replies()
    server.paths = {"/": 404}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.url)
    assert said(diagnose()) == [
        (
            "answer",
            "stop",
            ("traces",),
            (
                f"Nothing takes traces at {server.url}/: "
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is. "
                "End it with /v1/traces, or set OTEL_EXPORTER_OTLP_ENDPOINT without a path instead."
            ),
        )
    ]


def test_an_endpoint_elsewhere_that_takes_other_signals_says_nothing_about_this_one(
    diagnose, replies, http_endpoint, monkeypatch
):
    server = replies()
    server.status = 404
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", http_endpoint.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"{server.url}/v1/logs")
    assert [message.partition(". ")[0] for *_, message in said(diagnose())] == [
        f"Something answers at {server.url}/v1/logs, but takes no OTLP there"
    ]


def test_a_web_page_that_takes_everything(diagnose, replies):
    server = replies()
    server.content_type, server.text = "text/html; charset=utf-8", b"<html>welcome</html>"
    assert said(diagnose(server.url))[0][3] == (
        f"A web page answers at {server.url}/v1/traces, not an OTLP endpoint, "
        "and telemetry would be lost unnoticed. "
        "Give the address of an OTLP endpoint, such as a Collector's port 4318, in ENDPOINT."
    )


def test_an_address_that_has_moved(diagnose, replies):
    server = replies()
    server.status, server.location = 301, "https://collector.example/otlp?token=geheim"
    report = diagnose(server.url)
    assert said(report)[0][3] == (
        f"{server.url}/v1/traces sends us elsewhere, where an export would not arrive. "
        "Write the address itself into ENDPOINT: https://collector.example/otlp."
    )
    assert b"geheim" not in report.to_json()


def test_a_success_with_a_reservation(diagnose, replies, monkeypatch):
    server = replies()
    answer = trace_service_pb2.ExportTraceServiceResponse()
    answer.partial_success.error_message = "attributes are cut at 100 bytes."
    server.text = answer.SerializeToString()
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    report = diagnose(server.url)
    assert [(state, message) for check, state, _, message in said(report) if check == "answer"] == [
        (
            "note",
            (
                f"{server.url}/v1/traces takes traces with a reservation: attributes are cut at 100 bytes. "
                "Change what it complains about."
            ),
        )
    ]
    assert fates(report)["traces"] is True


def test_a_clock_that_is_wrong(diagnose, replies):
    server = replies()
    server.date = formatdate(time.time() + 7205, usegmt=True)
    report = diagnose(server.url)
    _, state, _, message = said(report)[0]
    assert (state, fates(report)) == ("note", dict.fromkeys(ALL, True))
    assert message.startswith("The clock of 127.0.0.1 is 7,20")
    assert message.endswith(
        " s ahead of this machine's. "
        "Set both by NTP: runs are looked for at the wrong time, and old log events may be refused."
    )


def test_an_empty_export_that_is_refused_proves_nothing(diagnose, replies):
    server = replies()
    server.status = 400
    report = diagnose(server.url)
    assert [(check, state, signals) for check, state, signals, _ in said(report)] == [
        ("export", "stop", (signal,)) for signal in ALL
    ]
    assert said(report)[0][3] == (
        "The endpoint answers, but does not take the run's spans. Look at what it answers, and into its log."
    )
    assert "400" in report.findings[-3].verdict.seen


def test_what_a_server_says_can_neither_hurt_the_terminal_nor_repeat_a_secret(diagnose, replies, monkeypatch):
    server = replies()
    server.status, server.content_type = 500, "text/plain"
    server.text = b"\x1b]0;owned\x07 you sent Bearer geheim\nand more"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20geheim")
    report = diagnose(server.url)
    seen = [one.verdict.seen for one in report.findings if one.check == "answer"]
    assert seen == ["500 ]0;owned you sent ***"] * 3


def test_a_password_in_the_endpoint_is_used_and_not_shown(diagnose, replies):
    server = replies()
    server.status = 401
    report = diagnose(f"http://me:geheim@127.0.0.1:{server.port}")
    assert server.got[0][1]["authorization"] == "Basic bWU6Z2VoZWlt"
    assert b"geheim" not in report.to_json()


def test_a_password_in_the_endpoint_is_not_shown_when_the_run_is_lost_either(diagnose, replies):
    server = replies()
    server.status = 400
    report = diagnose(f"http://me:geheim@127.0.0.1:{server.port}")
    assert fates(report) == dict.fromkeys(ALL, "export")
    assert b"geheim" not in report.to_json()
