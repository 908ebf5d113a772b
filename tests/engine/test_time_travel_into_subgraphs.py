"""Going back to a checkpoint inside a subgraph: the run goes on there, with what was changed there."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import langgraph.graph
import pytest
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver

from engine import START, Command, InMemorySaver, Send, StateGraph, entrypoint, interrupt, task

THREAD: Any = {"configurable": {"thread_id": "1"}}


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Ran(list[str]):
    """What has run, in order."""

    def node(self, name: str) -> Callable[[Log], Log]:
        def run(state: Log) -> Log:
            self.append(name)
            return {"log": [name]}

        return run

    def chain(self, names: str, saver: Any = None, **others: Any) -> Any:
        steps = [(name, others.get(name) or self.node(name)) for name in names]
        graph = StateGraph(Log).add_sequence(steps).add_edge(START, names[0])
        return graph.compile(checkpointer=saver)

    def again(self, graph: Any, place: Any, input: Any = None) -> tuple[list[str], list[str]]:
        """Run from ``place``; return what ran, and what came of it."""
        self.clear()
        return list(graph.invoke(input, place)["log"]), list(self)


def inside(graph: Any, *path: str, which: int = 0) -> dict[str, Any]:
    """Return the places of the checkpoints of a subgraph, by what came next: the newest of each."""
    states = graph.get_state_history(THREAD)
    for name in path:
        tasks = [task for state in states for task in state.tasks if task.name == name and task.state]
        states = list(graph.get_state_history(tasks[which].state))
    return {"".join(state.next): state.config for state in reversed(list(states))}


def nested(ran: Ran, *, memory: Any = None, depth: int = 1, call: bool = False) -> Any:
    """A chain x, s, y of which s is a subgraph a, b, c; at depth 2 so is the b of that."""
    inner = ran.chain("abc", memory)
    for _ in range(depth - 1):
        inner = ran.chain("isj", s=inner)
    sub = (lambda state: {"log": inner.invoke(state)["log"]}) if call else inner
    return ran.chain("xsy", InMemorySaver(), s=sub)


@pytest.mark.parametrize("memory", [None, True])
@pytest.mark.parametrize("call", [False, True])
@pytest.mark.parametrize("at", ["__start__", "a", "b", "c", ""])
def test_a_run_goes_on_at_the_checkpoint_inside_a_subgraph(at: str, call: bool, memory: Any) -> None:
    ran = Ran()
    graph = nested(ran, memory=memory, call=call)
    whole = graph.invoke({"log": ["in"]}, THREAD)["log"]
    place = inside(graph, "s")[at]
    log, again = ran.again(graph, place)
    rest = {"__start__": "abc", "": ""}.get(at, "abc"["abc".find(at) :])
    assert again == [*rest, "y"]
    assert log == whole


async def test_so_it_does_on_an_event_loop(anyio_backend: str) -> None:
    ran = Ran()
    graph = nested(ran)
    whole = await graph.ainvoke({"log": ["in"]}, THREAD)
    place = inside(graph, "s")["b"]
    ran.clear()
    assert (await graph.ainvoke(None, place), ran) == (whole, ["b", "c", "y"])


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_what_was_changed_inside_a_subgraph_counts(durability: Any) -> None:
    ran = Ran()
    graph = nested(ran)
    graph.invoke({"log": ["in"]}, THREAD, durability="sync")
    edited = graph.update_state(inside(graph, "s")["c"], {"log": ["edited"]})
    ran.clear()
    result = graph.invoke(None, edited, durability=durability)
    assert ran == ["c", "y"]
    assert result["log"][-3:] == ["edited", "c", "y"]
    assert graph.get_state(THREAD).values == result


def test_a_change_inside_a_subgraph_may_stand_for_a_node() -> None:
    ran = Ran()
    graph = nested(ran)
    graph.invoke({"log": []}, THREAD)
    edited = graph.update_state(inside(graph, "s")["b"], {"log": ["as b"]}, as_node="b")
    log, again = ran.again(graph, edited)
    assert (log[-3:], again) == (["as b", "c", "y"], ["c", "y"])


def test_it_goes_on_as_deep_as_the_checkpoint_is() -> None:
    ran = Ran()
    graph = nested(ran, depth=2)
    whole = graph.invoke({"log": ["in"]}, THREAD)["log"]
    assert ran.again(graph, inside(graph, "s", "s")["c"]) == (whole, ["c", "j", "y"])
    assert ran.again(graph, inside(graph, "s")["j"]) == (whole, ["j", "y"])


def test_it_goes_on_where_langgraph_was_inside_its_subgraph() -> None:
    def chain(saver: Any, **nodes: Any) -> Any:
        graph: Any = langgraph.graph.StateGraph(Log).add_sequence(list(nodes.items()))
        return graph.add_edge(START, next(iter(nodes))).compile(checkpointer=saver)

    ran, saver = Ran(), LangGraphSaver()
    inner = chain(None, **{name: ran.node(name) for name in "abc"})
    whole = chain(saver, x=ran.node("x"), s=inner, y=ran.node("y")).invoke({"log": ["in"]}, THREAD)["log"]
    graph = nested(ran)
    graph.checkpointer = saver
    assert ran.again(graph, inside(graph, "s")["c"]) == (whole, ["c", "y"])


def test_the_branch_can_be_gone_back_into_in_turn() -> None:
    ran = Ran()
    graph = nested(ran, depth=2)
    whole = graph.invoke({"log": ["in"]}, THREAD)["log"]
    for at, rest in (("b", "bcjy"), ("c", "cjy"), ("c", "cjy")):
        assert ran.again(graph, inside(graph, "s", "s")[at]) == (whole, list(rest))


@pytest.mark.parametrize("saver", [InMemorySaver, LangGraphSaver])
def test_of_several_subgraphs_side_by_side_only_the_one_goes_back(saver: Any) -> None:
    ran = Ran()

    def tells(state: Log) -> Log:
        ran.append(state["log"][0])
        return {"log": ["t"]}

    inner = ran.chain("at", t=tells)
    graph = StateGraph(Log).add_node("plan", lambda s: None).add_edge(START, "plan").add_node("s", inner)
    graph.add_conditional_edges("plan", lambda s: [Send("s", {"log": [n]}) for n in "012"], ["s"])
    whole = graph.compile(checkpointer=saver())
    result = whole.invoke({"log": []}, THREAD)
    edited = whole.update_state(inside(whole, "s", which=1)["t"], {"log": ["edited"]}, as_node="a")
    log, again = ran.again(whole, edited)
    assert sorted(again) == ["0", "1", "2", "a", "a"]
    assert log == [*result["log"][:3], "1", "a", "edited", "t", *result["log"][6:]]


def test_tasks_and_entrypoints_that_call_a_subgraph_lead_there_too() -> None:
    ran = Ran()
    inner = ran.chain("abc")

    @task
    def called(n: str) -> list[str]:
        return list(inner.invoke({"log": [n]})["log"])

    @entrypoint(checkpointer=InMemorySaver())
    def main(x: str) -> dict[str, list[str]]:
        return {"log": called(x).result() + inner.invoke({"log": ["2"]})["log"]}

    whole = main.invoke("1", THREAD)["log"]
    saver = main.checkpointer
    later = [found.config for found in saver.list(THREAD) if found.metadata["step"] > 0]
    places = [place for place in later if place["configurable"]["checkpoint_ns"]]
    assert len({place["configurable"]["checkpoint_ns"] for place in places}) == 2
    for place in places:
        assert ran.again(main, place)[0] == whole
        assert len(ran) < 6


def test_the_next_pass_of_a_loop_begins_anew() -> None:
    ran = Ran()
    inner = ran.chain("ab", True)
    graph = StateGraph(Log).add_node("s", inner).add_edge(START, "s")
    graph.add_conditional_edges("s", lambda s: "s" if len(s["log"]) < 10 else "__end__")
    whole = graph.compile(checkpointer=InMemorySaver())
    result = whole.invoke({"log": ["in"]}, THREAD)["log"]
    first = [state for state in whole.get_state_history(THREAD) if state.next == ("s",)][-1]
    namespace = first.tasks[0].state
    place = [state.config for state in whole.get_state_history(namespace) if state.next == ("b",)][-1]
    log, again = ran.again(whole, place)
    assert log == result
    assert again[:3] == ["b", "a", "b"]


def test_a_question_on_the_branch_is_asked_and_answered_by_the_thread_alone() -> None:
    ran = Ran()

    def ask(state: Log) -> Log:
        answer = interrupt("?")
        ran.append("b")
        return {"log": [answer]}

    graph = ran.chain("xsy", InMemorySaver(), s=ran.chain("abc", b=ask))
    graph.invoke({"log": []}, THREAD)
    graph.invoke(Command(resume="one"), THREAD)
    edited = graph.update_state(inside(graph, "s")["b"], {"log": ["edited"]}, as_node="a")
    ran.clear()
    assert [one.value for one in graph.invoke(None, edited)["__interrupt__"]] == ["?"]
    waiting = graph.get_state(THREAD, subgraphs=True)
    assert waiting.next == ("s",)
    assert waiting.tasks[0].state.values["log"][-1] == "edited"
    assert graph.invoke(Command(resume="two"), THREAD)["log"][-4:] == ["edited", "two", "c", "y"]
    assert ran == ["b", "c", "y"]


def test_history_tells_of_the_branch_inside_and_out() -> None:
    ran = Ran()
    graph = nested(ran)
    graph.invoke({"log": []}, THREAD)
    old = list(graph.get_state_history(inside(graph, "s")["a"]))
    graph.invoke(None, inside(graph, "s")["b"])
    outer = [(state.metadata["source"], state.next) for state in graph.get_state_history(THREAD)]
    assert outer[:3] == [("loop", ()), ("loop", ("y",)), ("fork", ("s",))]
    fork = list(graph.get_state_history(THREAD))[2]
    inner = list(graph.get_state_history(fork.tasks[0].state))
    assert [(state.metadata["source"], state.next) for state in inner] == [
        ("loop", ()),
        ("loop", ("c",)),
        ("fork", ("b",)),
    ]
    assert set(inner[0].metadata["parents"]) == {""}
    assert inner[-1].parent_config is None
    ns = inside(graph, "s")["c"]["configurable"]["checkpoint_ns"]
    assert ns == inner[0].config["configurable"]["checkpoint_ns"]
    assert list(graph.get_state_history(old[0].config)) == old


def test_a_place_without_its_map_is_found_all_the_same() -> None:
    ran = Ran()
    graph = nested(ran, depth=2)
    whole = graph.invoke({"log": ["in"]}, THREAD)["log"]
    place = inside(graph, "s", "s")["c"]
    place["configurable"].pop("checkpoint_map")
    assert ran.again(graph, place) == (whole, ["c", "j", "y"])
