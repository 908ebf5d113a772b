"""What a run takes for input, what a node answers with, and what a router sees."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import langgraph.graph
import langgraph.types
import pytest
from pydantic import BaseModel, Field

import engine
from engine import (
    END,
    START,
    Command,
    EmptyInputError,
    InMemorySaver,
    IsLastStep,
    RemainingSteps,
    StateGraph,
    interrupt,
)

THREAD: Any = {"configurable": {"thread_id": "1"}}


# -- managed values in routers -------------------------------------------------------------------------


class Typed(TypedDict, total=False):
    log: Annotated[list[int], operator.add]
    remaining_steps: RemainingSteps
    is_last_step: IsLastStep


@dataclass
class Data:
    log: Annotated[list[int], operator.add] = field(default_factory=list)
    remaining_steps: RemainingSteps = 0
    is_last_step: IsLastStep = True


class Model(BaseModel):
    log: Annotated[list[int], operator.add] = Field(default_factory=list)
    remaining_steps: RemainingSteps = 0
    is_last_step: IsLastStep = True


def value(state: Any, key: str) -> Any:
    return state[key] if isinstance(state, dict) else getattr(state, key)


@pytest.mark.parametrize("schema", [Typed, Data, Model])
def test_a_router_sees_the_managed_values_its_node_sees(schema: Any) -> None:
    seen: list[tuple[int, bool]] = []

    def node(state: Any) -> Any:
        return {"log": [value(state, "remaining_steps")]}

    def router(state: Any) -> str:
        seen.append((value(state, "remaining_steps"), value(state, "is_last_step")))
        return END if value(state, "remaining_steps") <= 2 else "a"

    graph = StateGraph(schema).add_node("a", node).add_edge(START, "a").add_conditional_edges("a", router)
    log = graph.compile().invoke({"log": []}, {"recursion_limit": 5})["log"]
    assert [steps for steps, _ in seen] == log == [4, 3, 2]


# -- pydantic objects ----------------------------------------------------------------------------------


class S(BaseModel):
    n: int = 1
    mode: str = "auto"
    tags: list[str] = Field(default_factory=list)
    note: str | None = None
    hint: str | None = "h"


ANSWERS: list[Any] = [
    S(),
    S(n=2),
    S(note=None),
    S(hint=None),
    S(n=3, note="x"),
    S.model_construct(),
    S.model_construct(n=4),
]


@pytest.mark.parametrize("where", ["input", "answer", "command", "update_state"])
@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_a_pydantic_object_writes_what_it_writes_in_langgraph(where: str, answer: Any) -> None:
    def run(lib: Any, types: Any, saver: Any) -> Any:
        given = {"mode": "manual", "tags": ["t"], "note": "n"}
        node = {"answer": lambda s: answer, "command": lambda s: types.Command(update=answer)}.get(where)
        graph = lib.StateGraph(S).add_node("n", node or (lambda s: None)).add_edge("__start__", "n")
        compiled = graph.compile(checkpointer=saver)
        compiled.invoke(answer if where == "input" else given, THREAD)
        if where == "update_state":
            compiled.update_state(THREAD, answer)
        return compiled.get_state(THREAD).values

    from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver

    assert run(engine, engine, InMemorySaver()) == run(langgraph.graph, langgraph.types, LangGraphSaver())


# -- commands as input ---------------------------------------------------------------------------------


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def logging(saver: Any, node: Any = lambda s: {"log": ["a"]}) -> Any:
    graph = StateGraph(Log).add_node("a", node).add_node("b", lambda s: {"log": ["b"]})
    return graph.add_edge(START, "a").compile(checkpointer=saver)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(
    ("command", "log"),
    [
        (Command(update={"log": ["u"]}), ["u", "a"]),
        (Command(update=[("log", ["u"])]), ["u", "a"]),
        (langgraph.types.Command(update={"log": ["u"]}), ["u", "a"]),
        (Command(goto="b"), ["a", "b"]),
        (Command(update={"log": ["u"]}, goto="b"), ["u", "a", "b"]),
    ],
    ids=repr,
)
def test_a_run_starts_with_what_its_first_command_updates(command: Any, log: list[str], kept: bool) -> None:
    assert logging(InMemorySaver() if kept else None).invoke(command, THREAD) == {"log": log}


@pytest.mark.parametrize("answer", ["yes", {"a" * 32: "yes"}], ids=["one", "by id"])
@pytest.mark.parametrize("before", [None, {"log": []}], ids=["never run", "finished"])
def test_an_answer_for_a_thread_that_waits_for_nothing_is_refused(answer: Any, before: Any) -> None:
    graph = logging(InMemorySaver())
    if before is not None:
        graph.invoke(before, THREAD)
    with pytest.raises(EmptyInputError, match=r"thread .1. waits for no answer"):
        graph.invoke(Command(resume=answer), THREAD)
    assert graph.invoke({"log": ["again"]}, THREAD)["log"][-2:] == ["again", "a"]


def test_a_refused_answer_answers_no_later_question() -> None:
    graph = logging(InMemorySaver(), lambda s: {"log": [interrupt("q")]})
    with pytest.raises(EmptyInputError):
        graph.invoke(Command(resume="early"), THREAD)
    assert graph.invoke({"log": []}, THREAD)["__interrupt__"][0].value == "q"
    assert graph.invoke(Command(resume="now"), THREAD)["log"] == ["now"]


def test_an_empty_command_is_no_input() -> None:
    with pytest.raises(EmptyInputError, match="empty Command"):
        logging(InMemorySaver()).invoke(Command(), THREAD)


# -- where a node's command goes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "goto",
    [
        lambda: {"b"},
        lambda: iter(["b"]),
        lambda: (name for name in ["b"]),
        lambda: dict.fromkeys(["b"]),
        lambda: dict.fromkeys(["b"]).keys(),
        lambda: frozenset({"b"}),
        lambda: map(str, ["b"]),
    ],
    ids=["set", "iterator", "generator", "dict", "keys", "frozenset", "map"],
)
def test_a_command_goes_to_the_nodes_of_any_iterable_as_in_langgraph(goto: Any) -> None:
    def built(words: Any, word: Any) -> Any:
        graph = words.StateGraph(Log).add_node("a", lambda s: word(update={"log": ["a"]}, goto=goto()))
        return graph.add_node("b", lambda s: {"log": ["b"]}).add_edge(START, "a").compile()

    for words, word in (
        (engine, Command),
        (langgraph.graph, langgraph.types.Command),
        (engine, langgraph.types.Command),
    ):
        graph = built(words, word)
        assert graph.invoke({"log": []}) == {"log": ["a", "b"]}
        modes = ["updates", "tasks", "debug"]  # each looks at the answer
        assert [
            part["log"]
            for mode, part in graph.stream({"log": []}, stream_mode=[*modes, "values"])
            if mode == "values"
        ][-1] == ["a", "b"]


@pytest.mark.parametrize(
    "goto", [None, 0, 1, False, object(), ValueError("x"), int], ids=lambda goto: type(goto).__name__
)
def test_a_command_that_goes_to_what_is_no_node_is_an_error_as_in_langgraph(goto: Any) -> None:
    for words, word in (
        (engine, Command),
        (langgraph.graph, langgraph.types.Command),
        (engine, langgraph.types.Command),
    ):
        graph = words.StateGraph(Log).add_node(
            "a", lambda s, word=word: word(update={"log": ["a"]}, goto=goto)
        )
        graph = graph.add_node("b", lambda s: {"log": ["b"]}).add_edge(START, "a").compile()
        with pytest.raises(TypeError):
            graph.invoke({"log": []})


def test_an_answer_may_say_that_it_goes_nowhere() -> None:
    graph = logging(InMemorySaver(), lambda s: {"log": [interrupt("q")]})
    graph.invoke({"log": []}, THREAD)
    assert graph.invoke(Command(resume="yes", goto=None), THREAD) == {"log": ["yes"]}  # type: ignore[arg-type]
