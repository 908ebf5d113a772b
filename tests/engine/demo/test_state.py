"""Results merge to the same state in whatever order they arrive."""

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.demo.state import KEPT, Finding, FunctionMeasure, add_totals, append, keep_worst, order_findings

small = st.integers(0, 3)
findings = st.lists(
    st.builds(
        lambda path, line, rule: Finding(path=path, line=line, rule=rule, severity="low", message=""),
        st.sampled_from(["a.py", "b.py"]),
        small,
        st.sampled_from(["x", "y"]),
    )
)


def measured(score: int, path: str = "a.py", line: int = 1) -> FunctionMeasure:
    return FunctionMeasure(
        path=path, name="f", line=line, lines=1, parameters=0, depth=0, complexity=1, score=score
    )


def merged(reducer: Callable[[Any, Any], Any], start: Any, results: Any) -> Any:
    for result in results:
        start = reducer(start, result)
    return start


@given(st.lists(findings, max_size=3))
def test_findings_merge_to_one_order(results: list[list[Finding]]) -> None:
    outcomes = [merged(order_findings, [], order) for order in itertools.permutations(results)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert len(outcomes[0]) == sum(map(len, results))


@given(st.lists(st.lists(st.integers(0, 99), max_size=30), max_size=4))
def test_the_worst_functions_survive_every_order(results: list[list[int]]) -> None:
    named = [[measured(s, f"{i}.py", n) for n, s in enumerate(r)] for i, r in enumerate(results)]
    outcomes = [merged(keep_worst, [], order) for order in itertools.permutations(named)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    scores = sorted((score for result in results for score in result), reverse=True)
    assert [m["score"] for m in outcomes[0]] == scores[:KEPT]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), small), max_size=4))
def test_totals_add_up_name_by_name(results: list[dict[str, int]]) -> None:
    outcomes = [list(merged(add_totals, {}, order).items()) for order in itertools.permutations(results)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert dict(outcomes[0]) == {n: sum(r.get(n, 0) for r in results) for r in results for n in r}


def test_inspections_stay_in_the_order_they_were_made() -> None:
    assert append([], []) == []
    assert append([1], [0]) == [1, 0]  # type: ignore[list-item]
