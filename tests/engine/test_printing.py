"""``print_mode``: parts on standard output, beside whatever else becomes of them."""

import re
from typing import Any

import pytest
from langgraph.graph import StateGraph as LangGraph

from engine import START, StateGraph
from tests.engine.samples import State, compiled, graph, say

LIBRARIES = (LangGraph, StateGraph)


def built(library: Any) -> Any:
    inner = library(State).add_node("i", say("i")).add_edge(START, "i").compile()
    outer = library(State).add_node("a", say("a")).add_node("sub", inner)
    return outer.add_edge(START, "a").add_edge("a", "sub").compile()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("invoke", {"print_mode": "updates"}),
        ("invoke", {"print_mode": ["values", "updates"]}),
        ("invoke", {"print_mode": "values", "stream_mode": "updates"}),
        ("stream", {"print_mode": "values"}),
        ("stream", {"print_mode": "updates", "stream_mode": ["updates", "values"]}),
        ("stream", {"print_mode": ["updates"], "subgraphs": True}),
        ("stream", {"debug": True}),
    ],
)
def test_the_same_is_printed_as_by_langgraph(
    method: str, options: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for library in LIBRARIES:
        answer = getattr(built(library), method)({"log": []}, **options)
        given = list(answer) if method == "stream" else answer
        shown.append((without_ids(capsys.readouterr().out), without_ids(repr(given))))
    assert shown[0] == shown[1]
    assert shown[0][0] != []


def without_ids(text: str) -> list[str]:
    return re.sub(r"[0-9a-f-]{36}", "id", text).splitlines()


async def test_the_async_forms_print_too(capsys: pytest.CaptureFixture[str]) -> None:
    made = compiled(a=say("a"))
    line = "\x1b[1m[updates]\x1b[0m {'a': {'log': ['a']}}\n"
    await made.ainvoke({"log": []}, print_mode="updates")
    assert capsys.readouterr().out == line
    assert [
        part async for part in made.astream({"log": []}, stream_mode="custom", print_mode="updates")
    ] == []
    assert capsys.readouterr().out == line


def test_a_graph_compiled_for_debugging_prints(capsys: pytest.CaptureFixture[str]) -> None:
    made = graph(a=say("a")).compile(debug=True)
    list(made.stream({"log": []}))
    assert capsys.readouterr().out.count("[updates]") == 1
    list(made.stream({"log": []}, debug=False))
    assert capsys.readouterr().out == ""


def test_a_graph_that_a_node_runs_and_prints_is_shown_to_the_stream_around_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    inner = compiled(i=say("i"))
    outer = compiled(a=lambda state: inner.invoke({"log": []}, print_mode="updates"))
    shown = list(outer.stream({"log": []}, subgraphs=True))
    assert [next(iter(update)) for _, update in shown] == ["i", "a"]
    assert capsys.readouterr().out.count("[updates]") == 1


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("no words")


def test_what_has_no_repr_is_printed_as_json(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    made = compiled(a=lambda state: {"x": Unspeakable()}, b=say("b"))
    assert made.invoke({"log": []}, print_mode="updates")["log"] == ["b"]
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith('{"a":{"x":{"type":"Unspeakable","repr":"<no repr>"}}}')
    assert second.endswith("{'b': {'log': ['b']}}")
    assert caplog.records == []
