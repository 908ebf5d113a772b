"""What is lean steps aside where the SDK is not what it was."""

import logging

import pytest
from opentelemetry.sdk._logs import Logger, LoggerProvider, ReadWriteLogRecord
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.trace import Span, Tracer, TracerProvider

from otel_stream.sdk import configure
from otel_stream.sdk.lean import (
    LeanLoggerProvider,
    LeanMeterProvider,
    LeanTracerProvider,
    logs,
    metrics,
    provider_kind,
    spans,
)

LEAN = {"spans": LeanTracerProvider, "logs": LeanLoggerProvider, "metrics": LeanMeterProvider}
OWN = {"spans": TracerProvider, "logs": LoggerProvider, "metrics": MeterProvider}


def with_another_field(init):
    def more(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self._of_the_next_version = 1

    return more


@pytest.mark.parametrize("room", LEAN)
def test_what_comes_out_as_the_sdk_makes_it_is_lean(room):
    assert provider_kind(room) == (LEAN[room], "")


@pytest.mark.parametrize(
    ("room", "owner", "name"),
    [
        ("spans", Tracer, "_is_enabled"),
        ("logs", Logger, "_is_enabled"),
        ("metrics", Histogram, "_is_enabled"),
    ],
)
def test_a_private_name_that_is_gone_leaves_it_to_the_sdk(monkeypatch, room, owner, name):
    found = [base for base in owner.__mro__ if name in vars(base)]
    for base in found:
        monkeypatch.delattr(base, name)
    kind, why = provider_kind(room)
    assert found
    assert kind is OWN[room]
    assert name in why


@pytest.mark.parametrize(("room", "owner"), [("spans", Span), ("logs", ReadWriteLogRecord)])
def test_a_field_that_only_the_sdk_has_leaves_it_to_the_sdk(monkeypatch, room, owner):
    monkeypatch.setattr(owner, "__init__", with_another_field(owner.__init__))
    kind, why = provider_kind(room)
    assert kind is OWN[room]
    assert "_of_the_next_version, which ours has not" in why


@pytest.mark.parametrize(
    ("room", "owner", "name", "different"),
    [
        ("spans", spans.LeanSpan, "dropped_links", 7),
        ("logs", logs.LeanLogRecord, "__init__", lambda self, *_: vars(self).update(context=None, body="b")),
        ("metrics", metrics, "_trace_based", lambda *_: False),
    ],
)
def test_what_comes_out_different_leaves_it_to_the_sdk(monkeypatch, room, owner, name, different):
    monkeypatch.setattr(owner, name, different)
    kind, why = provider_kind(room)
    assert kind is OWN[room]
    assert why.startswith("NotAlikeError: ")


def test_the_handle_and_one_debug_line_say_what_is_not_lean_and_all_arrives(
    http_endpoint, run_something, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG, "otel_stream.sdk")
    monkeypatch.setattr(spans.LeanSpan, "dropped_links", 7)
    handle = configure(endpoint=http_endpoint.url)
    assert list(handle.not_lean) == ["spans"]
    assert "not_lean={'spans': 'NotAlikeError: 7 instead of 0'}" in repr(handle)
    (line,) = [record.getMessage() for record in caplog.records if "own classes" in record.getMessage()]
    assert "spans" in line
    run_something(nodes=2)
    assert handle.shutdown() is True
    assert len(http_endpoint.spans()) == 4
