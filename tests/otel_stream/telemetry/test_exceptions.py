"""Exceptions: recorded once, where they were raised, as the environment asks, their text only on request."""

import pytest

from otel_stream.events import End
from otel_stream.telemetry import resolve

WAYS = {
    "": "span_events",
    "http": "span_events",
    "logs": "logs",
    "logs/dup": "logs/dup",
    "logs,logs/dup": "logs/dup",
}


def _failing_run(scene):
    """A node that fails twice in a subgraph's node's place: the same exception ends task and run."""
    error = ValueError("canary")
    run = scene.run()
    (task,) = scene.step(run, "flaky")
    scene.start(task)
    scene.attempt(task, 1, retryable=True)
    scene.attempt_end(task, 1, KeyError("canary"), retry_after=0.1)
    scene.attempt(task, 2, retryable=True)
    scene.attempt_end(task, 2, error)
    scene.finish(task, End.ERROR, error=error)
    scene.step_end(run, End.ERROR)
    scene.end(run, End.ERROR, error)


def _on_spans(scene):
    return [
        (span.name, event.name, dict(event.attributes))
        for span in sorted(scene.spans.get_finished_spans(), key=lambda span: span.start_time)
        for event in span.events
    ]


def _logged(scene):
    return [
        (one.severity_text, one.attributes["exception.type"], one.attributes["graph.task.id"], one.span_id)
        for one in scene.records()
        if one.event_name == "graph.exception"
    ]


@pytest.mark.parametrize(("opt_in", "way"), WAYS.items())
def test_each_exception_is_recorded_once_on_the_attempt_that_raised_it(make_scene, opt_in, way):
    options = resolve(environ={"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": opt_in})
    assert options.exceptions == way
    scene = make_scene(options=options)
    _failing_run(scene)
    attempts = [s.context.span_id for s in scene.spans.get_finished_spans() if s.name == "attempt"]
    events = [
        ("attempt", "exception", {"exception.type": "KeyError"}),
        ("attempt", "exception", {"exception.type": "ValueError"}),
    ]
    logs = [("WARN", "KeyError", "task-1", attempts[0]), ("ERROR", "ValueError", "task-1", attempts[1])]
    assert _on_spans(scene) == (events if way != "logs" else [])
    assert _logged(scene) == (logs if way != "span_events" else [])


def test_texts_are_exported_only_if_content_is(make_scene):
    scene = make_scene(options=resolve(capture_content=True, environ={}))
    _failing_run(scene)
    (_, _, first), (_, _, second) = _on_spans(scene)
    assert first["exception.message"] == "'canary'"
    assert second["exception.message"] == "canary"
    assert "ValueError: canary" in second["exception.stacktrace"]


def test_an_exception_whose_text_cannot_be_had_is_recorded_all_the_same(make_scene):
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError

    scene = make_scene(options=resolve(capture_content=True, environ={}))
    scene.end(scene.run(), End.ERROR, BrokenError())
    ((name, _, attributes),) = _on_spans(scene)
    assert name == "invoke_workflow triage"
    assert attributes["exception.message"] == ""
