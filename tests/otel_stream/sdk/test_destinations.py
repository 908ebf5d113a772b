"""Where each signal goes, for every combination of arguments and environment."""

import pytest

from otel_stream.sdk.configure.destinations import destinations, shown_address

GRPC, HTTP = "grpc", "http/protobuf"
E = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({}, {}, [(HTTP, "http://localhost:4318/v1/traces")]),
        ({}, {"protocol": GRPC}, [(GRPC, "localhost:4317")]),
        ({}, {"endpoint": "http://c:4318"}, [(HTTP, "http://c:4318/v1/traces")]),
        ({}, {"endpoint": "http://c:4318/"}, [(HTTP, "http://c:4318/v1/traces")]),
        ({}, {"endpoint": "http://c:4318/v1/traces"}, [(HTTP, "http://c:4318/v1/traces")]),
        ({}, {"endpoint": "http://c:4318/v1/logs"}, [(HTTP, "http://c:4318/v1/traces")]),
        ({}, {"endpoint": "http://c/in?key=k"}, [(HTTP, "http://c/in/v1/traces?key=k")]),
        ({}, {"endpoint": "http://c:4317"}, [(GRPC, "c:4317")]),
        ({}, {"endpoint": "http://c:4317", "protocol": HTTP}, [(HTTP, "http://c:4317/v1/traces")]),
        ({}, {"path": "t.jsonl"}, ["t.jsonl"]),
        ({E + "ENDPOINT": "http://e:4318"}, {"path": "t.jsonl"}, [(HTTP, "http://e:4318/v1/traces")]),
        ({E + "ENDPOINT": ""}, {"path": "t.jsonl"}, ["t.jsonl"]),
        ({"OTEL_TRACES_EXPORTER": " , "}, {"path": "t.jsonl"}, ["t.jsonl"]),
        ({E + "TRACES_ENDPOINT": "http://e:1/x"}, {"endpoint": "http://c:2"}, [(HTTP, "http://e:1/x")]),
        ({E + "TRACES_ENDPOINT": "http://e:1/v1/traces"}, {}, [(HTTP, "http://e:1/v1/traces")]),
        ({E + "LOGS_ENDPOINT": "http://e:1"}, {"path": "t"}, ["t"]),
        ({E + "ENDPOINT": "http://e:4317"}, {}, [(GRPC, "e:4317")]),
        ({E + "ENDPOINT": "e:4317"}, {}, [(GRPC, "e:4317")]),
        ({E + "ENDPOINT": "", E + "PROTOCOL": GRPC}, {}, [(GRPC, "localhost:4317")]),
        ({E + "PROTOCOL": " GRPC "}, {"protocol": HTTP}, [(GRPC, "localhost:4317")]),
        ({E + "PROTOCOL": "http/json"}, {}, [(HTTP, "http://localhost:4318/v1/traces")]),
        (
            {E + "PROTOCOL": GRPC, E + "TRACES_PROTOCOL": HTTP},
            {},
            [(HTTP, "http://localhost:4318/v1/traces")],
        ),
        ({"OTEL_TRACES_EXPORTER": "NONE"}, {"endpoint": "http://c:1"}, []),
        ({"OTEL_LOGS_EXPORTER": "none"}, {}, [(HTTP, "http://localhost:4318/v1/traces")]),
        (
            {"OTEL_TRACES_EXPORTER": "Console, otlp_proto_grpc"},
            {"path": "t"},
            ["console", (GRPC, "localhost:4317")],
        ),
    ],
)
def test_destination_of_traces(environ, arguments, expected):
    found = destinations("traces", environ, **arguments)
    shown = [(one.protocol, one.endpoint) if one.kind == "otlp" else one.path or one.kind for one in found]
    assert shown == expected


@pytest.mark.parametrize("protocol", [GRPC, HTTP])
def test_a_password_is_sent_and_never_shown(protocol):
    address = "https://alice:secret%40pw@c:4318/in?token=hidden"
    (place,) = destinations("logs", {E + "HEADERS": "x-key=k%20v, bad"}, endpoint=address, protocol=protocol)
    assert place.headers == {"x-key": "k v", "authorization": "Basic YWxpY2U6c2VjcmV0QHB3"}
    for shown in (repr(place), place.shown, place.endpoint.partition("?")[0]):
        assert not any(word in shown for word in ("alice", "secret", "hidden"))
    assert "hidden" not in place.without_secrets("no route to c:4318/in?token=hidden")


@pytest.mark.parametrize("address", ["http://my:pa/ss@c:4318", "my:pa?ss@c:4318", "https://my:pa#ss@c/in"])
@pytest.mark.parametrize("field", ["endpoint", E + "ENDPOINT"])
def test_an_address_with_a_password_that_is_not_written_as_one_is_refused_and_not_shown(address, field):
    environ, given = ({}, address) if field == "endpoint" else ({field: address}, None)
    with pytest.raises(ValueError, match=field) as caught:
        destinations("traces", environ, endpoint=given, protocol=GRPC)
    shown = [str(caught.value), shown_address(address)]
    assert [one for one in shown if "my" in one or "pa/" in one or "pa?" in one or "ss@" in one] == []
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_what_the_environment_says_of_the_way_is_followed_and_a_typing_error_is_told(caplog):
    environ = {
        E + "COMPRESSION": "GZIP",
        E + "LOGS_TIMEOUT": "3",
        E + "TIMEOUT": "soon",
        E + "TRACES_COMPRESSION": "brotli",
        E + "METRICS_INSECURE": "TRUE",
        E + "CERTIFICATE": "/ca.pem",
    }
    (logs,) = destinations("logs", environ)
    (traces,) = destinations("traces", environ)
    (metrics,) = destinations("metrics", environ | {E + "ENDPOINT": "c:4317"})
    assert (logs.compression, logs.timeout, logs.certificate) == ("gzip", 3.0, "/ca.pem")
    assert (traces.compression, traces.timeout) == ("none", 10.0)
    assert (metrics.protocol, metrics.insecure, logs.insecure) == (GRPC, True, True)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert ("'soon' is ignored" in said, "'brotli' is not supported" in said) == (True, True)
