"""Where each signal goes, for every combination of arguments and environment."""

import pytest

from otel_stream.sdk.configure.destinations import Destination, destinations

GRPC, HTTP = "grpc", "http/protobuf"
E = "OTEL_EXPORTER_OTLP_"


def otlp(shown, protocol, endpoint=None):
    return Destination("otlp", f"{shown} ({protocol})", protocol, endpoint)


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({}, {}, [otlp("http://localhost:4318", HTTP)]),
        ({}, {"protocol": GRPC}, [otlp("http://localhost:4317", GRPC)]),
        ({}, {"endpoint": "http://c:4318"}, [otlp("http://c:4318", HTTP, "http://c:4318/v1/traces")]),
        ({}, {"endpoint": "http://c:4318/"}, [otlp("http://c:4318/", HTTP, "http://c:4318/v1/traces")]),
        ({}, {"endpoint": "http://c:4317"}, [otlp("http://c:4317", GRPC, "http://c:4317")]),
        (
            {},
            {"endpoint": "http://c:4317", "protocol": HTTP},
            [otlp("http://c:4317", HTTP, "http://c:4317/v1/traces")],
        ),
        ({}, {"path": "t.jsonl"}, [Destination("file", "t.jsonl", path="t.jsonl")]),
        ({E + "ENDPOINT": "http://e:4318"}, {"path": "t.jsonl"}, [otlp("http://e:4318", HTTP)]),
        ({E + "TRACES_ENDPOINT": "http://e:1/x"}, {"endpoint": "http://c:2"}, [otlp("http://e:1/x", HTTP)]),
        ({E + "LOGS_ENDPOINT": "http://e:1"}, {"path": "t"}, [Destination("file", "t", path="t")]),
        ({E + "ENDPOINT": "http://e:4317"}, {}, [otlp("http://e:4317", GRPC)]),
        ({E + "ENDPOINT": "e:4317"}, {}, [otlp("e:4317", GRPC)]),
        ({E + "PROTOCOL": " GRPC "}, {"protocol": HTTP}, [otlp("http://localhost:4317", GRPC)]),
        ({E + "PROTOCOL": GRPC, E + "TRACES_PROTOCOL": HTTP}, {}, [otlp("http://localhost:4318", HTTP)]),
        ({"OTEL_TRACES_EXPORTER": "none"}, {"endpoint": "http://c:1"}, []),
        ({"OTEL_LOGS_EXPORTER": "none"}, {}, [otlp("http://localhost:4318", HTTP)]),
        (
            {"OTEL_TRACES_EXPORTER": "console, otlp_proto_grpc"},
            {"path": "t"},
            [Destination("console", "console"), otlp("http://localhost:4317", GRPC)],
        ),
    ],
)
def test_destination_of_traces(environ, arguments, expected):
    assert destinations("traces", environ, **arguments) == expected
