"""Where we differ from LangGraph 1.2.22 on purpose: one test per row of docs/differences.md, showing both."""

import ast
import operator
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from otel_stream.config import ConfigError
from tests.differential.build import LANGGRAPH, OURS, Builder
from tests.differential.compare import parts_of
from tests.differential.run import INPUT, Leg, run
from tests.differential.specs import END, START, Case, Graph, Node

ROOT = Path(__file__).parents[2]
LIST = ROOT / "docs" / "differences.md"
TWO = ((START, "a"), (START, "b"))
THREAD = {"configurable": {"thread_id": "1"}}


def chain(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple(pairwise((START, *names)))


def build(api: Any, graph: Graph, checkpointer: Any = None) -> Any:
    return Builder(api, is_async=False).graph(graph, checkpointer)


def task_parts(case: Case, leg: Leg) -> list[tuple[str, str]]:
    """Return the starts and ends of tasks, by name."""
    parts = [part.data for part in parts_of(case, leg.items) if part.mode == "tasks"]
    return [("end" if "result" in data else "start", data["name"]) for data in parts]


def listed() -> list[tuple[str, str]]:
    """Return the file and the name of the test in each row of the list."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", LIST.read_text())


# -- the list ----------------------------------------------------------------------------------------


def test_each_row_of_the_list_has_a_test_that_exists() -> None:
    rows = [line for line in LIST.read_text().splitlines() if re.match(r"\| \d+ ", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+` \|$", row)] == []
    for file, name in listed():
        tree = ast.parse((ROOT / file).read_text())
        defined = {
            node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in defined, f"{file} has no {name}"


def test_each_test_of_a_difference_has_a_row() -> None:
    own = Path(__file__).relative_to(ROOT).as_posix()
    tests = [name for name in globals() if name.startswith("test_") and not name.startswith("test_each_")]
    assert sorted(tests) == sorted(name for file, name in listed() if file == own)


# -- starts and ends of tasks ------------------------------------------------------------------------


def test_a_cached_task_ends_too() -> None:
    def second_run(api: Any) -> list[str]:
        graph = build(api, Graph((Node("a", cached=True),), ((START, "a"),)))
        graph.invoke(INPUT)
        parts = list(graph.stream(INPUT, stream_mode="tasks"))
        return ["end" if "result" in part else "start" for part in parts]

    assert second_run(LANGGRAPH) == ["start"]
    assert second_run(OURS) == ["start", "end"]


def test_a_task_that_an_earlier_run_has_finished_ends_too() -> None:
    case = Case(Graph((Node("a"), Node("b", asks=1)), TWO), modes=["tasks"], saver=True)
    assert task_parts(case, run(LANGGRAPH, case)[1]) == [("start", "a"), ("start", "b"), ("end", "b")]
    assert task_parts(case, run(OURS, case)[1]) == [
        ("start", "a"),
        ("start", "b"),
        ("end", "a"),
        ("end", "b"),
    ]


def test_a_task_whose_subgraph_stops_at_a_breakpoint_ends_too() -> None:
    inner = Graph((Node("p"),), ((START, "p"),), before=("p",))
    case = Case(Graph((Node("a", graph=inner),), ((START, "a"),)), modes=["tasks"], saver=True)
    assert task_parts(case, run(LANGGRAPH, case)[0]) == [("start", "a")]
    assert task_parts(case, run(OURS, case)[0]) == [("start", "a"), ("end", "a")]


def test_an_error_handler_starts_too() -> None:
    class State(TypedDict):
        log: Annotated[list[str], operator.add]

    def parts(api: Any) -> list[tuple[str, str]]:
        def boom(state: State) -> None:
            raise ValueError("kaboom")

        def handle(state: State) -> dict[str, list[str]]:
            return {"log": ["handled"]}

        graph = api.StateGraph(State).add_node("a", boom, error_handler=handle).add_edge(START, "a").compile()
        shown = list(graph.stream({"log": []}, stream_mode="tasks"))
        return [("end" if "result" in part else "start", part["name"]) for part in shown]

    handler = "__error_handler__a"
    assert parts(LANGGRAPH) == [("start", "a"), ("end", "a"), ("end", handler)]
    assert parts(OURS) == [("start", "a"), ("end", "a"), ("start", handler), ("end", handler)]


# -- modes and payloads ------------------------------------------------------------------------------


def test_an_unknown_mode_is_an_error() -> None:
    graph = Graph((Node("a"),), ((START, "a"),))
    assert list(build(LANGGRAPH, graph).stream(INPUT, stream_mode="nope")) == []
    with pytest.raises(ConfigError, match="nope"):
        list(build(OURS, graph).stream(INPUT, stream_mode="nope"))


def test_a_tuple_of_modes_is_a_list_of_modes() -> None:
    graph, update = Graph((Node("a"),), ((START, "a"),)), {"a": {"log": ["a"], "total": 1}}
    assert list(build(LANGGRAPH, graph).stream(INPUT, stream_mode=("updates",))) == [update]
    assert list(build(OURS, graph).stream(INPUT, stream_mode=("updates",))) == [("updates", update)]


def test_a_snapshot_already_yielded_never_changes() -> None:
    class State(TypedDict):
        x: dict[str, int]

    def states(api: Any) -> list[Any]:
        def mutate(state: State) -> State:
            state["x"]["k"] += 1
            return {"x": state["x"]}

        graph = api.StateGraph(State).add_node("a", mutate).add_edge(START, "a").compile()
        return list(graph.stream({"x": {"k": 1}}, stream_mode="values"))

    assert states(LANGGRAPH) == [{"x": {"k": 2}}, {"x": {"k": 2}}]
    assert states(OURS) == [{"x": {"k": 1}}, {"x": {"k": 2}}]


def test_a_writer_is_injected_by_name() -> None:
    class State(TypedDict, total=False):
        x: int

    def said(api: Any) -> Any:
        def a(state: State, writer: Any) -> None:
            writer("hello")

        graph = api.StateGraph(State).add_node("a", a).add_edge(START, "a").compile()
        try:
            return list(graph.stream({"x": 1}, stream_mode="custom"))
        except TypeError as error:
            return str(error)

    assert "missing 1 required positional argument: 'writer'" in said(LANGGRAPH)
    assert said(OURS) == ["hello"]


# -- failures ----------------------------------------------------------------------------------------


def test_of_several_failing_nodes_the_first_by_task_order_is_raised() -> None:
    for world in ("stream", "astream", "invoke", "ainvoke"):
        both = (Node(name, raises="ValueError", is_async=world[0] == "a") for name in "ab")
        case = Case(Graph(tuple(both), TWO), world=world, modes="values", abreast=True)
        assert str(run(LANGGRAPH, case)[0].error) in ("a failed", "b failed")
        assert [str(run(OURS, case)[0].error) for _ in range(5)] == ["a failed"] * 5


def test_errors_of_the_engine_have_their_own_words() -> None:
    graph = Graph((Node("a", returns="command", goto=("a",)),), ((START, "a"),))
    case = Case(graph, limit=4)
    theirs, ours = (run(api, case)[0].error for api in (LANGGRAPH, OURS))
    assert type(theirs).__name__ == type(ours).__name__ == "GraphRecursionError"
    assert isinstance(theirs, RecursionError)
    assert isinstance(ours, RecursionError)
    assert "For troubleshooting, visit: https://" in str(theirs)
    assert str(ours).endswith("[GRAPH_RECURSION_LIMIT]")


def test_synchronous_durability_goes_with_subgraphs_that_keep_nothing() -> None:
    inner = Graph((Node("p"),), ((START, "p"), ("p", END)), memory=False)
    case = Case(
        Graph((Node("a", graph=inner),), ((START, "a"),)), world="astream", saver=True, durability="sync"
    )
    assert isinstance(run(LANGGRAPH, case)[0].error, AttributeError)
    assert [leg.error for leg in run(OURS, case)] == [None]


def test_a_subgraph_that_took_too_many_steps_goes_on_where_it_was() -> None:
    inner = Graph((Node("p"), Node("q"), Node("r"), Node("s"), Node("t")), chain("p", "q", "r", "s", "t"))
    graph = Graph((Node("a", graph=inner),), ((START, "a"),))

    def second_run(api: Any, durability: Any) -> list[str]:
        case = Case(graph, modes="updates", subgraphs=True, saver=True, durability=durability, limit=3)
        legs = run(api, case)
        assert type(legs[0].error).__name__ == "GraphRecursionError"
        return [next(iter(part.data)) for part in parts_of(case, legs[1].items)]

    assert second_run(LANGGRAPH, "sync") == second_run(OURS, "sync") == ["s", "t", "a"]
    assert second_run(LANGGRAPH, "exit") == ["p", "q", "r"]
    assert second_run(OURS, "exit") == ["s", "t", "a"]


# -- one at a time, answers, caches ------------------------------------------------------------------


def test_one_task_at_a_time_goes_with_live_parts() -> None:
    graph = Graph((Node("a", says=1), Node("b", says=1)), TWO)
    parts = build(OURS, graph).stream(INPUT, {"max_concurrency": 1}, stream_mode="custom")
    assert [part["says"] for part in parts] == ["a.0", "b.0"]


def test_interrupts_come_in_the_order_of_their_tasks() -> None:
    graph = Graph((Node("a", asks=1), Node("b", asks=1)), TWO)

    def asked(api: Any) -> list[str]:
        result = build(api, graph, api.InMemorySaver()).invoke(INPUT, THREAD)
        return [interrupt.value for interrupt in result["__interrupt__"]]

    assert sorted(asked(LANGGRAPH)) == ["a?0", "b?0"]
    assert asked(OURS) == ["a?0", "b?0"]


def test_an_answered_question_is_no_longer_pending() -> None:
    inner = Graph((Node("p"),), ((START, "p"),), before=("p",))

    def pending(api: Any) -> list[str]:
        node = Node("a", asks=1, graph=inner, calls=True)
        graph = build(api, Graph((node,), ((START, "a"),)), api.InMemorySaver())
        graph.invoke(INPUT, THREAD)
        graph.invoke(api.Command(resume="yes"), THREAD)
        return [interrupt.value for interrupt in graph.get_state(THREAD).interrupts]

    assert pending(LANGGRAPH) == ["a?0"]
    assert pending(OURS) == []
