"""Programs that are run whole, in the environment of the test, with nothing of the test's own process."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent

#: What each program runs: two nodes, one after the other, of which the first also says something.
GRAPH = """
import json, sys, warnings
warnings.simplefilter("error")
from typing import TypedDict
from engine import START, StateGraph, StreamWriter

class State(TypedDict):
    x: int

def first(state: State, writer: StreamWriter) -> dict:
    writer({"about": "first"})
    return {"x": state["x"] + 1}

def second(state: State) -> dict:
    if state["x"] > 10:
        raise KeyError("too much")
    return {"x": state["x"] * 2}

graph = StateGraph(State).add_node("first", first).add_node("second", second)
graph = graph.add_edge(START, "first").add_edge("first", "second").compile(name="triage")
"""

#: Providers of the program's own, and what they collect.
OWN = """
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider, export
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

def in_memory_logs():
    return getattr(export, "InMemoryLogRecordExporter", getattr(export, "InMemoryLogExporter", None))()

spans, logs, reader = InMemorySpanExporter(), in_memory_logs(), InMemoryMetricReader()
resource = Resource.create({"service.name": "theirs"})

def show():
    names = {span.context.span_id: span.name for span in spans.get_finished_spans()}
    data = reader.get_metrics_data()
    print(json.dumps({
        "spans": {
            span.name: names.get(span.parent.span_id) if span.parent else None
            for span in spans.get_finished_spans()
        },
        "span_events": sorted(event.name for span in spans.get_finished_spans() for event in span.events),
        "logs": [[str(log.log_record.event_name), names.get(log.log_record.span_id)]
                 for log in logs.get_finished_logs()],
        "metrics": sorted({metric.name for resource in (data.resource_metrics if data else ())
                           for scope in resource.scope_metrics for metric in scope.metrics}),
    }))
"""


def run(*parts: str, cwd: Path, env: dict[str, str] | None = None, start: tuple[str, ...] = ()) -> Any:
    """Run a program and return what it prints last, read as JSON."""
    file = cwd / "program.py"
    file.write_text("\n".join(textwrap.dedent(part) for part in parts))
    done = subprocess.run(
        [*(start or (sys.executable,)), str(file)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
