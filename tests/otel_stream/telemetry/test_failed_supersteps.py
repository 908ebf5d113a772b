"""A superstep that fails says what its run failed with, whichever of its tasks failed first."""

from otel_stream.events import End


def failed(scene, *errors, raised):
    """Run a superstep whose tasks fail with ``errors`` in that order; the run raises ``raised``."""
    run = scene.run()
    tasks = scene.step(run, *(f"n{number}" for number in range(len(errors))))
    for task in tasks:
        scene.start(task)
    for task, error in zip(tasks, errors, strict=True):
        scene.finish(task, End.ERROR, error=error)
    scene.step_end(run, End.ERROR)
    ended = scene.now()
    scene.end(run, End.ERROR, raised)
    return ended


def types(scene):
    """The error type of the superstep's span, and of its metric."""
    ((attributes, _, _),) = scene.points()["graph.superstep.duration"]
    return scene.span("superstep").attributes["error.type"], attributes["error.type"]


def test_one_that_fails_at_its_barrier_names_what_was_raised_there(scene):
    failed(scene, raised=RuntimeError("two writes to one key"))
    assert types(scene) == ("RuntimeError", "RuntimeError")


def test_a_failure_that_was_handled_is_not_what_the_superstep_failed_with(scene):
    failed(scene, KeyError("handled"), raised=RuntimeError("two writes to one key"))
    assert types(scene) == ("RuntimeError", "RuntimeError")


def test_of_several_failures_the_one_that_is_raised_counts_not_the_first(scene):
    second = ValueError("first by task order")
    failed(scene, KeyError("first in time"), second, raised=second)
    assert types(scene) == ("ValueError", "ValueError")


def test_it_ends_when_it_ended_not_when_its_run_does(scene):
    ended = failed(scene, raised=RuntimeError("kaboom"))
    assert scene.span("superstep").end_time < ended < scene.span("invoke_workflow triage").end_time


def test_a_superstep_whose_end_nobody_reports_ends_with_its_run(scene):
    run = scene.run()
    scene.step(run, "plan")
    scene.end(run, End.ERROR, RuntimeError("kaboom"))
    span = scene.span("superstep")
    assert (span.attributes["error.type"], span.attributes["graph.superstep.end"]) == (
        "RuntimeError",
        "error",
    )
