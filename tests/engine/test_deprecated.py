"""Keywords by the names they once had in LangGraph."""

from collections.abc import Callable
from typing import Any

import pytest

from engine import START, RetryPolicy, StateGraph, entrypoint, task
from tests.engine.samples import State, say

POLICY = RetryPolicy(max_attempts=2)


class Narrow(State):
    pass


def node_of(**keywords: Any) -> Any:
    return StateGraph(State).add_node("a", say("a"), **keywords).nodes["a"]


FORMS: dict[str, tuple[Callable[[], Any], Any]] = {
    "config_schema": (lambda: StateGraph(State, config_schema=Narrow).context_schema, Narrow),
    "input": (lambda: StateGraph(State, input=Narrow).input_schema, Narrow),
    "output": (lambda: StateGraph(State, output=Narrow).output_schema, Narrow),
    "retry of a node": (lambda: node_of(retry=POLICY).retry_policy, (POLICY,)),
    "input of a node": (lambda: node_of(input=Narrow).schema, Narrow),
    "retry of a task": (lambda: task(retry=POLICY)(say("a")).spec.retry, (POLICY,)),
    "retry of an entrypoint": (lambda: entrypoint(retry=POLICY).retry_policy, (POLICY,)),
    "config_schema of an entrypoint": (lambda: entrypoint(config_schema=Narrow).context_schema, Narrow),
}


@pytest.mark.parametrize(("make", "meant"), FORMS.values(), ids=FORMS)
def test_an_old_name_still_does_and_says_where_it_is_used(make: Callable[[], Any], meant: Any) -> None:
    with pytest.warns(DeprecationWarning, match="is an old name") as warned:
        assert make() == meant
    assert [(len(warned), warning.filename) for warning in warned] == [(1, __file__)]


def test_the_new_name_goes_first() -> None:
    with pytest.warns(DeprecationWarning, match="is an old name"):
        assert StateGraph(State, input=State, input_schema=Narrow).input_schema is Narrow


@pytest.mark.parametrize(
    "make",
    [
        lambda: StateGraph(State, nope=1),
        lambda: node_of(nope=1),
        lambda: task(nope=1),
        lambda: entrypoint(nope=1),
    ],
    ids=["StateGraph", "add_node", "task", "entrypoint"],
)
def test_a_name_that_never_was_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        make()


def test_a_graph_described_by_old_names_runs() -> None:
    with pytest.warns(DeprecationWarning, match="is an old name"):
        graph = StateGraph(State, input=State, output=State).add_node("a", say("a"), retry=POLICY)
    assert graph.add_edge(START, "a").compile().invoke({"log": []}) == {"log": ["a"]}
