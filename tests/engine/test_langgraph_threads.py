"""A thread on a saver of LangGraph's goes on in either library, and nothing that has finished runs twice."""

import operator
from typing import Annotated, Any, TypedDict

import langgraph.func
import langgraph.graph
import langgraph.types
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

import engine

CONFIG = {"configurable": {"thread_id": "1"}}
BOTH_WAYS = [("engine", "langgraph"), ("langgraph", "engine")]


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    n: int


class Of:
    """The words of a library."""

    def __init__(self, library: str) -> None:
        ours = library == "engine"
        self.graph = engine.StateGraph if ours else langgraph.graph.StateGraph
        self.types: Any = engine if ours else langgraph.types
        self.functional: Any = engine if ours else langgraph.func


def _graph(of: Of, saver: Any, ran: list[str]) -> Any:
    """Every kind of task at once: pulled, sent, subgraphs that are nodes or called, failing."""

    def inside(name: str) -> Any:
        def before(_: State) -> State:
            ran.append(f"{name} before")
            return {"log": [f"{name} before"]}

        def ask(_: State) -> State:
            return {"log": [of.types.interrupt(f"{name} first"), of.types.interrupt(f"{name} second")]}

        graph = of.graph(State).add_node("before", before).add_node("ask", ask)
        return graph.add_edge("__start__", "before").add_edge("before", "ask").compile()

    called = inside("called")

    def plan(_: State) -> State:
        ran.append("plan")
        return {"n": 3}

    def work(state: State) -> State:
        if state["n"] == 1:
            return {"log": [of.types.interrupt("work")]}
        ran.append(f"work {state['n']}")
        return {"log": [state["n"]]}

    def calls(_: State) -> State:
        return {"log": called.invoke({"log": []})["log"]}

    def fails(_: State) -> State:
        ran.append("fails")
        raise ValueError("no")

    def handles(_: State) -> State:
        return {"log": [of.types.interrupt("handler")]}

    graph = of.graph(State).add_node("plan", plan).add_node("work", work).add_node("calls", calls)
    graph.add_node("inside", inside("node")).add_node("fails", fails, error_handler=handles)
    for name in ("calls", "inside", "fails"):
        graph.add_edge("plan", name)
    graph.add_edge("__start__", "plan")
    graph.add_conditional_edges(
        "plan", lambda s: [of.types.Send("work", {"n": n}) for n in range(s["n"])], ["work"]
    )
    return graph.compile(checkpointer=saver)


def _flow(of: Of, saver: Any, ran: list[str]) -> Any:
    @of.functional.task
    def one(n: int) -> int:
        ran.append(f"one {n}")
        return n + 1

    @of.functional.task
    def asks(n: int) -> str:
        return str(of.types.interrupt(f"task {n}"))

    @of.functional.entrypoint(checkpointer=saver)
    def flow(n: int) -> list[Any]:
        there = one(one(n).result()).result()
        return [there, asks(there).result(), of.types.interrupt("flow")]

    return flow


def _shown(snapshot: Any) -> list[Any]:
    return sorted(
        (t.name, t.id, t.path, [(i.value, i.id) for i in t.interrupts], repr(t.result), t.error)
        for t in snapshot.tasks
    )


@pytest.mark.parametrize(("writer", "reader"), BOTH_WAYS)
@pytest.mark.parametrize(("build", "given"), [(_graph, {"log": []}), (_flow, 1)])
def test_both_show_the_same_tasks_and_questions_by_the_same_ids(writer, reader, build, given):
    saver = InMemorySaver()
    graph = build(Of(writer), saver, [])
    graph.invoke(given, CONFIG)
    shown = _shown(graph.get_state(CONFIG))
    assert shown
    assert shown == _shown(build(Of(reader), saver, []).get_state(CONFIG))


@pytest.mark.parametrize(("writer", "reader"), BOTH_WAYS)
@pytest.mark.parametrize(
    ("build", "given", "finished"),
    [
        (
            _graph,
            {"log": []},
            ["called before", "fails", "node before", "plan", "work 0", "work 2"],
        ),
        (_flow, 1, ["one 1", "one 2"]),
    ],
)
def test_what_either_has_finished_the_other_does_not_repeat(writer, reader, build, given, finished):
    saver, ran, again = InMemorySaver(), [], []
    build(Of(writer), saver, ran).invoke(given, CONFIG)
    assert sorted(ran) == finished
    graph, asked, result = build(Of(reader), saver, again), [], None
    while not asked or asked[-1]:
        questions = graph.get_state(CONFIG).interrupts or (result or {}).get("__interrupt__", ())
        asked.append([question.value for question in questions])
        answers = {question.id: f"{question.value}!" for question in questions}
        if answers:
            result = graph.invoke(Of(reader).types.Command(resume=answers), CONFIG)
        if isinstance(result, list):
            break
    assert again == []
    assert graph.get_state(CONFIG).next == ()
    alone = build(Of("langgraph"), InMemorySaver(), [])
    assert result == _answered(alone, given)


def _answered(graph: Any, given: Any) -> Any:
    """Return the result of LangGraph where every question is answered by itself with an exclamation mark."""
    result = graph.invoke(given, CONFIG)
    while questions := isinstance(result, dict) and result.get("__interrupt__"):
        answers = {question.id: f"{question.value}!" for question in questions}
        result = graph.invoke(langgraph.types.Command(resume=answers), CONFIG)
    return result


def test_words_in_a_checkpoint_are_langgraphs_on_its_saver_and_ours_again_when_read():
    saver = InMemorySaver()
    graph = _graph(Of("engine"), saver, [])
    graph.invoke({"log": []}, CONFIG)
    found = saver.get_tuple(CONFIG)
    sends = found.checkpoint["channel_values"]["__pregel_tasks"]
    assert [type(send) for send in sends] == [langgraph.types.Send] * 3
    asked = [value for _, channel, value in found.pending_writes if channel == "__interrupt__"]
    assert {type(one) for several in asked for one in several} == {langgraph.types.Interrupt}
    assert {type(one) for one in graph.get_state(CONFIG).interrupts} == {engine.Interrupt}


def test_messages_of_ours_are_langchains_on_langgraphs_saver():
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"x": 1}'}}
    answers = [
        [
            engine.Message(role="user", content="hi", id="1", name="ada"),
            engine.Message(role="assistant", content=None, id="2", tool_calls=[call]),
            engine.Message(role="tool", content="7", id="3", tool_call_id="c"),
            engine.Message(role="developer", content="short", id="4", extra={"more": 1}),
        ],
        [engine.RemoveMessage("4"), engine.Message(role="user", content="bye", id="5")],
        engine.Overwrite([engine.Message(role="system", content="anew", id="6")]),
    ]
    graph = engine.StateGraph(engine.MessagesState)
    for index, answer in enumerate(answers):
        graph.add_node(f"say {index}", lambda _, answer=answer: {"messages": answer})
        graph.add_edge(f"say {index - 1}" if index else "__start__", f"say {index}")
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke({"messages": []}, CONFIG)
    anew, after, before = [state.values["messages"] for state in compiled.get_state_history(CONFIG)][:3]
    assert anew == [SystemMessage("anew", id="6")]
    asked = AIMessage("", id="2", tool_calls=[{"id": "c", "name": "look", "args": {"x": 1}}])
    assert after == [
        HumanMessage("hi", id="1", name="ada"),
        asked,
        ToolMessage("7", id="3", tool_call_id="c"),
        HumanMessage("bye", id="5"),
    ]
    assert before[:3] == after[:3]
    assert (before[3].content, before[3].additional_kwargs["more"]) == ("short", 1)


async def test_a_saver_without_async_methods_says_so_on_an_event_loop():
    class Sync(BaseCheckpointSaver):
        def get_tuple(self, config):
            return None

    graph = _graph(Of("engine"), Sync(), [])
    with pytest.raises(NotImplementedError) as raised:
        await graph.ainvoke({"log": []}, CONFIG)
    assert str(raised.value) == "Sync has no async methods: take one that has, or invoke"


def test_a_packet_keeps_its_timeout_on_the_way():
    saver = InMemorySaver()
    limit = engine.TimeoutPolicy(run_timeout=5, idle_timeout=2, refresh_on="heartbeat")

    async def work(state: State) -> None:
        raise ValueError("no")

    def split(_: State) -> list[engine.Send]:
        return [engine.Send("work", {"n": 1}, timeout=limit)]

    graph = engine.StateGraph(State).add_node("plan", lambda _: None).add_node("work", work)
    graph.add_edge("__start__", "plan").add_conditional_edges("plan", split)
    compiled = graph.compile(checkpointer=saver, interrupt_before=["work"])
    compiled.invoke({"n": 0}, CONFIG)
    (kept,) = saver.get_tuple(CONFIG).checkpoint["channel_values"]["__pregel_tasks"]
    assert kept.timeout == langgraph.types.TimeoutPolicy(
        run_timeout=5, idle_timeout=2, refresh_on="heartbeat"
    )
    from engine.checkpoint.saver import Saver
    from engine.executors import drive

    found = drive(Saver(saver, is_async=False).get(CONFIG))
    assert found.checkpoint["channel_values"]["__pregel_tasks"] == [
        engine.Send("work", {"n": 1}, timeout=limit)
    ]
