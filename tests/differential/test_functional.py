"""The functional API streams what LangGraph's does: tasks side by side, one tried again, one that asks."""

from typing import Any

import pytest

from tests.differential.build import LANGGRAPH, OURS
from tests.differential.compare import Part, Plain, as_unbalanced, parts_of
from tests.differential.generate import MODES
from tests.differential.run import Leg
from tests.differential.specs import Case, Graph

THREAD = {"configurable": {"thread_id": "1"}}


def flow(api: Any) -> Any:
    attempts: list[int] = []

    @api.task
    def double(x: int) -> int:
        api.get_stream_writer()({"by": "double", "says": x})
        return 2 * x

    @api.task(retry_policy=api.RetryPolicy(initial_interval=0.0001, jitter=False))
    def shaky(x: int) -> int:
        attempts.append(x)
        if len(attempts) == 1:
            raise ConnectionError("shaky failed at first")
        return x

    @api.task(name="asks")
    def ask(question: str) -> Any:
        return api.interrupt(question)

    @api.entrypoint(checkpointer=api.InMemorySaver())
    def flow(x: list[int], *, previous: Any = None) -> Any:
        api.get_stream_writer()({"by": "flow", "says": previous})
        doubled = [double(n) for n in x]
        return api.entrypoint.final(
            value=[*(one.result() for one in doubled), shaky(3).result(), ask("sure?").result()], save="saved"
        )

    return flow


def legs(api: Any, case: Case) -> list[Leg]:
    """Ask, answer, and run the thread once more."""
    graph, found = flow(api), []
    for given in ([1, 2], api.Command(resume="yes"), [5]):
        options = {"stream_mode": case.modes, "version": case.version, "subgraphs": case.subgraphs}
        leg = Leg(items=list(graph.stream(given, THREAD, **options)))
        leg.state = graph.get_state(THREAD)
        found.append(leg)
    return found


def restored(part: Part) -> bool:
    """Whether a part shows what an earlier run has done: docs/differences.md, 16."""
    return part.mode == "updates" and "__metadata__" in part.data


def emptied(part: Part) -> bool:
    """Whether LangGraph empties the part, or has: docs/differences.md, 18."""
    return part.mode == "updates" and part.data.keys() <= {"__interrupt__"}


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("modes", [*MODES, [*MODES]], ids=str)
def test_functions_stream_what_langgraph_streams(modes: Any, version: Any, subgraphs: bool) -> None:
    case = Case(Graph(()), modes=modes, version=version, subgraphs=subgraphs, saver=True, abreast=True)
    plain = Plain(ordered_ids=False)
    for theirs, ours in zip(legs(LANGGRAPH, case), legs(OURS, case), strict=True):
        shown = [
            part._replace(ns=()) if part.mode == "custom" else part for part in parts_of(case, theirs.items)
        ]
        extra = parts_of(case, ours.items)
        extra = [part for part in as_unbalanced(shown, extra) if not restored(part)]
        if version == "v2" and isinstance(modes, list):
            shown, extra = ([part for part in parts if not emptied(part)] for parts in (shown, extra))
        # Calls run beside their caller: where their parts come is open.
        assert sorted(map(repr, map(plain, extra))) == sorted(map(repr, map(plain, shown)))
        assert plain(ours.state) == plain(theirs.state)


def test_a_call_that_an_earlier_run_has_finished_is_shown_as_restored() -> None:
    case = Case(Graph(()), modes=["updates"], saver=True)
    theirs, ours = (parts_of(case, legs(api, case)[1].items) for api in (LANGGRAPH, OURS))
    assert [part for part in ours if not restored(part)] == theirs
    assert [next(iter(part.data)) for part in ours if restored(part)] == ["double", "double", "shaky"]


def test_what_a_call_writes_is_where_the_call_is() -> None:
    case = Case(Graph(()), modes=["custom", "tasks"], subgraphs=True, saver=True)

    def places(api: Any) -> set[tuple[str, tuple[str, ...]]]:
        plain = Plain(ordered_ids=False)
        parts = [plain(part) for part in parts_of(case, legs(api, case)[0].items)]
        return {(part.mode, part.ns) for part in parts if "double" in part.data.values()}

    assert places(LANGGRAPH) == {("tasks", ()), ("custom", ("flow:id",))}
    assert places(OURS) == {("tasks", ()), ("custom", ())}


def test_an_interrupt_is_in_updates_beside_values_too() -> None:
    case = Case(Graph(()), modes=["updates", "values"], version="v2", saver=True)

    def asked(api: Any) -> list[list[str]]:
        parts = parts_of(case, legs(api, case)[0].items)
        return [[one.value for one in part.data.get("__interrupt__", ())] for part in parts if emptied(part)]

    assert asked(LANGGRAPH) == [[]]
    assert asked(OURS) == [["sure?"]]
