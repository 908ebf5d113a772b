"""Links: the executed graph, and the run before, can be read off the spans."""

import pytest

from otel_stream.events import End, Resumption
from otel_stream.telemetry.links import parse_traceparent

BEFORE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _links(span):
    return [(link.context.trace_id, link.context.span_id, dict(link.attributes)) for link in span.links]


def test_a_task_links_to_every_task_that_triggered_it_and_says_through_what(scene):
    run = scene.run()
    first, second = scene.step(run, "a", "b")
    scene.do(first)
    scene.do(second)
    sources = (("join:a+b:c", first), ("join:a+b:c", second))
    (third,) = scene.step(run, "c", number=2, sources=sources)
    scene.do(third)
    scene.end(run)
    a, b = scene.span("invoke_node a").context, scene.span("invoke_node b").context
    about = {"graph.link.kind": "trigger", "graph.link.channel": "join:a+b:c"}
    assert _links(scene.span("invoke_node c")) == [
        (a.trace_id, a.span_id, {**about, "graph.task.id": first.id}),
        (b.trace_id, b.span_id, {**about, "graph.task.id": second.id}),
    ]
    assert _links(scene.span("invoke_node a")) == []


def test_a_resumed_run_links_to_the_one_before_and_both_can_be_found_by_attribute(scene):
    resumes = Resumption("checkpoint-1", "run-0", BEFORE, ("interrupt-1",))
    scene.end(scene.run(resumed=True, resumes=resumes))
    span = scene.span("invoke_workflow triage")
    assert _links(span) == [
        (
            0x4BF92F3577B34DA6A3CE929D0E0E4736,
            0x00F067AA0BA902B7,
            {"graph.link.kind": "resume", "graph.checkpoint.id": "checkpoint-1", "graph.run.id": "run-0"},
        )
    ]
    assert {k: v for k, v in span.attributes.items() if k.startswith("graph.resume.")} == {
        "graph.resume.checkpoint.id": "checkpoint-1",
        "graph.resume.run.id": "run-0",
        "graph.resume.trace.id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "graph.resume.span.id": "00f067aa0ba902b7",
        "graph.resume.interrupt.ids": ("interrupt-1",),
    }


def test_a_run_leaves_a_traceparent_for_the_one_that_goes_on_from_it(scene):
    run = scene.run()
    scene.end(run, End.INTERRUPTED)
    context = scene.span("invoke_workflow triage").context
    left = parse_traceparent(run.traceparent)
    assert (left.trace_id, left.span_id, left.trace_flags) == (
        context.trace_id,
        context.span_id,
        context.trace_flags,
    )


def test_a_run_that_was_not_traced_is_resumed_without_a_link(scene):
    scene.end(scene.run(resumed=True, resumes=Resumption("checkpoint-1")))
    span = scene.span("invoke_workflow triage")
    assert _links(span) == []
    assert span.attributes["graph.resume.checkpoint.id"] == "checkpoint-1"


@pytest.mark.parametrize(
    "text",
    [None, "", "00", BEFORE.upper(), f"01{BEFORE[2:]}", f"{BEFORE}-x", f"00-{'0' * 32}-00f067aa0ba902b7-01"],
)
def test_a_traceparent_that_names_no_span_is_none(text):
    assert parse_traceparent(text) is None
