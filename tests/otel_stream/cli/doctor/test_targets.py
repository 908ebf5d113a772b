"""What the doctor tries is what the exporters do: compared with the exporters themselves."""

import os

import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcTraces
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpTraces

from otel_stream.cli.doctor.targets import target
from otel_stream.sdk.configure.destinations import destinations

HTTP = {"traces": HttpTraces, "logs": HttpLogs, "metrics": HttpMetrics}
GRPC = {"traces": GrpcTraces, "logs": GrpcLogs, "metrics": GrpcMetrics}

BASE, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.mark.parametrize(
    ("endpoint", "variables"),
    [
        (None, {}),
        (None, {BASE: "http://h:1"}),
        (None, {BASE: "http://h:1/"}),
        (None, {BASE: "https://h/otlp"}),
        (None, {BASE: "http://h:1", TRACES: "https://i:2/x?y=z"}),
        (None, {BASE: "http://[::1]:1"}),
        ("http://h:1/otlp", {}),
        ("https://h:1", {HEADERS: "a=b,C=d%20e", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "f=g"}),
        ("https://h:1", {"OTEL_EXPORTER_OTLP_CERTIFICATE": "a", "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE": "b"}),
    ],
)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_over_http(monkeypatch, endpoint, variables, signal):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (place,) = destinations(signal, os.environ, endpoint=endpoint, protocol="http/protobuf")
    tried = target(signal, place, os.environ)
    exporter = HTTP[signal]() if place.endpoint is None else HTTP[signal](endpoint=place.endpoint)
    port = {80: "", 443: ""}.get(tried.port, f":{tried.port}")
    host = f"[{tried.host}]" if ":" in tried.host else tried.host
    assert f"{'https' if tried.tls else 'http'}://{host}{port}{tried.path}" == exporter._endpoint
    own = {name: value for name, value in exporter._client._headers.items() if name in tried.headers}
    assert tried.headers == own
    assert set(exporter._client._headers) - set(own) <= {"content-type", "user-agent"}
    assert (tried.certificate or True) == exporter._client._transport._session.verify
    exporter.shutdown()


@pytest.mark.parametrize(
    ("endpoint", "variables"),
    [
        (None, {}),
        (None, {BASE: "http://h:1"}),
        (None, {BASE: "https://h:1"}),
        (None, {BASE: "h:1"}),
        (None, {BASE: "h:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"}),
        (None, {BASE: "http://h:1", "OTEL_EXPORTER_OTLP_INSECURE": "false"}),
        (None, {BASE: "http://h:1", "OTEL_EXPORTER_OTLP_TRACES_INSECURE": "false"}),
        (None, {BASE: "https://h:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"}),
        (None, {BASE: "http://h:1", TRACES: "https://i:2"}),
        ("http://h:1", {HEADERS: "a=b,C=d%20e", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "f=g"}),
    ],
)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_over_grpc(monkeypatch, endpoint, variables, signal):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (place,) = destinations(signal, os.environ, endpoint=endpoint, protocol="grpc")
    # What is only an argument of configure() is not in the environment.
    tried = target(signal, place, os.environ)
    exporter = GRPC[signal]() if place.endpoint is None else GRPC[signal](endpoint=place.endpoint)
    assert (tried.place, not tried.tls) == (exporter._endpoint, exporter._insecure)
    assert {name.lower(): value for name, value in exporter._headers} == tried.headers
    exporter.shutdown()


@pytest.mark.parametrize(
    ("url", "protocol", "port"),
    [
        ("http://h", "http/protobuf", 80),
        ("https://h", "http/protobuf", 443),
        # gRPC's own default, whatever the scheme says.
        ("http://h", "grpc", 443),
        ("https://h", "grpc", 443),
    ],
)
def test_the_port_of_an_endpoint_without_one(url, protocol, port):
    (place,) = destinations("traces", {}, endpoint=url, protocol=protocol)
    assert target("traces", place, {}).port == port
