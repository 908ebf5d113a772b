"""A run arrives over OTLP as it happened: one trace, right parents, log events on their spans, metrics."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.otlp_servers import attributes

RUN = "invoke_workflow audit"
METRICS = {
    "gen_ai.invoke_workflow.duration",
    "graph.attempt.duration",
    "graph.checkpoint.duration",
    "graph.edge.count",
    "graph.node.active",
    "graph.node.duration",
    "graph.node.retries",
    "graph.run.active",
    "graph.run.supersteps",
    "graph.stream.buffer.depth",
    "graph.stream.lag",
    "graph.stream.parts.delivered",
    "graph.stream.parts.dropped",
    "graph.stream.parts.filtered",
    "graph.stream.parts.offered",
    "graph.stream.parts.sampled_out",
    "graph.stream.receivers",
    "graph.superstep.duration",
    "graph.superstep.tasks",
    "otel_stream.export.exported",
    "otel_stream.export.lost",
    "otel_stream.export.queue",
}
#: Modes that are exported unless a program says otherwise.
EXPORTED = {"values", "updates", "custom", "messages"}


def demo(
    program: Any, arrived: Any, tree: Path, *options: object, **environment: str
) -> list[dict[str, Any]]:
    """Audit ``tree`` and return the parts that the demo printed, after their telemetry has arrived."""
    done = program(
        "-m", "otel_stream.cli", "demo", tree, "--json", *options, **{**arrived.environment, **environment}
    )
    assert re.search(r"parts, 0 dropped\. ", done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_attempts(paths: Counter[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    return Counter({path: count for path, count in paths.items() if path[-1] != "attempt"})


def test_the_demo_is_one_trace_with_right_parents(program: Any, arrived: Any, tree: Path) -> None:
    """Four files, one of them unreadable, and one closer look: run, superstep, node, run, superstep, node."""
    demo(program, arrived, tree, "--budget", 1)
    file = (RUN, "superstep", "invoke_node audit_file", "invoke_workflow audit_file")
    assert without_attempts(arrived.paths()) == {
        (RUN,): 1,
        (RUN, "superstep"): 5,
        (RUN, "superstep", "invoke_node discover"): 1,
        (RUN, "superstep", "invoke_node audit_file"): 4,
        file: 4,
        (*file, "superstep"): 3 * 3 + 1,
        (*file, "superstep", "invoke_node parse"): 4,
        (*file, "superstep", "invoke_node measure"): 3,
        (*file, "superstep", "invoke_node judge"): 3,
        (RUN, "superstep", "invoke_node rank"): 1,
        (RUN, "superstep", "invoke_node deepen"): 1,
        (RUN, "superstep", "invoke_node report"): 1,
    }
    assert len({span.trace_id for span in arrived.endpoint.spans()}) == 1
    assert {span.status.code for span in arrived.endpoint.spans()} == {0}


def test_spans_lie_within_their_parents(program: Any, arrived: Any, tree: Path) -> None:
    demo(program, arrived, tree, "--budget", 1)
    spans = {span.span_id: span for span in arrived.endpoint.spans()}
    for span in spans.values():
        around = spans.get(span.parent_span_id, span)
        assert around.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= around.end_time_unix_nano, (span.name, around.name)


def test_every_attempt_of_a_retried_node_is_a_child_of_its_node(
    program: Any, arrived: Any, tree: Path
) -> None:
    parts = demo(program, arrived, tree, "--chaos", "0.4", "--seed", 7)
    attempts: dict[bytes, list[int]] = {}
    for span in arrived.endpoint.spans():
        if span.name == "attempt":
            attempts.setdefault(span.parent_span_id, []).append(attributes(span)["graph.task.attempt"])
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in attempts.values())
    told = {
        part["span_id"]: part["attempt"]
        for part in parts
        if part["type"] == "tasks" and "result" in part["data"]
    }
    retried = {span_id: count for span_id, count in told.items() if count > 1}
    assert {span_id: len(attempts[bytes.fromhex(span_id)]) for span_id in retried} == retried
    assert retried


def test_every_exported_part_is_a_log_event_on_the_span_it_names(
    program: Any, arrived: Any, tree: Path
) -> None:
    """A receiver's parts and what arrived name the same span: that of the part's node, or of its run."""
    each = {"OTEL_STREAM_EXPORT_MESSAGES": "chunks"}
    parts = demo(program, arrived, tree, "--chaos", "0.2", "--seed", 1, **each)
    names = {span.span_id.hex(): span.name for span in arrived.endpoint.spans()}
    records = [record for record in arrived.endpoint.records() if "graph.stream.seq" in attributes(record)]
    events = {
        attributes(record)["graph.stream.seq"]: (
            record.event_name,
            record.trace_id.hex(),
            record.span_id.hex(),
        )
        for record in records
    }
    shown = {
        part["seq"]: (f"graph.{part['type']}", part["trace_id"], part["span_id"])
        for part in parts
        if part["type"] in EXPORTED
    }
    assert events == shown
    assert len(records) == len(shown)
    for part in parts:
        origin = f"invoke_node {part['node']}" if "node" in part else f"invoke_workflow {part['graph']}"
        assert names[part["span_id"]] == origin
    (trace,) = {part["trace_id"] for part in parts}
    assert {record.trace_id.hex() for record in arrived.endpoint.records()} == {trace}


def test_the_metrics_arrive(program: Any, arrived: Any, tree: Path) -> None:
    demo(program, arrived, tree, "--chaos", "0.4", "--seed", 7)
    assert arrived.endpoint.metrics() == METRICS
    assert arrived.endpoint.services() == {"otel-stream-demo"}


def test_the_environment_names_the_service(program: Any, arrived: Any, tree: Path) -> None:
    demo(program, arrived, tree, "--modes", "custom", OTEL_SERVICE_NAME="from-the-environment")
    assert arrived.endpoint.services() == {"from-the-environment"}


def test_a_run_that_is_not_sampled_exports_metrics_alone_and_its_reader_loses_nothing(
    program: Any, arrived: Any, tree: Path
) -> None:
    everything = demo(program, arrived, tree, "--budget", 1)
    arrived.endpoint.requests.clear()
    parts = demo(program, arrived, tree, "--budget", 1, OTEL_TRACES_SAMPLER="always_off")
    assert (arrived.endpoint.spans(), arrived.endpoint.records()) == ([], [])
    assert arrived.endpoint.metrics() == METRICS - {"graph.node.retries"}
    assert Counter(part["type"] for part in parts) == Counter(part["type"] for part in everything)


SMALL = """
import asyncio, operator
from typing import Annotated, TypedDict
from opentelemetry import trace
from engine import START, RetryPolicy, Send, StateGraph
from otel_stream import StreamConfig, configure

handle = configure("small")
tracer = trace.get_tracer("the user's")

class State(TypedDict, total=False):
    log: Annotated[list, operator.add]

def sync(state):
    with tracer.start_as_current_span("in sync"):
        return {"log": ["sync"]}

async def flaky(state):
    with tracer.start_as_current_span(f"in flaky"):
        await asyncio.sleep(0)
    if not failed:
        failed.append(1)
        raise ConnectionError("try again")
    return {"log": ["flaky"]}

def inside(state, writer):
    writer("from inside")
    with tracer.start_as_current_span("in inside"):
        return {"log": ["inside"]}

failed = []
inner = StateGraph(State).add_node("inside", inside).add_edge(START, "inside").compile(name="inner")

async def caller(state):
    with tracer.start_as_current_span("calls a graph"):
        return await inner.ainvoke({"log": []})

graph = StateGraph(State)
graph.add_node("sync", sync).add_edge(START, "sync")
now = RetryPolicy(initial_interval=0, jitter=False)
graph.add_node("flaky", flaky, retry_policy=now).add_edge(START, "flaky")
graph.add_node("nested", inner).add_node("caller", caller)
graph.add_edge(["sync", "flaky"], "nested").add_edge("nested", "caller")
compiled = graph.compile(name="small")

async def main():
    with tracer.start_as_current_span("the caller"):
        async with compiled.open_stream({"log": []}, StreamConfig(modes="values")) as stream:
            parts = [part async for part in stream]
        assert parts[-1].data == stream.result
        print(stream.trace_id)

asyncio.run(main())
assert handle.shutdown()
"""


def test_a_users_own_spans_and_graphs_take_their_place_in_the_tree(
    program: Any, arrived: Any, tmp_path: Path
) -> None:
    (tmp_path / "small.py").write_text(SMALL)
    done = program("small.py", **arrived.environment)
    step = ("the caller", "invoke_workflow small", "superstep")
    inner = ("invoke_workflow inner", "superstep", "invoke_node inside")
    nested, caller = (*step, "invoke_node nested"), (*step, "invoke_node caller")
    called = (*caller, "calls a graph")
    flaky = (*step, "invoke_node flaky")
    assert arrived.paths() == {
        step[:1]: 1,
        step[:2]: 1,
        step: 3,
        (*step, "invoke_node sync"): 1,
        (*step, "invoke_node sync", "in sync"): 1,
        flaky: 1,
        (*flaky, "attempt"): 2,
        (*flaky, "attempt", "in flaky"): 2,
        nested: 1,
        **{(*nested, *inner[:depth]): 1 for depth in (1, 2, 3)},
        (*nested, *inner, "in inside"): 1,
        caller: 1,
        called: 1,
        **{(*called, *inner[:depth]): 1 for depth in (1, 2, 3)},
        (*called, *inner, "in inside"): 1,
    }
    assert {span.trace_id.hex() for span in arrived.endpoint.spans()} == {done.stdout.strip()}
    customs = [record for record in arrived.endpoint.records() if record.event_name == "graph.custom"]
    assert sorted(arrived.path(record.span_id) for record in customs) == [
        (*called, *inner),
        (*nested, *inner),
    ]


def test_the_executed_graph_can_be_read_from_the_links(program: Any, arrived: Any, tmp_path: Path) -> None:
    """A node's span links to the spans of the nodes whose writes triggered it."""
    (tmp_path / "small.py").write_text(SMALL)
    program("small.py", **arrived.environment)
    names = {span.span_id: span.name for span in arrived.endpoint.spans()}
    links = {
        span.name: {names[link.span_id] for link in span.links}
        for span in arrived.endpoint.spans()
        if span.name in ("invoke_node nested", "invoke_node caller", "invoke_node sync")
    }
    assert links == {
        "invoke_node sync": set(),
        "invoke_node nested": {"invoke_node sync", "invoke_node flaky"},
        "invoke_node caller": {"invoke_node nested"},
    }
