"""What generated runs have found once, pinned down."""

from pathlib import Path

import pytest

from tests.differential.specs import END, START, Graph, Node, Route
from tests.truth.execution import Execution, Superstep, differences
from tests.truth.exported import pipeline
from tests.truth.generate import Case
from tests.truth.rebuild import Rebuilder
from tests.truth.run import told


def check(case: Case, folder: Path) -> Execution:
    """Run ``case``, compare, and return what was rebuilt."""
    with pipeline("plain", folder, content=True) as pipe:
        happened, documents, contradictions = told(case, pipe)
    rebuilt = Rebuilder(documents).execution()
    assert [*differences(happened, rebuilt), *contradictions] == []
    return rebuilt


def supersteps(run: Execution) -> list[Superstep]:
    return [step for one in run.runs for step in one.supersteps]


@pytest.mark.timeout(30)
def test_a_failure_stops_an_error_handler_that_has_not_begun(tmp_path: Path) -> None:
    """The handler's asyncio task was cancelled before its first step, and waited for ever after."""
    nodes = (
        Node("a", raises="KeyError", fails=2, attempts=3, is_async=True),
        Node("c", fails=1, is_async=True),
    )
    graph = Graph(nodes, ((START, "a"), (START, "c")))
    run = check(Case(graph, abreast=False, handled=frozenset({"c"})), tmp_path)
    assert [(one.end, one.error) for one in run.runs] == [("error", "KeyError")]
    (step,) = supersteps(run)
    assert [(task.node, task.end) for task in step.tasks] == [
        ("__error_handler__c", "cancelled"),
        ("a", "error"),
        ("c", "error"),
    ]


def test_a_failure_that_a_resumed_run_takes_back_starts_and_ends(tmp_path: Path) -> None:
    nodes = (Node("a", asks=1), Node("b", raises="KeyError"))
    graph = Graph(nodes, ((START, "a"), (START, "b")))
    run = check(Case(graph, saver=True, handled=frozenset({"b"}), world="threads"), tmp_path)
    assert [one.end for one in run.runs] == ["interrupted", "ok"]
    again = supersteps(run)[1].tasks
    assert [(task.node, task.end, task.cached) for task in again] == [
        ("__error_handler__b", "ok", False),
        ("a", "ok", False),
        ("b", "error", True),
    ]


def test_a_superstep_that_fails_at_its_barrier_says_what_with(tmp_path: Path) -> None:
    nodes = (Node("a", sets_last=True), Node("b", sets_last=True), Node("c", raises="KeyError"))
    graph = Graph(nodes, tuple((START, name) for name in "abc"))
    run = check(Case(graph, handled=frozenset({"c"})), tmp_path)
    assert [(step.end, step.error) for step in supersteps(run)] == [
        ("error", "engine.errors.InvalidUpdateError")
    ]


def test_what_a_chain_of_joins_waits_for_outlives_an_interrupt(tmp_path: Path) -> None:
    nodes = (Node("a"), Node("b", asks=1), Node("c"))
    graph = Graph(nodes, ((START, "a"), ("a", "b"), (("a", "b"), "c"), ("c", END)), (Route("a", ("b",)),))
    run = check(Case(graph, saver=True), tmp_path)
    assert [[task.node for task in step.tasks] for step in supersteps(run)] == [["a"], ["b"], ["b"], ["c"]]
    assert [one.resumes is not None for one in run.runs] == [False, True]


def test_a_run_that_asks_again_is_the_one_that_the_next_one_resumes(tmp_path: Path) -> None:
    """It had stored no checkpoint of its own, so the next one linked to the run before it."""
    graph = Graph((Node("a", asks=3), Node("b")), ((START, "a"), ("a", "b"), ("b", END)))
    run = check(Case(graph, saver=True), tmp_path)
    assert [one.end for one in run.runs] == ["interrupted", "interrupted", "interrupted", "ok"]
    ids = [one.root for one in run.runs]
    assert [one.resumes for one in run.runs] == [None, *((id, ()) for id in ids[:3])]
    assert [one.answers for one in run.runs[1:]] == [one.interrupts for one in run.runs[:3]]
