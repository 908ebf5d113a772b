"""Questions that runs stop for: their ids, their answers, and what is not done twice."""

import operator
import re
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import ValidationError

from engine import (
    START,
    Command,
    InMemorySaver,
    StateGraph,
    UnknownInterruptError,
    interrupt,
    is_invalid_resume,
)

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}
STRICT: dict[str, Any] = {"configurable": {"thread_id": "t", "__pregel_strict_resume": True}}


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def beside(**nodes: Any) -> Any:
    """A graph whose nodes all run in the first superstep."""
    builder = StateGraph(Log)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile(checkpointer=InMemorySaver())


def asks(question: str) -> Any:
    return lambda state: {"log": [f"{question}:{interrupt(question)}"]}


def pending(graph: Any) -> dict[str, str]:
    return {i.value: i.id for i in graph.get_state(CONFIG).interrupts}


def test_an_interrupt_has_the_same_id_however_often_it_is_asked() -> None:
    graph = beside(a=asks("A"))
    (first,) = graph.invoke({"log": []}, CONFIG)["__interrupt__"]
    (again,) = graph.invoke(None, CONFIG)["__interrupt__"]
    assert first.id == again.id == pending(graph)["A"]
    assert re.fullmatch("[0-9a-f]{32}", first.id)


def test_two_questions_of_one_node_have_ids_of_their_own() -> None:
    graph = beside(a=lambda state: {"log": [interrupt("1") + interrupt("2")]})
    (one,) = graph.invoke({"log": []}, CONFIG)["__interrupt__"]
    (two,) = graph.invoke(Command(resume={one.id: "x"}), CONFIG)["__interrupt__"]
    assert one.id != two.id
    assert graph.invoke(Command(resume={two.id: "y"}), CONFIG) == {"log": ["xy"]}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_answers_may_come_one_at_a_time_and_each_counts_once(durability: str) -> None:
    graph = beside(a=asks("A"), b=asks("B"), c=asks("C"))
    result = graph.invoke({"log": []}, CONFIG, durability=durability)
    while waiting := result.get("__interrupt__"):
        result = graph.invoke(Command(resume={waiting[0].id: "yes"}), CONFIG, durability=durability)
    assert result == {"log": ["A:yes", "B:yes", "C:yes"]}


def test_one_answer_for_several_questions_is_refused() -> None:
    graph = beside(a=asks("A"), b=asks("B"))
    graph.invoke({"log": []}, CONFIG)
    with pytest.raises(RuntimeError, match="you must specify the interrupt id"):
        graph.invoke(Command(resume="yes"), CONFIG)


@pytest.mark.parametrize(
    ("resume", "reason"), [({}, "empty_map"), ({"0" * 32: "x"}, "not_pending"), ("yes", "ambiguous")]
)
def test_a_strict_resume_must_answer_what_is_asked(resume: Any, reason: str) -> None:
    graph = beside(a=asks("A"), b=asks("B"))
    graph.invoke({"log": []}, CONFIG)
    with pytest.raises(UnknownInterruptError) as caught:
        graph.invoke(Command(resume=resume), STRICT)
    assert (caught.value.reason, sorted(caught.value.pending_ids)) == (
        reason,
        sorted(pending(graph).values()),
    )


def test_an_answer_that_does_not_fit_leaves_its_question_open_and_spares_the_others() -> None:
    def choose(state: Log) -> Any:
        return {"log": [interrupt("choice", response_schema=Literal["l", "r"])]}

    graph = beside(a=asks("A"), choose=choose)
    graph.invoke({"log": []}, CONFIG)
    ids = pending(graph)
    with pytest.raises(ValidationError) as caught:
        graph.invoke(Command(resume={ids["A"]: "yes", ids["choice"]: "x"}), CONFIG)
    assert is_invalid_resume(caught.value)
    assert not is_invalid_resume(ValueError())
    assert list(pending(graph)) == ["choice"]
    assert graph.invoke(Command(resume="l"), CONFIG) == {"log": ["A:yes", "l"]}


def test_a_command_on_resume_writes_once_however_often_the_run_stops() -> None:
    graph = beside(a=lambda state: {"log": [interrupt("1") + interrupt("2")]})
    graph.invoke({"log": []}, CONFIG)
    graph.invoke(Command(resume="x", update={"log": ["u"]}), CONFIG)
    assert graph.invoke(Command(resume="y"), CONFIG) == {"log": ["u", "xy"]}


def test_the_state_shows_who_still_waits_and_the_history_what_was_asked() -> None:
    graph = beside(a=asks("A"), b=asks("B"))
    graph.invoke({"log": []}, CONFIG)
    graph.invoke(Command(resume={pending(graph)["A"]: "yes"}), CONFIG)
    state = graph.get_state(CONFIG)
    assert (state.next, state.values, [i.value for i in state.interrupts]) == (
        ("b",),
        {"log": ["A:yes"]},
        ["B"],
    )
    record = next(iter(graph.get_state_history(CONFIG)))
    assert (record.next, record.values, [i.value for i in record.interrupts]) == (
        ("a", "b"),
        {"log": []},
        ["A", "B"],
    )


@pytest.mark.parametrize("input", [{}, {"name": "y"}], ids=["nothing new", "a key of the input"])
@pytest.mark.parametrize("keys", [None, ["log"]])
@pytest.mark.parametrize("nested", [False, True])
async def test_what_is_returned_beside_a_question_is_the_state_whatever_has_changed(
    input: Any, keys: Any, nested: bool, anyio_backend: str
) -> None:
    class Named(Log, total=False):
        name: str

    graph: Any = StateGraph(Named).add_node("ask", asks("?")).add_edge(START, "ask").compile(None)
    if nested:
        graph = StateGraph(Named).add_node("sub", graph).add_edge(START, "sub").compile(None)
    graph.checkpointer = InMemorySaver()
    graph.invoke({"name": "x", "log": ["in"]}, CONFIG)
    graph.invoke(Command(resume="yes"), CONFIG)
    log = graph.get_state(CONFIG).values["log"]
    state = {"log": log, "name": "x", **input} if keys is None else {"log": log}
    shown = graph.invoke(input, CONFIG, output_keys=keys)
    assert [one.value for one in shown.pop("__interrupt__")] == ["?"]
    assert shown == state
    assert (await graph.ainvoke(input, CONFIG, output_keys=keys, version="v2")).value == state


def test_a_state_that_is_one_mapping_is_shown_beside_a_question() -> None:
    graph = StateGraph(dict).add_node("ask", asks("?")).add_edge(START, "ask").compile(InMemorySaver())
    shown = graph.invoke({"x": 1}, CONFIG)
    assert [one.value for one in shown.pop("__interrupt__")] == ["?"]
    assert shown == {"x": 1}


def test_beside_a_question_one_key_alone_is_not_taken_for_the_state() -> None:
    class Settings(TypedDict, total=False):
        settings: dict[str, str]

    graph = StateGraph(Settings).add_node("ask", asks("?")).add_edge(START, "ask").compile(InMemorySaver())
    assert [*graph.invoke({"settings": {"a": "b"}}, CONFIG, output_keys="settings")] == ["__interrupt__"]


@pytest.mark.parametrize("checkpointer", [None, InMemorySaver()])
def test_what_the_others_have_written_is_shown_whether_or_not_it_is_kept(checkpointer: Any) -> None:
    graph = beside(a=asks("A"), b=lambda state: {"log": ["b"]})
    graph.checkpointer = checkpointer
    states = list(graph.stream({"log": []}, CONFIG, stream_mode="values"))
    assert [state["log"] for state in states if "__interrupt__" not in state] == [[], ["b"]]
