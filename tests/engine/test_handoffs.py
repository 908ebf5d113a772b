"""``Command.PARENT``: a node that hands off to the graph around it, as agents do to each other."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import langgraph.graph
import langgraph.types
import pytest
from langchain_core.callbacks import BaseCallbackHandler

from engine import START, Command, InMemorySaver, InvalidUpdateError, ParentCommand, Send, StateGraph, task
from otel_stream.events import TaskEnded
from otel_stream.runs import End
from otel_stream.testing import telemetry
from tests.engine.recorder import WORLDS, record, unbalanced

PARENT = Command.PARENT
THREAD: Any = {"configurable": {"thread_id": "1"}}


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def says(*words: str, goto: Any = (), graph: str | None = PARENT) -> Command[Any]:
    return Command(graph=graph, update={"log": list(words)}, goto=goto)


def team(*answers: Any, saver: Any = None) -> Any:
    """A graph whose node ``team`` is a subgraph of nodes ``h0``, ``h1``, ..., one for each answer."""
    inner = StateGraph(Log)
    for index, answer in enumerate(answers):
        inner.add_node(f"h{index}", answer if callable(answer) else lambda s, answer=answer: answer)
        inner.add_edge(START, f"h{index}")
    return outer(inner.compile(), saver=saver)


def outer(inner: Any, *, saver: Any = None) -> Any:
    graph = StateGraph(Log).add_node("team", inner).add_edge(START, "team")
    for name in "bc":
        graph.add_node(name, lambda s, name=name: {"log": [name]})
    return graph.compile(checkpointer=saver)


@pytest.mark.clause("S-END-11")
@pytest.mark.parametrize("world", WORLDS)
def test_a_handoff_ends_its_task_and_its_graph_well(world: str) -> None:
    recorder, loop = record(team(says("x", goto="b")), {"log": []}, world=world)
    assert loop.result == {"log": ["x", "b"]}
    ended: list[TaskEnded] = recorder.of(TaskEnded)
    assert [(e.task.node, e.end, e.error, e.update, e.hands_off) for e in ended] == [
        ("h0", End.OK, None, None, True),
        ("team", End.OK, None, {"log": ["x"]}, False),
        ("b", End.OK, None, {"log": ["b"]}, False),
    ]
    assert recorder.ends() == [("LangGraph", "ok"), ("LangGraph", "ok")]
    assert unbalanced(recorder.events) == []


def test_a_handoff_is_the_update_of_the_node_that_it_leaves_and_of_no_other() -> None:
    parts = list(
        team(says("x", goto="b")).stream({"log": []}, stream_mode=["updates", "tasks"], subgraphs=True)
    )
    assert [(len(ns), data) for ns, mode, data in parts if mode == "updates"] == [
        (0, {"team": {"log": ["x"]}}),
        (0, {"b": {"log": ["b"]}}),
    ]
    results = [data for _, mode, data in parts if mode == "tasks" and "result" in data]
    assert [(data["name"], data["error"], data["result"]) for data in results] == [
        ("h0", None, {}),
        ("team", None, {"log": ["x"]}),
        ("b", None, {"log": ["b"]}),
    ]


def test_no_span_of_a_handoff_is_an_error() -> None:
    with telemetry() as exported:
        team(says("x", goto="b")).invoke({"log": []})
    assert [span.name for span in exported.spans if span.name.startswith("invoke_node")] == [
        "invoke_node team",
        "invoke_node h0",
        "invoke_node b",
    ]
    assert [span.name for span in exported.spans if not span.status.is_unset or span.events] == []


class Errors(BaseCallbackHandler):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_chain_error(self, error: BaseException, **about: Any) -> None:
        self.told.append(error)

    def on_chain_end(self, outputs: Any, **about: Any) -> None:
        self.told.append("end")


def test_callbacks_are_told_of_no_error_in_a_handoff() -> None:
    told = Errors()
    team(says("x", goto="b")).invoke({"log": []}, {"callbacks": [told]})
    assert told.told == ["end"] * 5


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "answers",
    [
        [says("1", goto="b"), says("2", goto="c")],
        [[says("1", goto="b"), says("2", goto="c")]],
        [[says("1"), says("2", goto=["b", "c"])]],
        [[says("1", goto=Send("b", {}))], says("2", goto=Send("c", {}))],
        [{"log": ["own"]}, says("1", goto="b"), {"log": ["own"]}, says("2", goto="c")],
    ],
    ids=["two nodes", "one node", "one node, one goto", "packets", "beside others"],
)
def test_all_commands_of_a_superstep_reach_the_graph_around(answers: list[Any], world: str) -> None:
    _, loop = record(team(*answers), {"log": []}, world=world)
    assert loop.result == {"log": ["1", "2", "b", "c"]}


def test_all_commands_reach_the_graph_that_is_two_levels_up() -> None:
    inner = StateGraph(Log)
    for name in ("h1", "h2"):
        inner.add_node(name, lambda s, name=name: says(name)).add_edge(START, name)

    def passes_on(state: Log) -> Any:
        try:
            inner.compile().invoke(state)
        except ParentCommand as handoff:
            return [Command(graph=PARENT, update=one.update, goto="b") for one in handoff.args]

    middle = StateGraph(Log).add_node("m", passes_on).add_edge(START, "m").compile()
    assert outer(middle).invoke({"log": []}) == {"log": ["h1", "h2", "b"]}


def named(name: str) -> Callable[[Any], Any]:
    def raises(state: Any) -> Any:
        raise ParentCommand(says("x", goto="b", graph=name))

    return raises


@pytest.mark.parametrize("world", WORLDS)
def test_commands_for_different_graphs_are_refused(world: str) -> None:
    _, loop = record(team(says("1"), named("elsewhere")), {"log": []}, world=world)
    assert isinstance(loop.error, InvalidUpdateError)
    assert "for different graphs" in str(loop.error)


@pytest.mark.parametrize("name", ["team", "m", "team|m"])
def test_a_command_may_name_the_node_that_takes_it(name: str) -> None:
    inner = StateGraph(Log).add_node("h", named(name)).add_edge(START, "h").compile()
    middle = StateGraph(Log).add_node("m", inner).add_node("b", lambda s: {"log": ["inner b"]})
    log = outer(middle.add_edge(START, "m").compile()).invoke({"log": []})["log"]
    assert log == (["x", "b"] if name == "team" else ["x", "inner b"])


@pytest.mark.parametrize("world", WORLDS)
def test_a_handoff_that_nobody_takes_is_an_error(world: str) -> None:
    alone = StateGraph(Log).add_node("h", lambda s: says("x")).add_edge(START, "h").compile()
    recorder, loop = record(alone, {"log": []}, world=world)
    assert isinstance(loop.error, ParentCommand)
    assert recorder.task_ends() == [("h", "error")]
    assert recorder.ends() == [("LangGraph", "error")]


def test_langgraphs_subgraph_hands_off_to_the_graph_around() -> None:
    lg: Any = langgraph.graph.StateGraph(Log)
    handoff = langgraph.types.Command(graph=PARENT, update={"log": ["x"]}, goto="b")
    lg.add_node("h", lambda s: handoff).add_edge(START, "h")
    assert outer(lg.compile()).invoke({"log": []}) == {"log": ["x", "b"]}


HANDING_OFF = StateGraph(Log).add_node("h", lambda s: says("x", goto="b")).add_edge(START, "h").compile()


@task
def in_a_task(state: Log) -> Any:
    return HANDING_OFF.invoke(state)


async def by_astream(state: Log) -> None:
    async for _ in HANDING_OFF.astream(state):
        pass


async def by_open_stream(state: Log) -> None:
    async with HANDING_OFF.open_stream(state) as stream:
        async for _ in stream:
            pass


def without_a_loop(state: Log) -> None:
    with HANDING_OFF.open_stream(state) as stream:
        list(stream)


@pytest.mark.parametrize(
    ("node", "world"),
    [
        (lambda s: {**HANDING_OFF.invoke(s)}, "threads"),
        (lambda s: list(HANDING_OFF.stream(s)), "threads"),
        (lambda s: HANDING_OFF.batch([s]), "threads"),
        (lambda s: in_a_task(s).result(), "threads"),
        (without_a_loop, "threads"),
        *((node, world) for node in (by_astream, by_open_stream) for world in ("asyncio", "trio")),
    ],
    ids=range(9),
)
def test_a_handoff_is_passed_on_however_the_subgraph_is_run(node: Any, world: str) -> None:
    _, loop = record(outer(node), {"log": []}, world=world)
    assert loop.result == {"log": ["x", "b"]}


def test_a_thread_goes_on_after_a_handoff() -> None:
    graph = team(says("x", goto="b"), saver=InMemorySaver())
    assert graph.invoke({"log": []}, THREAD, interrupt_before=["b"]) == {"log": ["x"]}
    state = graph.get_state(THREAD)
    assert (state.next, [task.error for task in state.tasks]) == (("b",), [None])
    assert graph.invoke(None, THREAD) == {"log": ["x", "b"]}
