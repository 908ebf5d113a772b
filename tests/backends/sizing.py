"""Measure what docs/sizing.md says: a run in spans, log events and bytes, and what it costs a gateway.

``.venv/bin/python -m tests.backends.sizing`` (after ``make backends``; takes minutes). CPU time is that of
the gateway's process alone, so other work on the machine hardly shows; its backends only take and discard.
"""

import os
import subprocess
import sys
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from backends import places
from backends.ports import free
from backends.programs import url
from tests.backends.collectors import Collector
from tests.backends.polling import eventually
from tests.backends.tee import Passed, tee

#: An agent that calls a tool ten times: 22 supersteps of one node, a list of messages that grows.
AGENT = """
import operator
from typing import Annotated, TypedDict
from engine import END, START, StateGraph
from otel_stream import configure

class State(TypedDict):
    turns: int
    messages: Annotated[list[str], operator.add]

def model(state): return {"turns": state["turns"] + 1, "messages": ["thought " * 20]}
def tool(state): return {"messages": ["result " * 40]}
def prepare(state): return {"turns": 0}
def answer(state): return {"messages": ["answer " * 40]}

graph = StateGraph(State)
for node in (prepare, model, tool, answer):
    graph.add_node(node.__name__, node)
graph.add_edge(START, "prepare")
graph.add_edge("prepare", "model")
graph.add_conditional_edges("model", lambda state: "tool" if state["turns"] <= 10 else "answer")
graph.add_edge("tool", "model")
graph.add_edge("answer", END)
with_telemetry = configure("sizing")
graph.compile(name="agent").invoke({"messages": []}, {"recursion_limit": 50})
with_telemetry.shutdown()
"""

DEMO = [sys.executable, "-m", "otel_stream.cli", "demo", "--limit", "20", "--json"]
#: Takes everything, keeps nothing.
SINK = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "${env:OTEL_STREAM_GRPC}"}
      http: {endpoint: "${env:OTEL_STREAM_HTTP}"}
  otlp/backends:
    protocols:
      http:
        endpoint: ${env:OTEL_STREAM_SHARD}
        logs_url_path: /insert/opentelemetry/v1/logs
        metrics_url_path: /api/v1/otlp/v1/metrics
exporters: {nop: {}}
extensions: {health_check: {endpoint: "${env:OTEL_STREAM_HEALTH}"}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [nop]}
    metrics: {receivers: [otlp, otlp/backends], exporters: [nop]}
    logs: {receivers: [otlp, otlp/backends], exporters: [nop]}
"""
#: Runs in one request, as an agent's Collector batches them.
BATCH = 20
#: Spans that are sent, and about as many log events: some seconds of CPU time.
SPANS = 200_000


class Run(NamedTuple):
    """One run, serialised as OTLP: its trace id in the bytes is ``trace_id``."""

    trace_id: bytes
    #: How many such runs are sent to a gateway.
    copies: int
    spans: int
    logs: int
    traces_payload: bytes
    logs_payload: bytes
    logs_with_content: int


def run_of(command: list[str], content: str) -> Passed:
    """Run a program against an endpoint that keeps what it sends."""
    with sink() as behind, tee(behind.endpoint) as passed:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": passed.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": content,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return passed


def measure(command: list[str]) -> Run:
    """Return a run without content, and the size of its log events with it."""
    plain, full = (run_of(command, content) for content in ("NO_CONTENT", "SPAN_AND_EVENT"))
    spans = plain.spans()
    return Run(
        bytes.fromhex(spans[0].trace_id),
        SPANS // len(spans) // BATCH * BATCH,
        len(spans),
        len(plain.logs()),
        payload(plain, "resource_spans"),
        payload(plain, "resource_logs"),
        len(payload(full, "resource_logs")),
    )


def payload(passed: Passed, signal: str) -> bytes:
    return b"".join(r.SerializeToString() for r in passed.requests if hasattr(r, signal))


@contextmanager
def sink() -> Iterator[Collector]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "sink.yaml"
        file.write_text(SINK)
        collector = Collector(file, free(), folder, {}).start()
        try:
            yield collector
        finally:
            collector.stop()


class Cost(NamedTuple):
    """Of one run in a gateway: CPU time in µs for traces and for log events; heap while held, in bytes."""

    traces: float
    logs: float
    held: float


def cost(run: Run) -> Cost:
    """Send many copies of a run, each with a trace id of its own, through a gateway that holds them all."""
    with sink() as behind, tempfile.TemporaryDirectory() as folder:
        target = f"127.0.0.1:{behind.ports['grpc']}"
        variables = {
            "OTEL_STREAM_JAEGER": target,
            "OTEL_STREAM_VICTORIALOGS": url(behind.ports["shard"]),
            "OTEL_STREAM_PROMETHEUS": url(behind.ports["shard"]),
            "OTEL_STREAM_DECISION_WAIT_AFTER_ROOT": "30s",
        }
        file = places.configurations() / "jaeger-victorialogs" / "gateway.yaml"
        gateway = Collector(file, free(), Path(folder), variables).start()
        try:
            idle, heap = cpu(gateway), gateway.counter("otelcol_process_runtime_heap_alloc_bytes")
            send(gateway, run, "/v1/logs", run.logs_payload)
            settle(gateway, "otelcol_exporter_sent_log_records", run.logs * run.copies)
            after_logs = cpu(gateway)
            send(gateway, run, "/v1/traces", run.traces_payload)
            settle(gateway, "otelcol_processor_tail_sampling_sampling_traces_on_memory", run.copies)
            held = gateway.counter("otelcol_process_runtime_heap_alloc_bytes") - heap
            # Deciding and sending is part of the cost.
            settle(gateway, "otelcol_exporter_sent_spans", run.spans * run.copies)
            spent = cpu(gateway) - after_logs
            return Cost(spent / run.copies * 1e6, (after_logs - idle) / run.copies * 1e6, held / run.copies)
        finally:
            gateway.stop()


def cpu(gateway: Collector) -> float:
    return gateway.counter("otelcol_process_cpu_seconds")


def send(gateway: Collector, run: Run, path: str, content: bytes) -> None:
    for first in range(0, run.copies, BATCH):
        # Messages of protobuf that follow each other are one message with all their items.
        body = b"".join(
            content.replace(run.trace_id, (number + 1).to_bytes(4, "big") * 4)
            for number in range(first, first + BATCH)
        )
        headers = {"Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(gateway.endpoint + path, body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.status == 200


def settle(gateway: Collector, counter: str, wanted: int) -> None:
    got = eventually(lambda: gateway.counter(counter), lambda value: value >= wanted, 120)
    assert got >= wanted, f"{counter} is {got:,.0f}, not {wanted:,}: {gateway.log.read_text()[-2000:]}"


def row(name: str, run: Run, spent: Cost) -> dict[str, Any]:
    return {
        "run": name,
        "spans": run.spans,
        "log events": run.logs,
        "bytes/span": f"{len(run.traces_payload) / run.spans:.0f}",
        "bytes/log event": f"{len(run.logs_payload) / run.logs:.0f}",
        "with content": f"{run.logs_with_content / run.logs:.0f}",
        "KB/run": f"{(len(run.traces_payload) + len(run.logs_payload)) / 1e3:.1f}",
        "compressed": f"{len(zlib.compress(run.traces_payload + run.logs_payload)) / 1e3:.1f}",
        "µs CPU/span": f"{spent.traces / run.spans:.1f}",
        "µs CPU/log event": f"{spent.logs / run.logs:.1f}",
        "ms CPU/run": f"{(spent.traces + spent.logs) / 1e3:.2f}",
        "KB held/run": f"{spent.held / 1e3:.0f}",
    }


def main() -> None:
    rows = []
    for name, command in {"agent": [sys.executable, "-c", AGENT], "demo": DEMO}.items():
        run = measure(command)
        rows.append(row(name, run, cost(run)))
    for key in rows[0]:
        print(f"{key:<18}" + "".join(f"{line[key]!s:>12}" for line in rows))


if __name__ == "__main__":
    main()
