"""The live check finds every kind of fault that emitted telemetry can have, and names it."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.trace import Link, SpanKind, StatusCode

from otel_stream import semconv as names
from semconv.live_check import LiveCheck
from semconv.resolve import Registry
from tests.emitted import Emitted

REGISTRY = Registry()


def whole(signal: Any, *missing: str, **more: Any) -> dict[str, Any]:
    """Make up what the registry requires of a span or an event, but for what is to be ``missing``."""
    needed = [use.attribute for use in signal.uses.values() if use.ref.level == "required"]
    made = {one.id: (*one.values, *one.examples)[0] for one in needed if one.id not in missing}
    return {**made, **{name.replace("__", "."): value for name, value in more.items()}}


SUPERSTEP = REGISTRY.spans["span.graph.superstep"]
VALUES = REGISTRY.events["graph.values"]
ROUTE = REGISTRY.events["graph.route"]
STEP = whole(SUPERSTEP)


def span(
    name: str, attributes: Any, *, kind: Any = SpanKind.INTERNAL, links: Any = (), event: Any = None
) -> Any:
    def emit(emitted: Emitted) -> None:
        tracer = emitted.tracers.get_tracer("otel_stream")
        linked = [Link(tracer.start_span("x").get_span_context(), about) for about in links]
        made = tracer.start_span(name, attributes=attributes, kind=kind, links=linked)
        if event is not None:
            made.add_event(event, {})
        if "!" in name:
            made.update_name(name.replace("!", ""))
            made.set_status(StatusCode.ERROR)
        made.end()

    return emit


def log(name: str, attributes: Any, *, severity: Any = SeverityNumber.INFO, body: Any = "{}") -> Any:
    def emit(emitted: Emitted) -> None:
        emitted.loggers.get_logger("otel_stream").emit(
            event_name=name,
            attributes=attributes,
            severity_number=severity,
            severity_text=severity.name,
            body=body,
        )

    return emit


def metric(make: str, name: str, unit: str, attributes: Any, **more: Any) -> Any:
    def emit(emitted: Emitted) -> None:
        meter = emitted.meters.get_meter("otel_stream")
        group = REGISTRY.metrics.get(name)
        description = "" if group is None else group.group.brief
        instrument = getattr(meter, f"create_{make}")(name, unit, description, **more)
        getattr(instrument, {"histogram": "record", "gauge": "set"}.get(make, "add"))(1, attributes)

    return emit


FAULTS = [
    (span("walk", {}), "span 'walk' is not in the registry"),
    (span("superstep 1", STEP), "span 'superstep 1' is not in the registry"),
    (span("superstep", STEP, kind=SpanKind.CLIENT), "span 'superstep' is of kind CLIENT"),
    (span("superstep!", STEP), "span 'superstep': its status and error.type disagree"),
    (
        span("superstep", {**STEP, names.ERROR_TYPE: "E"}),
        "span 'superstep': its status and error.type disagree",
    ),
    (
        span("superstep", whole(SUPERSTEP, names.GRAPH_SUPERSTEP_WIDTH)),
        "span superstep lacks graph.superstep.width",
    ),
    (
        span("superstep", {**STEP, "graph.superstep.mood": "good"}),
        "span superstep has graph.superstep.mood, which the registry does not give it",
    ),
    (
        span("superstep", {**STEP, names.GRAPH_TASK_ID: "1"}),
        "span superstep has graph.task.id, which the registry does not give it",
    ),
    (
        span("superstep", {**STEP, names.GRAPH_SUPERSTEP_WIDTH: "1"}),
        "span superstep: graph.superstep.width='1' is not int",
    ),
    (
        span("superstep", {**STEP, names.GRAPH_SUPERSTEP_WIDTH: True}),
        "span superstep: graph.superstep.width=True is not int",
    ),
    (
        span("superstep", {**STEP, names.GRAPH_SUPERSTEP_END: "tired"}),
        "span superstep: graph.superstep.end='tired' is not string",
    ),
    (
        span("superstep", STEP, links=[{names.GRAPH_LINK_KIND: "trigger"}]),
        "span superstep has a link of kind 'trigger', which is not in the registry",
    ),
    (span("superstep", STEP, event="graph.mood"), "span event 'graph.mood' is not in the registry"),
    (span("superstep", STEP, event="exception"), "span event exception lacks exception.type"),
    (log("graph.mood", {}), "log event 'graph.mood' is not in the registry"),
    (log("exception", {}), "log event 'exception' is not in the registry"),
    (
        log("graph.route", whole(ROUTE, names.GRAPH_ROUTE_SOURCE), body=None),
        "log event graph.route lacks graph.route.source",
    ),
    (log("graph.route", whole(ROUTE)), "log event graph.route: its body is str"),
    (log("graph.values", whole(VALUES), body={"x": 1}), "log event graph.values: its body is dict"),
    (
        log("graph.values", whole(VALUES), severity=SeverityNumber.DEBUG),
        "log event graph.values: its severity is DEBUG ('DEBUG')",
    ),
    (
        log("graph.values", whole(VALUES, graph__ns=["a"])),
        "log event graph.values: graph.ns=('a',) is not string",
    ),
    (metric("counter", "graph.mood", "1", {}), "metric 'graph.mood' is not in the registry"),
    (
        metric("counter", "graph.run.active", "{run}", {names.GRAPH_NAME: "g"}),
        "metric graph.run.active is no updowncounter: ('Sum', True)",
    ),
    (
        metric("up_down_counter", "graph.run.active", "1", {names.GRAPH_NAME: "g"}),
        "metric graph.run.active has unit '1' and description 'Runs in progress.'",
    ),
    (metric("up_down_counter", "graph.run.active", "{run}", {}), "metric graph.run.active lacks graph.name"),
    (
        metric(
            "histogram",
            "graph.superstep.tasks",
            "{task}",
            {names.GRAPH_NAME: "g"},
            explicit_bucket_boundaries_advisory=(1, 2),
        ),
        "metric graph.superstep.tasks has the buckets (1, 2)",
    ),
]


@pytest.mark.parametrize(("emit", "violation"), FAULTS, ids=[violation for _, violation in FAULTS])
def test_a_planted_fault_is_found(emit: Callable[[Emitted], None], violation: str) -> None:
    emitted = Emitted()
    emit(emitted)
    check = LiveCheck(REGISTRY)
    spans, logs = emitted.spans.get_finished_spans(), emitted.logs.get_finished_logs()
    data = emitted.reader.get_metrics_data()
    assert [*check.spans(spans), *check.logs(logs), *check.metrics(data)] == [violation]


def test_what_another_scope_emits_is_none_of_our_business() -> None:
    emitted = Emitted()
    emitted.tracers.get_tracer("the program").start_span("walk").end()
    emitted.loggers.get_logger("the program").emit(event_name="stumble", body="x")
    emitted.meters.get_meter("the program").create_counter("steps").add(1)
    assert emitted.violations(LiveCheck(REGISTRY)) == []


def test_an_open_enumeration_takes_values_of_a_program_but_no_other_type() -> None:
    policy = REGISTRY.attributes[names.OTEL_STREAM_SAMPLING_POLICY]
    assert [policy.accepts(value) for value in ("error", "mine", 3, None)] == [True, True, False, False]
