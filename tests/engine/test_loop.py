"""A run as its observer sees it: what is reported, in which order, and what comes out of it."""

from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import (
    START,
    Command,
    InMemorySaver,
    Send,
    StateGraph,
)
from otel_stream import events as e
from tests.engine.recorder import WORLDS, Recorder, record, unbalanced
from tests.engine.samples import State, ask, chain, say, side_by_side, sub, thread

every_world = pytest.mark.parametrize("world", WORLDS)


def line(event: Any) -> str:  # noqa: PLR0911 - one per kind
    """Return an event as one readable line, without what differs from run to run."""
    kind = type(event).__name__
    name = getattr(event, "task", event).node if hasattr(event, "task") else event.run.graph
    match event:
        case e.RunEnded():
            return f"{kind} {name} {event.end.value}"
        case e.SuperstepStarted():
            return f"{kind} {name} {event.step}: {' '.join(task.node for task in event.tasks)}"
        case e.SuperstepEnded():
            return f"{kind} {name} {event.step} {event.end.value}: {' '.join(sorted(event.wrote))}".rstrip(
                ": "
            )
        case e.TaskEnded():
            return f"{kind} {name} {event.end.value} {event.update}"
        case e.AttemptStarted() | e.AttemptEnded():
            return f"{kind} {name} {event.attempt}"
        case e.ValuesChanged():
            return f"{kind} {name} {event.values}"
        case e.RouteChosen():
            return f"{kind} {name} {' '.join(event.targets)}"
        case _:
            return f"{kind} {name}"


def lines(recorder: Recorder) -> list[str]:
    return [line(event) for event in recorder.events]


# -- the whole story -------------------------------------------------------------------------------


@every_world
def test_a_run_is_told_from_its_start_to_its_end(world: str) -> None:
    graph = StateGraph(State).add_node("a", say("a")).add_node("b", say("b")).add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: "b", ["b"])
    recorder, loop = record(graph.compile(name="g"), {"x": 1}, world=world)
    assert lines(recorder) == [
        "RunStarted g",
        "ValuesChanged g {'log': [], 'x': 1}",
        "SuperstepStarted g 1: a",
        "TaskStarted a",
        "AttemptStarted a 1",
        "RouteChosen a b",
        "AttemptEnded a 1",
        "TaskEnded a ok {'log': ['a']}",
        "SuperstepEnded g 1 ok: log",
        "ValuesChanged g {'log': ['a'], 'x': 1}",
        "SuperstepStarted g 2: b",
        "TaskStarted b",
        "AttemptStarted b 1",
        "AttemptEnded b 1",
        "TaskEnded b ok {'log': ['b']}",
        "SuperstepEnded g 2 ok: log",
        "ValuesChanged g {'log': ['a', 'b'], 'x': 1}",
        "RunEnded g ok",
    ]
    assert loop.result == {"x": 1, "log": ["a", "b"]}


@every_world
def test_the_run_of_a_subgraph_lies_within_its_task(world: str) -> None:
    recorder, _ = record(side_by_side(inner=sub(i=say("i"))), {}, world=world)
    assert lines(recorder) == [
        "RunStarted g",
        "SuperstepStarted g 1: inner",
        "TaskStarted inner",
        "AttemptStarted inner 1",
        "RunStarted sub",
        "ValuesChanged sub {'log': []}",
        "SuperstepStarted sub 1: i",
        "TaskStarted i",
        "AttemptStarted i 1",
        "AttemptEnded i 1",
        "TaskEnded i ok {'log': ['i']}",
        "SuperstepEnded sub 1 ok: log",
        "ValuesChanged sub {'log': ['i']}",
        "RunEnded sub ok",
        "AttemptEnded inner 1",
        "TaskEnded inner ok {'log': ['i']}",
        "SuperstepEnded g 1 ok: log",
        "ValuesChanged g {'log': ['i']}",
        "RunEnded g ok",
    ]
    inner = recorder.of(e.RunStarted)[1].run
    (around,) = (event.task for event in recorder.of(e.TaskStarted) if event.task.node == "inner")
    assert (inner.parent, inner.root, inner.ns) == (around, around.run, (f"inner:{around.id}",))


@every_world
def test_all_tasks_of_a_superstep_start_before_any_node_runs(world: str) -> None:
    recorder, _ = record(side_by_side(z=say("z"), m=say("m"), a=say("a")), {}, world=world)
    kinds = (e.TaskStarted, e.AttemptStarted)
    started = [(type(event), event.task.node) for event in recorder.of(*kinds)]
    assert started[:3] == [(e.TaskStarted, name) for name in ("a", "m", "z")]
    assert sorted(name for _, name in started[3:]) == ["a", "m", "z"]


@every_world
def test_a_second_turn_on_a_thread_is_told_like_the_first(world: str) -> None:
    graph = side_by_side(a=say("a"), checkpointer=InMemorySaver())
    told = []
    for _ in range(2):
        recorder, _ = record(graph, {"x": 1}, thread(), world=world)
        assert unbalanced(recorder.events) == []
        told.append([type(event).__name__ for event in recorder.events])
    assert told[0] == told[1]


# -- one outcome, whichever way it was reached ------------------------------------------------------


@settings(max_examples=20)
@given(ends=st.permutations(["a", "b", "c", "d"]))
def test_whichever_node_ends_first_the_state_is_the_same(ends: list[str]) -> None:
    """Async nodes wait for one another, so that they end exactly in the order drawn."""
    ended = {name: anyio.Event() for name in ends}
    before = dict(zip(ends[1:], ends[:-1], strict=True))

    def node(name: str) -> Any:
        async def run(state: Any) -> dict[str, Any]:
            if name in before:
                await ended[before[name]].wait()
            ended[name].set()
            return {"log": [name]}

        return run

    recorder, loop = record(side_by_side(**{name: node(name) for name in "dcba"}), {})
    assert [name for name, _ in recorder.task_ends()] == ends
    assert loop.result == {"log": ["a", "b", "c", "d"]}


def test_asyncio_trio_and_threads_tell_the_same_story() -> None:
    graph = StateGraph(State).add_node("split", say("split")).add_edge(START, "split")
    graph.add_node("work", sub(i=lambda item: {"log": ["i"]})).add_node("end", say("end"))
    graph.add_conditional_edges("split", lambda state: [Send("work", {}) for _ in range(3)], ["work"])
    graph.add_edge("work", "end")
    compiled = graph.compile(name="g")
    told = [record(compiled, {}, {"max_concurrency": 1}, world=world) for world in WORLDS]
    assert [sorted(lines(recorder)) for recorder, _ in told[1:]] == [sorted(lines(told[0][0]))] * 2
    assert [loop.result for _, loop in told] == [{"log": ["split", "i", "i", "i", "end"]}] * 3


@every_world
def test_all_interrupts_of_a_superstep_are_collected(world: str) -> None:
    graph = side_by_side(a=ask, b=ask, checkpointer=InMemorySaver())
    recorder, loop = record(graph, {}, thread(), world=world)
    assert [i.value for i in loop.interrupts] == ["name?", "name?"]
    (waiting,) = recorder.of(e.RunInterrupted)
    assert recorder.events.index(waiting) == len(recorder.events) - 2
    assert recorder.events[-1].interrupts == waiting.interrupts == loop.interrupts
    answers = {i.id: name for i, name in zip(loop.interrupts, ("Ada", "Bob"), strict=True)}
    _, resumed = record(graph, Command(resume=answers), thread(), world=world)
    assert resumed.result == {"log": ["Ada", "Bob"]}


def test_the_error_of_a_run_names_all_that_failed_in_its_superstep() -> None:
    meet = anyio.Event()
    waiting: list[str] = []

    def failing(name: str) -> Any:
        async def node(state: Any) -> None:
            waiting.append(name)
            if len(waiting) == 2:
                meet.set()
            await meet.wait()
            raise ValueError(name)

        return node

    _, loop = record(side_by_side(a=failing("first"), b=failing("second")), {})
    assert loop.error is not None
    assert loop.error.args in (("first",), ("second",))


@pytest.mark.parametrize(
    ("limit", "end"), [(2, "recursion_limit"), (3, "recursion_limit"), (4, "ok"), (5, "ok")]
)
def test_a_recursion_limit_is_reached_as_in_langgraph(limit: int, end: str) -> None:
    """As many supersteps run as it says; a run must find out before the next one that nothing is left."""
    recorder, _ = record(chain("a", "b", "c"), {}, {"recursion_limit": limit})
    assert recorder.ends() == [("g", end)]
    assert [event.task.node for event in recorder.of(e.AttemptStarted)] == ["a", "b", "c"][:limit]


def test_nobody_who_watches_changes_what_happens() -> None:
    """Without an observer nothing is built; the result is the same."""
    compiled = side_by_side(a=sub(i=say("i")), b=say("b"))
    _, loop = record(compiled, {"x": 1})
    assert compiled.invoke({"x": 1}) == loop.result
