"""What runs: modules of the standard library are measured on one Ray node, and ranked on another."""

from __future__ import annotations

import ast
import asyncio
import operator
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

from engine import START, Remote, StateGraph, emit_message, get_stream_writer
from otel_stream import configure
from otel_stream.sdk import Handle

#: Seconds that a module takes besides, as a model or a GPU would.
PAUSE = 0.08
#: What nodes answer.
Update: TypeAlias = dict[str, Any]
#: The nodes of the graph, in their order.
STEPS = ("plan", "measure", "rank", "report")


class State(TypedDict):
    modules: list[str]
    lengths: dict[str, int]
    longest: str
    #: What was done, by all turns of the thread.
    log: Annotated[list[str], operator.add]
    where: Annotated[list[str], operator.add]


def telemetry_of(service: str) -> Handle | None:
    """Have this process export its spans, if there is somebody to send them to."""
    return configure(service) if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ else None


def telemetry() -> None:
    """Have a Ray worker trace what it does, in the trace of the run. Called once in each."""
    telemetry_of("cluster-ray")


def on(node: str) -> Remote:
    """Return a place on the Ray node that has this resource."""
    return Remote(num_cpus=0, resources={node: 0.001}, concurrency=8, setup=telemetry)


def _here() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


async def plan(state: State) -> Update:
    get_stream_writer()({"modules": len(state["modules"])})
    return {"log": ["plan"]}


async def measure(state: State) -> Update:
    writer, lengths = get_stream_writer(), {}
    for number, name in enumerate(state["modules"]):
        lengths[name] = _longest_function(name)
        await asyncio.sleep(PAUSE)
        await writer.write({"number": number, "module": name, "longest": lengths[name], "node": _here()})
    return {"lengths": lengths, "log": ["measure"], "where": [_here()]}


async def rank(state: State) -> Update:
    writer, lengths = get_stream_writer(), state["lengths"]
    ranked = sorted(lengths, key=lengths.__getitem__, reverse=True)
    for number, name in enumerate(ranked):
        await asyncio.sleep(PAUSE / 4)
        await writer.write({"number": number, "module": name, "node": _here()})
    return {"longest": ranked[0], "log": ["rank"], "where": [_here()]}


async def report(state: State) -> Update:
    said = f"The longest function of {len(state['modules'])} modules is in {state['longest']}."
    for number, word in enumerate(said.split()):
        emit_message({"role": "ai", "id": "report", "content": word if number == 0 else f" {word}"})
    return {"log": ["report"]}


def _longest_function(module: str) -> int:
    spec = find_spec(module)
    tree = ast.parse(Path(str(spec and spec.origin)).read_bytes())
    functions = (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    return max(((one.end_lineno or one.lineno) - one.lineno + 1 for one in functions), default=0)


def build() -> StateGraph[Any, Any, Any, Any]:
    """Declare the graph."""
    graph = StateGraph(State).add_node("plan", plan).add_node("report", report)
    graph.add_node("measure", measure, on=on("one")).add_node("rank", rank, on=on("two"))
    for before, after in zip((START, *STEPS), STEPS, strict=False):
        graph.add_edge(before, after)
    return graph
