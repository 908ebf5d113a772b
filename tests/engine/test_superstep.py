"""The decisions of a run, made without a loop, an executor or a clock: what comes next, what writes make."""

import logging
import operator
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from engine import END, START, InvalidUpdateError, IsLastStep, RemainingSteps, Send, StateGraph
from engine.core.payloads import result_payload, updates_payload
from engine.core.state import PULL, PUSH, RETURN, State, Written
from engine.core.superstep import (
    apply,
    order,
    plan,
    read_fresh,
    should_pause,
)
from engine.core.task import NodeTask
from engine.graph.node import TASKS, branch_to
from engine.types import INTERRUPT
from otel_stream.events import Run


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    x: int
    y: int


class OnlyLog(TypedDict):
    log: Annotated[list[str], operator.add]


def nothing(_: Any) -> None:
    return None


class Bench:
    """A graph's state, moved by hand: the loop's job, without a loop."""

    def __init__(self, graph: StateGraph[Any, Any, Any, Any], *, track: bool = False) -> None:
        self.program = graph.compile().program
        self.run = Run("run", "graph", context=copy_context())
        channels = {name: channel.fresh() for name, channel in self.program.channels.items()}
        self.state = State(channels, checkpoint_id="checkpoint", track=track)
        self.updated: set[str] | None = set()
        self.step = 0

    def put(self, *writes: tuple[str, Any]) -> "Bench":
        """Let ``writes`` come from outside, as input does."""
        self.updated = apply(self.program, self.state, [Written(START, (), writes)])
        self.step += 1
        return self

    def plan(self, stop: int = 10) -> list[NodeTask]:
        return plan(self.program, self.state, self.run, self.step, stop, self.updated)

    def apply(self, tasks: Iterable[NodeTask]) -> set[str]:
        self.updated = apply(self.program, self.state, tasks)
        self.step += 1
        return self.updated

    def values(self) -> Any:
        return self.program.output_view.read(self.state.channels)

    def advance(self, **writes: Sequence[tuple[str, Any]]) -> list[str]:
        """Run the next superstep, in which each node writes what is given here, and its edges."""
        tasks = self.plan()
        for task in tasks:
            task.writes = [*writes.get(task.node, ()), *task.spec.edges]
        self.apply(order(tasks))
        return names(tasks)


def names(tasks: Iterable[NodeTask]) -> list[str]:
    return [task.node for task in tasks]


def fan(*nodes: str, schema: Any = Log) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(schema)
    for name in nodes:
        graph.add_node(name, nothing).add_edge(START, name)
    return graph


def go_to(*nodes: str) -> list[tuple[str, Any]]:
    return [(branch_to(name), None) for name in nodes]


# -- plan ------------------------------------------------------------------------------------------


@given(st.permutations(["z", "m", "a"]))
def test_pulled_tasks_come_by_name_whatever_order_they_were_added_or_triggered_in(nodes: list[str]) -> None:
    bench = Bench(fan(*nodes)).put(*go_to(*reversed(nodes)))
    assert [(task.node, task.path, task.triggers) for task in bench.plan()] == [
        (name, (PULL, name), (branch_to(name),)) for name in ("a", "m", "z")
    ]


def test_pushed_tasks_come_first_in_the_order_of_their_packets() -> None:
    bench = Bench(fan("a", "b")).put((TASKS, Send("b", 1)), *go_to("a"), (TASKS, Send("a", 2)))
    assert [(task.node, task.path, task.input) for task in bench.plan()] == [
        ("b", (PUSH, 0, False), 1),
        ("a", (PUSH, 1, False), 2),
        ("a", (PULL, "a"), {"log": []}),
    ]


def test_a_packet_to_nobody_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(fan("a", "b")).put((TASKS, Send("c", 1)), (TASKS, Send("a", 2)))
    with caplog.at_level(logging.WARNING, "engine"):
        assert [(task.node, task.path) for task in bench.plan()] == [("a", (PUSH, 1, False))]
    assert caplog.messages == ["Ignoring unknown node name c in pending sends; known: a, b"]


def test_a_trigger_lasts_for_one_superstep() -> None:
    bench = Bench(
        StateGraph(Log).add_node("a", nothing).add_node("b", nothing).add_edge(START, "a").add_edge("a", "b")
    )
    bench.put(*go_to("a"))
    assert [bench.advance(), bench.advance(), bench.advance()] == [["a"], ["b"], []]


def test_a_join_waits_for_everybody() -> None:
    graph = fan("a", "b").add_node("slow", nothing).add_node("end", nothing)
    graph.add_edge("b", "slow").add_edge(["a", "slow"], "end")
    bench = Bench(graph).put(*go_to("a", "b"))
    assert [bench.advance() for _ in range(4)] == [["a", "b"], ["slow"], ["end"], []]


def test_a_deferred_node_waits_for_everything_else() -> None:
    graph = fan("a", "b").add_node("a2", nothing).add_node("end", nothing, defer=True)
    graph.add_edge("a", "a2").add_edge("a2", "end").add_edge("b", "end")
    bench = Bench(graph).put(*go_to("a", "b"))
    assert [bench.advance() for _ in range(4)] == [["a", "b"], ["a2"], ["end"], []]


@pytest.mark.parametrize("track", [False, True])
def test_after_a_checkpoint_was_loaded_all_channels_are_looked_at(track: bool) -> None:
    bench = Bench(fan("a", "b"), track=track).put(*go_to("b"))
    bench.updated = None
    assert names(bench.plan()) == ["b"]


def test_with_versions_a_node_that_has_acted_does_not_act_again() -> None:
    bench = Bench(fan("a", "b"), track=True).put(*go_to("a", "b"))
    tasks = bench.plan()
    bench.state.seen["a"] = dict(bench.state.versions)
    assert (names(tasks), names(bench.plan())) == (["a", "b"], ["b"])


def test_planning_changes_nothing() -> None:
    bench = Bench(fan("a", "b"), track=True).put(("log", ["in"]), *go_to("a", "b"), (TASKS, Send("a", 2)))
    first, second = bench.plan(), bench.plan()
    assert [(t.node, t.id, t.input) for t in first] == [(t.node, t.id, t.input) for t in second]


def test_the_id_of_a_task_is_that_of_its_place() -> None:
    bench = Bench(fan("a", "b")).put(*go_to("a", "b"), (TASKS, Send("a", 1)), (TASKS, Send("a", 1)))
    ids = [task.id for task in bench.plan()]
    assert len(set(ids)) == 4
    assert [task.id for task in bench.plan()] == ids
    bench.state.checkpoint_id = "another"
    assert set(ids).isdisjoint(task.id for task in bench.plan())


def test_tasks_of_one_superstep_see_the_state_before_it() -> None:
    bench = Bench(fan("a", "b")).put(("x", 1), *go_to("a", "b"))
    first, second = bench.plan()
    first.writes = [("x", 2)]
    assert (first.input, second.input) == ({"x": 1, "log": []}, {"x": 1, "log": []})
    bench.apply([first])
    assert second.input == {"x": 1, "log": []}


@dataclass
class Point:
    x: int
    y: int = 7


class Model(BaseModel):
    x: int
    y: int = 7


@pytest.mark.parametrize("schema", [Point, Model])
def test_a_node_is_called_with_an_object_of_its_schema(schema: Any) -> None:
    bench = Bench(fan("a", schema=schema)).put(("x", 1), *go_to("a"))
    assert [task.input for task in bench.plan()] == [schema(x=1, y=7)]


def test_a_state_of_one_value_is_that_value_and_no_task_without_one() -> None:
    bench = Bench(fan("a", schema=Annotated[list, operator.add]))
    bench.put(("__root__", [1]), *go_to("a"))
    assert [task.input for task in bench.plan()] == [[1]]
    bare = Bench(fan("a", schema=int)).put(*go_to("a"))
    assert bare.plan() == []


def test_managed_values_count_down_to_the_last_step() -> None:
    class Counted(TypedDict):
        left: RemainingSteps
        last: IsLastStep
        x: int

    bench = Bench(fan("a", schema=Counted)).put(("x", 1), *go_to("a"))
    assert [bench.plan(stop=stop)[0].input for stop in (2, 3)] == [
        {"x": 1, "left": 1, "last": True},
        {"x": 1, "left": 2, "last": False},
    ]


# -- apply -----------------------------------------------------------------------------------------


@given(st.permutations(range(5)), st.lists(st.text(max_size=2), min_size=5, max_size=5))
def test_whichever_order_tasks_end_in_the_state_is_the_same(ends: list[int], texts: list[str]) -> None:
    """Three pulled nodes and two packets; the reducer is not commutative."""

    def state(ended: Sequence[int]) -> Any:
        bench = Bench(fan("z", "m", "a")).put(
            *go_to("z", "m", "a"), (TASKS, Send("z", 0)), (TASKS, Send("a", 0))
        )
        tasks = bench.plan()
        for index in ended:
            tasks[index].writes = [("log", [texts[index]])]
        bench.apply(order([tasks[index] for index in ended]))
        return bench.values()

    assert state(ends) == state(range(5))


def test_writes_apply_pulled_by_name_then_pushed_by_index() -> None:
    graph = fan("b", "a")
    bench = Bench(graph).put(*go_to("a", "b"), *((TASKS, Send("a", n)) for n in range(11)))
    tasks = bench.plan()
    shown = [(task.node, task.path) for task in order(reversed(tasks))]
    assert shown == [
        ("a", (PULL, "a")),
        ("b", (PULL, "b")),
        *(("a", (PUSH, n, False)) for n in range(11)),
    ]


@given(st.lists(st.tuples(st.sampled_from(["log", "x", "y"]), st.integers(0, 3)), max_size=6))
def test_apply_names_exactly_the_channels_that_were_written(writes: list[tuple[str, int]]) -> None:
    bench = Bench(fan("a", "b"))
    seen = dict(writes)
    tasks = [
        Written("a", (), [(name, [str(value)] if name == "log" else value)]) for name, value in seen.items()
    ]
    assert apply(bench.program, bench.state, tasks) == set(seen)


def test_two_writers_of_one_key_need_a_reducer() -> None:
    bench = Bench(fan("a", "b")).put(*go_to("a", "b"))
    tasks = bench.plan()
    for task in tasks:
        task.writes = [("x", 1)]
    with pytest.raises(InvalidUpdateError, match=r"^At key 'x': Can receive only one value per step, got 2"):
        bench.apply(tasks)


def test_a_write_to_no_channel_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(fan("a"))
    with caplog.at_level(logging.WARNING, "engine"):
        assert apply(bench.program, bench.state, [Written("a", (), [("nope", 1), (RETURN, 2)])]) == set()
    assert caplog.messages == ["Task a wrote to unknown channel nope, ignoring it."]


def test_without_a_bump_the_superstep_goes_on() -> None:
    bench = Bench(fan("a", "b")).put(*go_to("a"))
    updated = apply(bench.program, bench.state, [Written(INTERRUPT, (), [("x", 1)])], bump=False)
    assert (updated, names(bench.plan())) == ({"x"}, ["a"])


def test_versions_grow_with_every_superstep_for_what_has_changed() -> None:
    bench = Bench(fan("a", "b"), track=True).put(("x", 1))
    first = dict(bench.state.versions)
    bench.put(("y", 1))
    assert first == {"x": 1}
    assert bench.state.versions == {"x": 1, "y": 2}


# -- pausing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breakpoints", "pauses"), [(["a"], True), (["b"], False), ("*", True), ((), False), (["a", "b"], True)]
)
def test_a_run_pauses_where_a_breakpoint_names_a_task(breakpoints: Any, pauses: bool) -> None:
    bench = Bench(fan("a", "b"), track=True).put(*go_to("a"))
    assert should_pause(bench.state, breakpoints, bench.plan()) is pauses


def test_a_breakpoint_that_was_shown_is_behind_us_until_something_changes() -> None:
    bench = Bench(fan("a"), track=True).put(*go_to("a"))
    tasks = bench.plan()
    bench.state.seen[INTERRUPT] = dict(bench.state.versions)
    assert not should_pause(bench.state, "*", tasks)
    bench.put(("x", 1))
    assert should_pause(bench.state, "*", tasks)


# -- what is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writes", "update", "result"),
    [
        ([], None, {}),
        ([(branch_to("b"), None)], None, {}),
        ([("x", 1)], {"x": 1}, {"x": 1}),
        ([("x", 1), ("log", ["a"]), (TASKS, Send("a", 1))], {"x": 1, "log": ["a"]}, {"x": 1, "log": ["a"]}),
        (
            [("log", ["a"]), ("log", ["b"])],
            [{"log": ["a"]}, {"log": ["b"]}],
            {"log": {"$writes": [["a"], ["b"]]}},
        ),
        (
            [("log", ["a"]), ("log", ["b"]), ("log", ["c"])],
            [{"log": ["a"]}, {"log": ["b"]}, {"log": ["c"]}],
            {"log": {"$writes": [["a"], ["b"], ["c"]]}},
        ),
        ([(RETURN, 3)], 3, {RETURN: 3}),
    ],
)
def test_updates_and_results_show_a_tasks_writes(writes: Any, update: Any, result: Any) -> None:
    program = fan("a").compile().program
    assert (updates_payload(program, writes), result_payload(program, writes)) == (update, result)


def test_updates_show_output_keys_and_results_the_whole_state() -> None:
    graph = StateGraph(Log, output_schema=OnlyLog).add_node("a", nothing).add_edge(START, "a")
    program = graph.compile().program
    writes = [("x", 1), ("log", ["a"])]
    assert updates_payload(program, writes) == {"log": ["a"]}
    assert updates_payload(program, writes[:1]) is None
    assert result_payload(program, writes) == {"x": 1, "log": ["a"]}


def test_a_state_of_one_value_is_shown_as_that_value() -> None:
    program = fan("a", schema=Annotated[list, operator.add]).compile().program
    assert updates_payload(program, [("__root__", [1])]) == [1]
    assert updates_payload(program, [("__root__", [1]), ("__root__", [2])]) == [[1], [2]]
    assert updates_payload(program, []) is None


def test_a_router_sees_the_writes_of_its_own_task_and_no_others() -> None:
    bench = Bench(fan("a", "b")).put(("log", ["in"]), ("x", 1))
    fresh = read_fresh(bench.state, [("log", ["a"]), ("y", 2)], ("log", "x", "y"))
    assert fresh == {"log": ["in", "a"], "x": 1, "y": 2}
    assert bench.values() == {"log": ["in"], "x": 1}


def test_values_are_the_keys_that_have_one() -> None:
    bench = Bench(fan("a"))
    assert bench.values() == {"log": []}
    assert bench.put(("y", 2)).values() == {"log": [], "y": 2}


def test_a_whole_run_needs_no_event_loop() -> None:
    graph = fan("a", "b").add_node("sum", nothing)
    graph.add_edge(["a", "b"], "sum").add_edge("sum", END)
    bench = Bench(graph).put(("log", ["in"]), *go_to("a", "b"))
    assert bench.advance(a=[("log", ["a"])], b=[("log", ["b"]), ("x", 1)]) == ["a", "b"]
    assert bench.advance(sum=[("y", 5)]) == ["sum"]
    assert bench.plan() == []
    assert bench.values() == {"log": ["in", "a", "b"], "x": 1, "y": 5}
