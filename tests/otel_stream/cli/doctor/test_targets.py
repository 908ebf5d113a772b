"""What the doctor tries is where configure() sends: taken from the same destinations."""

import pytest

from otel_stream.cli.doctor.targets import target
from otel_stream.sdk.configure.destinations import destinations

BASE, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
INSECURE = "OTEL_EXPORTER_OTLP_INSECURE"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
CERTIFICATE = "OTEL_EXPORTER_OTLP_CERTIFICATE"


def tried(signal, variables, endpoint=None, protocol="http/protobuf"):
    (place,) = destinations(signal, variables, endpoint=endpoint, protocol=protocol)
    return target(signal, place)


@pytest.mark.parametrize(
    ("endpoint", "variables", "url", "variable"),
    [
        (None, {}, "http://localhost:4318/v1/logs", ""),
        (None, {BASE: "http://h:1"}, "http://h:1/v1/logs", BASE),
        (None, {BASE: "http://h:1/"}, "http://h:1/v1/logs", BASE),
        (None, {BASE: "https://h/otlp"}, "https://h:443/otlp/v1/logs", BASE),
        (None, {BASE: "http://h:1", TRACES: "https://i:2/x?y=z"}, "http://h:1/v1/logs", BASE),
        (None, {BASE: "http://[::1]:1"}, "http://[::1]:1/v1/logs", BASE),
        ("http://h:1/otlp", {}, "http://h:1/otlp/v1/logs", "ENDPOINT"),
        ("http://h", {}, "http://h:80/v1/logs", "ENDPOINT"),
    ],
)
def test_over_http(endpoint, variables, url, variable):
    one = tried("logs", variables, endpoint)
    assert (one.url, one.variable, one.tls) == (url, variable, url.startswith("https"))


def test_the_address_of_one_signal_is_used_as_it_is():
    one = tried("traces", {BASE: "http://h:1", TRACES: "https://i:2/x?y=z"})
    assert (one.place, one.path, one.tls, one.variable) == ("i:2", "/x?y=z", True, TRACES)


@pytest.mark.parametrize(
    ("endpoint", "variables", "place", "tls", "scheme"),
    [
        (None, {}, "localhost:4317", False, "http"),
        (None, {BASE: "http://h:1"}, "h:1", False, "http"),
        (None, {BASE: "https://h:1"}, "h:1", True, "https"),
        (None, {BASE: "h:1"}, "h:1", True, ""),
        (None, {BASE: "h:1", INSECURE: "true"}, "h:1", False, ""),
        (None, {BASE: "https://h:1", INSECURE: "true"}, "h:1", True, "https"),
        ("http://h:1", {}, "h:1", False, "http"),
        # gRPC's own default, whatever the scheme says.
        ("http://h", {}, "h:443", False, "http"),
        ("https://h", {}, "h:443", True, "https"),
    ],
)
def test_over_grpc(endpoint, variables, place, tls, scheme):
    one = tried("metrics", variables, endpoint, "grpc")
    assert (one.place, one.tls, one.scheme) == (place, tls, scheme)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_headers_and_certificates_are_those_of_the_signal(protocol):
    variables = {
        BASE: "https://h:1",
        HEADERS: "a=b,C=d%20e",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "f=g",
        CERTIFICATE: "all.pem",
        "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE": "logs.pem",
    }
    found = {signal: tried(signal, variables, protocol=protocol) for signal in ("traces", "logs", "metrics")}
    assert {signal: one.headers for signal, one in found.items()} == {
        "traces": {"f": "g"},
        "logs": {"a": "b", "c": "d e"},
        "metrics": {"a": "b", "c": "d e"},
    }
    assert {signal: one.certificate for signal, one in found.items()} == {
        "traces": "all.pem",
        "logs": "logs.pem",
        "metrics": "all.pem",
    }
