"""Programs that know nothing of us, started by ``opentelemetry-instrument``, and what an endpoint gets."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.otlp_servers import Endpoint, attributes, http_server

APPS = Path(__file__).parent / "apps"
INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with http_server() as one:
        yield one


def started(app: str, endpoint: Endpoint, *arguments: str) -> str:
    """Run an app to its end, and return what it printed."""
    done = subprocess.run(
        [INSTRUMENT, sys.executable, APPS / f"{app}.py", *arguments],
        env={
            **os.environ,
            "OTEL_SERVICE_NAME": app,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "LANGSMITH_TRACING": "false",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def tree(spans: list[Any]) -> list[str]:
    """Return the names of the spans, each with those around it."""
    by_id = {span.span_id: span for span in spans}

    def path(span: Any) -> str:
        around = by_id.get(span.parent_span_id)
        return span.name if around is None else f"{path(around)} > {span.name}"

    return [path(span) for span in spans]


def test_an_agent_with_tools(endpoint: Endpoint) -> None:
    assert started("agent", endpoint) == "Take an umbrella."
    paths = tree(endpoint.spans())
    run = "invoke_workflow forecaster"
    assert Counter(path for path in paths if "invoke_node" in path) == {
        f"{run} > superstep > invoke_node agent": 2,
        f"{run} > superstep > invoke_node agent > chat": 2,
        f"{run} > superstep > invoke_node tools": 1,
        f"{run} > superstep > invoke_node tools > execute_tool weather": 1,
    }
    assert endpoint.services() == {"agent"}
    events = Counter(record.event_name for record in endpoint.records())
    assert events["graph.updates"] == 3
    assert events["graph.messages"] == 3
    assert {"graph.node.duration", "graph.superstep.duration"} <= endpoint.metrics()


def test_a_map_reduce_with_subgraphs(endpoint: Endpoint) -> None:
    assert started("map_reduce", endpoint) == "6"
    spans = endpoint.spans()
    assert len({span.trace_id for span in spans}) == 1
    node = "invoke_workflow map_reduce > superstep > invoke_node counter"
    inner = f"{node} > invoke_workflow counter > superstep > invoke_node count"
    assert Counter(tree(spans))[inner] == 3
    by_id = {span.span_id: span.name for span in spans}
    (adding,) = (span for span in spans if span.name == "invoke_node add_up")
    assert [by_id[link.span_id] for link in adding.links] == ["invoke_node counter"] * 3


def test_a_human_in_the_loop_over_two_processes(endpoint: Endpoint, tmp_path: Path) -> None:
    kept = str(tmp_path / "checkpoints")
    assert "Buy a boat?" in started("approval", endpoint, kept)
    assert "'approved': True" in started("approval", endpoint, kept, "yes")
    asked, answered = (span for span in endpoint.spans() if span.name == "invoke_workflow approval")
    (link,) = answered.links
    assert (link.trace_id, link.span_id) == (asked.trace_id, asked.span_id)
    assert asked.trace_id != answered.trace_id
    assert attributes(asked)["graph.run.end"] == "interrupted"
    assert asked.status.code == answered.status.code == 0
