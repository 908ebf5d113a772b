"""Everything on: a receiver of all modes, and spans, log events and metrics through the SDK.

Compared with LangGraph's loop with nothing on, and with the calls of OpenTelemetry's API that the
same telemetry takes at least. The unsampled rows have only the metrics left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry import _logs
from opentelemetry.trace import Link, Span, set_span_in_context

from benchmarks.case import Comparison, Goal
from benchmarks.cases.modes import watched
from benchmarks.cases.superstep import STEPS, bare
from benchmarks.libraries import LANGGRAPH, expect, on_loop
from benchmarks.providers import Providers, installed, of_the_sdk
from otel_stream import semconv

#: The run's span, and two a superstep: its own and its node's.
SPANS = 2 * STEPS + 1
#: The input's values, both ends of the run, and two a superstep: updates and values.
RECORDS = 2 * STEPS + 3


# What one run makes is checked, so that no queue overflows and no signal is off unnoticed.
def _exporting(spans: int, records: int) -> Callable[[], None]:
    run, providers = watched(), installed()

    async def run_and_flush() -> None:
        await run()
        found = providers.flush()
        # The structure of the graph is told now and then.
        told = records > 0 and found[1] == records + 1
        expect("spans and log records exported", found, (spans, records + told))

    return on_loop(run_and_flush)


def sampled() -> Comparison:
    """Compare everything on with LangGraph bare."""
    return Comparison(
        name="traced",
        title="all modes to one receiver, and spans, log events, metrics",
        unit="superstep",
        count=STEPS,
        ours=_exporting(SPANS, RECORDS),
        theirs=bare(LANGGRAPH),
        against="LangGraph, nothing watching",
        goal=Goal(must=1 / 3, aim=1 / 5),
    )


def unsampled() -> Comparison:
    """Compare metrics alone, the trace being sampled out, with LangGraph bare."""
    return Comparison(
        name="unsampled",
        title="all modes to one receiver, and metrics; the trace is sampled out",
        unit="superstep",
        count=STEPS,
        ours=_exporting(0, 0),
        theirs=bare(LANGGRAPH),
        against="LangGraph, nothing watching",
        goal=Goal("added", aim=15.0, over="all-modes"),
    )


def beside_the_sdk() -> Comparison:
    """Compare everything on with the bare calls of the SDK that it takes."""
    providers = of_the_sdk()
    calls = _Calls(providers)

    def call_and_flush() -> None:
        calls.run()
        expect("spans and log records exported", providers.flush(), (SPANS, RECORDS))

    return Comparison(
        name="traced-sdk",
        title="the same beside the calls of OpenTelemetry alone",
        unit="superstep",
        count=STEPS,
        ours=_exporting(SPANS, RECORDS),
        theirs=call_and_flush,
        against="the same spans, log records and measurements through the API by hand",
        goal=Goal(aim=1.25),
    )


class _Calls:
    """The same spans, log records and measurements with the same attributes, and nothing else."""

    def __init__(self, providers: Providers) -> None:
        self._tracer = providers.tracers.get_tracer("benchmarks")
        self._emit = providers.loggers.get_logger("benchmarks").emit
        meter = providers.meters.get_meter("benchmarks")
        self._superstep_seconds = meter.create_histogram("superstep", "s")
        self._node_seconds = meter.create_histogram("node", "s")
        self._before: Any = None

    def run(self) -> None:
        """Make the calls of a run of ``STEPS`` supersteps."""
        run = self._tracer.start_span(
            "invoke_workflow graph",
            attributes={
                semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_RUN,
                semconv.GEN_AI_WORKFLOW_NAME: "graph",
                semconv.GRAPH_RUN_ID: "run",
            },
        )
        context = set_span_in_context(run)
        begun = {**_ABOUT, semconv.GRAPH_STRUCTURE_DIGEST: "digest"}
        self._emit_event(context, semconv.EVENT_RUN_START, _BEGUN, begun)
        self._log(context, "values", -1)
        for step in range(STEPS):
            self._superstep(context, step)
        self._emit_event(context, semconv.EVENT_RUN_END, "ok", {**_ABOUT, semconv.GRAPH_RUN_END: "ok"})
        run.set_attribute(semconv.GRAPH_RUN_END, "ok")
        run.end()

    def _superstep(self, outer: Any, step: int) -> None:
        superstep = self._tracer.start_span(
            semconv.SPAN_SUPERSTEP,
            outer,
            attributes={semconv.GRAPH_SUPERSTEP: step, semconv.GRAPH_SUPERSTEP_WIDTH: 1},
            start_time=time.time_ns(),
        )
        context = set_span_in_context(superstep, outer)
        self._node(context, step)
        self._log(outer, "values", step)
        self._superstep_seconds.record(0.001, {semconv.GRAPH_NAME: "graph"}, context)
        superstep.end(time.time_ns())

    def _node(self, outer: Any, step: int) -> None:
        node: Span = self._tracer.start_span(
            "invoke_node count",
            outer,
            attributes={
                semconv.GEN_AI_OPERATION_NAME: semconv.SPAN_NODE,
                semconv.GEN_AI_NODE_NAME: "count",
                semconv.GRAPH_TASK_ID: "task",
                semconv.GRAPH_SUPERSTEP: step,
            },
            links=() if self._before is None else (Link(self._before, _TRIGGERED),),
            start_time=time.time_ns(),
        )
        self._before = node.get_span_context()
        context = set_span_in_context(node, outer)
        about = {semconv.GEN_AI_NODE_NAME: "count", semconv.GRAPH_TASK_ID: "task"}
        node.set_attribute(semconv.GRAPH_ROUTE_TARGETS, ("count",))
        self._log(context, "updates", step, **about)
        about = {semconv.GRAPH_NAME: "graph", semconv.GEN_AI_NODE_NAME: "count"}
        self._node_seconds.record(0.001, about, context)
        node.end(time.time_ns())

    def _log(self, context: Any, mode: str, step: int, **about: str) -> None:
        attributes = {
            **_ABOUT,
            semconv.GRAPH_STREAM_MODE: mode,
            semconv.GRAPH_LOG_SEQ: step,
            semconv.GRAPH_STREAM_SEQ: step,
            semconv.GRAPH_SUPERSTEP: step,
            **about,
        }
        body = '{"type":"dict","keys":["n"],"sizes":[null]}'
        self._emit_event(context, semconv.EVENT_BY_MODE[mode], body, attributes)

    def _emit_event(self, context: Any, name: str, body: str | None, attributes: dict[str, Any]) -> None:
        self._emit(
            timestamp=time.time_ns(),
            context=context,
            severity_number=_logs.SeverityNumber.INFO,
            severity_text="INFO",
            body=body,
            attributes=attributes,
            event_name=name,
        )


_ABOUT = {semconv.GRAPH_RUN_ID: "run", semconv.GRAPH_NAME: "graph"}
_BEGUN = '{"spanId":"0123456789abcdef","parentSpanId":"0123456789abcdef","name":"invoke_workflow graph"}'
_TRIGGERED = {
    semconv.GRAPH_LINK_KIND: "trigger",
    semconv.GRAPH_LINK_CHANNEL: "branch:to:count",
    semconv.GRAPH_TASK_ID: "task",
}
