"""Content leaves the process where that was asked for, and nowhere else: every exported byte is searched."""

import os
import subprocess
import sys
from contextvars import copy_context
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from otel_stream import events as e
from otel_stream.encoding import decode
from otel_stream.stream.modes import StreamPart
from otel_stream.telemetry import TelemetryOptions, consumer_for_run
from tests.otlp_servers import attributes, http_server

ROOT = Path(__file__).parents[3]
PROGRAM = """
import asyncio, operator, sys
from typing import Annotated, Any, TypedDict
from langchain_core.messages import AIMessageChunk
from engine import START, StateGraph, emit_message, get_stream_writer, add_messages
from otel_stream import configure
from otel_stream.config import MODES
from otel_stream.telemetry import Redaction, resolve, set_options

path, capture, *rules = sys.argv[1:]
handle = configure("service", path=path)
redaction = eval(rules[0]) if rules else None
set_options(resolve(capture_content=capture == "on", modes=[*MODES], redaction=redaction))

class State(TypedDict, total=False):
    text: str
    nested: dict[str, Any]
    messages: Annotated[list[Any], add_messages]

def speak(state):
    for word in ("can", "ary-message"):
        emit_message(AIMessageChunk(word, id="m"))
    get_stream_writer()({"said": "canary-custom", "canary-key": 1})
    nested = {"deep": ["canary-nested"], "canary-name": 1}
    return {"text": state["text"] + "canary-returned", "nested": nested}

def fail(state):
    raise RuntimeError("canary-exception")

graph = StateGraph(State).add_node("speak", speak).add_node("fail", fail)
graph = graph.add_edge(START, "speak").add_edge("speak", "fail").compile(name="g")
config = {"tags": ["canary-tag"], "metadata": {"who": "canary-metadata"}}
input = {"text": "canary-state" + "x" * 600, "messages": [("user", "canary-input")]}
try:
    asyncio.run(graph.ainvoke(input, config))
except RuntimeError:
    pass
handle.shutdown()
"""
PLACES = (
    "canary-state", "canary-input", "canary-message", "canary-custom", "canary-key", "canary-returned",
    "canary-nested", "canary-name", "canary-exception", "canary-metadata",
)  # fmt: skip


def exported(folder, *arguments):
    """Run the program and return all bytes that it exported: traces, log events and metrics."""
    path = folder / "file"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    text = path.read_text()
    assert all(f'"{kind}"' in text for kind in ("resourceSpans", "resourceLogs", "resourceMetrics"))
    return text


def test_by_default_no_content_leaves_the_process(tmp_path):
    assert "canary" not in exported(tmp_path, "off")


def test_captured_content_is_there(tmp_path):
    text = exported(tmp_path, "on")
    assert [place for place in PLACES if place not in text] == []


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("Redaction(patterns='(?i)canary[-a-z]*')", []),
        # A function is shown values; keys are for patterns to mask.
        ("Redaction(call=lambda path, value: 1 / 0)", ["canary-key", "canary-name"]),
        (
            "Redaction(['text', 'nested', 'messages', 'custom', 'exception', 'tags', 'error', 'who'])",
            [],
        ),
    ],
)
def test_what_is_redacted_leaves_nothing(tmp_path, rules, left):
    text = exported(tmp_path, "on", rules)
    assert [place for place in (*PLACES, "canary-tag") if place in text] == left


def test_what_is_redacted_leaves_the_rest(tmp_path):
    text = exported(tmp_path, "on", "Redaction(['nested.deep', 'said'])")
    assert [place for place in PLACES if place not in text] == ["canary-custom", "canary-nested"]


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")

    def __len__(self):
        raise RuntimeError("no")


def _loop():
    loop = {}
    loop["self"] = [loop]
    return loop


@pytest.mark.parametrize("content", [True, False])
def test_whatever_a_body_is_made_of_its_neighbours_arrive(content):
    """One batch over real OTLP: what can't be encoded and what is enormous cost nobody else a place."""
    bad = [
        Hostile(),
        _loop(),
        "\ud800",
        "x" * 20_000_000,
        {"n": 10**400},
        float("nan"),
        {Hostile(): {b"\xff"}},
    ]
    with http_server() as endpoint:
        provider = LoggerProvider(shutdown_on_exit=False)
        exporter = OTLPLogExporter(endpoint=f"{endpoint.url}/v1/logs")
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        options = TelemetryOptions(event_content=content)
        consumer = consumer_for_run(logger_provider=provider, options=options)
        run = e.Run("run-1", "g", context=copy_context())
        consumer.on_event(e.RunStarted(run, {}, False, 1))
        data = [one for each in bad for one in ({"fine": 1}, each)]
        for mode in ("custom", "values"):
            for seq, one in enumerate(data):
                part = StreamPart(mode, (), one, seq, 1, "run-1", "g", 1)
                consumer.on_part(part, e.ValuesChanged(run, 1, one, 1))
        provider.shutdown()
        found = [(attributes(record), record.body.string_value) for record in endpoint.records()]
    assert consumer.failures == 0
    for mode in ("custom", "values"):
        mine = [
            (about["graph.stream.seq"], body) for about, body in found if about["graph.stream.mode"] == mode
        ]
        assert sorted({seq for seq, _ in mine}) == list(range(len(data)))
        fine = {decode(body)["fine"] if content else len(body) for seq, body in mine if seq % 2 == 0}
        assert len(fine) == 1
    assert max(len(body.encode()) for _, body in found) <= options.max_body_bytes
