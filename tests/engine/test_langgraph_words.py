"""LangGraph's own words in an engine graph, as half-migrated code and helpers of others bring them."""

import asyncio
import copy
import operator
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import langgraph.config
import langgraph.errors
import langgraph.func as lf
import langgraph.graph
import langgraph.runtime
import langgraph.types
import pytest
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver as LangGraphSaver
from langgraph.prebuilt import InjectedState, ToolNode, create_react_agent, tools_condition

import engine
from engine import START, Command, InMemorySaver, MessagesState, Send, StateGraph
from engine.errors import GraphInterrupt

THREAD: Any = {"configurable": {"thread_id": "1"}}


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def graph_of(node: Callable[..., Any], *edges: Any, saver: Any = None, **options: Any) -> Any:
    graph = (
        StateGraph(Log)
        .add_node("a", node, destinations=("b",), **options)
        .add_node("b", lambda s: {"log": ["b"]})
    )
    graph.add_edge(START, "a")
    for edge in edges:
        graph.add_conditional_edges("a", edge, ["b"])
    return graph.compile(checkpointer=saver)


lt = langgraph.types


@pytest.mark.parametrize(
    ("answer", "log"),
    [
        (lt.Command(update={"log": ["a"]}, goto="b"), ["a", "b"]),
        (lt.Command(update={"log": ["a"]}, goto=lt.Send("b", {})), ["a", "b"]),
        (lt.Command(update={"log": ["a"]}, goto=["b", lt.Send("b", {})]), ["a", "b", "b"]),
        (Command(update={"log": ["a"]}, goto=lt.Send("b", {})), ["a", "b"]),
        ([lt.Command(update={"log": ["a"]}), {"log": ["c"]}], ["a", "c"]),
        ((lt.Command(update={"log": ["a"]}), Command(goto="b")), ["a", "b"]),
        (Send("b", {}), ["b"]),
        (lt.Send("b", {}), ["b"]),
        ({"log": lt.Overwrite(["z"])}, ["z"]),
        (lt.Command(update={"log": lt.Overwrite(["z"])}), ["z"]),
        (lt.Command(update=[("log", ["a"]), ("log", ["c"])]), ["a", "c"]),
    ],
    ids=repr,
)
def test_a_node_may_answer_in_langgraphs_words(answer: Any, log: list[str]) -> None:
    assert graph_of(lambda s: answer).invoke({"log": ["0"]})["log"] == (log if log == ["z"] else ["0", *log])


@pytest.mark.parametrize(
    "choice", [lt.Send("b", {}), [lt.Send("b", {})], (lt.Send("b", {}),), ["b"]], ids=repr
)
def test_a_router_may_answer_in_langgraphs_words(choice: Any) -> None:
    assert graph_of(lambda s: {"log": ["a"]}, lambda s: choice).invoke({})["log"] == ["a", "b"]


def test_langgraphs_parent_command_leaves_the_subgraph() -> None:
    def leave(s: Log) -> Any:
        return lt.Command(graph=lt.Command.PARENT, update={"log": ["left"]}, goto="b")

    sub = StateGraph(Log).add_node("leave", leave).add_edge(START, "leave").compile()
    assert graph_of(sub).invoke({})["log"] == ["left", "b"]

    def raises(s: Log) -> Any:
        raise langgraph.errors.ParentCommand(
            lt.Command(graph=lt.Command.PARENT, update={"log": ["left"]}, goto="b")
        )

    sub = StateGraph(Log).add_node("leave", raises).add_edge(START, "leave").compile()
    assert graph_of(sub).invoke({})["log"] == ["left", "b"]


@pytest.mark.parametrize("resume", [lambda x: lt.Command(resume=x), lambda x: Command(resume=x)])
@pytest.mark.parametrize(
    "both", [(lt.interrupt, lt.interrupt), (engine.interrupt, lt.interrupt), (lt.interrupt, engine.interrupt)]
)
def test_langgraphs_interrupt_asks_and_is_answered_in_order(resume: Any, both: Any) -> None:
    graph = graph_of(lambda s: {"log": [ask(f"q{n}") for n, ask in enumerate(both)]}, saver=InMemorySaver())
    questions = [graph.invoke({}, THREAD)["__interrupt__"][0]]
    questions += graph.invoke(resume("one"), THREAD)["__interrupt__"]
    assert [q.value for q in questions] == ["q0", "q1"]
    assert graph.invoke(Command(resume={questions[1].id: "two"}), THREAD)["log"] == ["one", "two"]


async def test_langgraphs_interrupt_and_writer_find_the_task_on_an_event_loop() -> None:
    async def node(s: Log) -> Log:
        langgraph.config.get_stream_writer()("asking")
        return {"log": [lt.interrupt("q"), langgraph.config.get_config()["configurable"]["thread_id"]]}

    graph = graph_of(node, saver=InMemorySaver())
    parts = [part async for part in graph.astream({}, THREAD, stream_mode=["custom", "updates"])]
    assert parts[0] == ("custom", "asking")
    assert parts[1][1]["__interrupt__"][0].value == "q"
    assert (await graph.ainvoke(Command(resume="yes"), THREAD))["log"] == ["yes", "1"]


def test_langgraphs_policies_are_taken_for_ours() -> None:
    tries: list[int] = []

    def fails_once(s: Log) -> Log:
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError
        return {"log": ["a"]}

    policy = lt.RetryPolicy(initial_interval=0, jitter=False)
    for given in (policy, [policy]):
        tries.clear()
        assert graph_of(fails_once, retry_policy=given).invoke({})["log"] == ["a"]
    with pytest.raises(TypeError, match="retry_policy"):
        graph_of(fails_once, retry_policy="often")


@pytest.mark.parametrize(
    "name", ["GraphRecursionError", "InvalidUpdateError", "EmptyInputError", "GraphInterrupt"]
)
def test_our_errors_are_langgraphs_too(name: str) -> None:
    ours, theirs = getattr(engine.errors, name), getattr(langgraph.errors, name)
    error = ours("what")
    assert isinstance(error, ours)
    assert isinstance(error, theirs)
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied).__mro__[:2], copied.args) == (type(error).__mro__[:2], error.args)


def test_langgraphs_except_clause_catches_what_our_run_raises() -> None:
    loop = (
        StateGraph(Log)
        .add_node("a", lambda s: {"log": ["a"]})
        .add_edge(START, "a")
        .add_edge("a", "a")
        .compile()
    )
    with pytest.raises(langgraph.errors.GraphRecursionError):
        loop.invoke({}, {"recursion_limit": 3})
    with pytest.raises(langgraph.errors.InvalidUpdateError):
        graph_of(lambda s: 1).invoke({})


def test_a_thread_that_langgraph_interrupted_goes_on_here() -> None:
    def build(lib: Any, types: Any, saver: Any) -> Any:
        def work(s: Any) -> Any:
            return {"log": [types.interrupt("?") if s["n"] == 1 else s["n"]]}

        graph = lib.StateGraph(Log).add_node("plan", lambda s: {"log": ["plan"]}).add_node("work", work)
        graph.add_edge("__start__", "plan")
        graph.add_conditional_edges(
            "plan", lambda s: [types.Send("work", {"n": n}) for n in range(3)], ["work"]
        )
        return graph.compile(checkpointer=saver)

    saver = LangGraphSaver()
    build(langgraph.graph, lt, saver).invoke({"log": []}, THREAD)
    assert build(engine, engine, saver).invoke(Command(resume=99), THREAD)["log"] == ["plan", 0, 99, 2]


# -- tools and agents ----------------------------------------------------------------------------------


@tool
def mul(a: int, b: int) -> int:
    """Multiply."""
    return a * b


@tool
def ask(question: str) -> str:
    """Ask a human."""
    return str(lt.interrupt(question))


@tool
def ask_ours(question: str) -> str:
    """Ask a human."""
    return str(engine.interrupt(question))


@tool
def note(
    text: str, state: Annotated[Any, InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]
) -> Any:
    """Note something in the state."""
    said = ToolMessage(f"{text} after {len(state['messages'])}", tool_call_id=tool_call_id)
    return lt.Command(update={"messages": [said], "notes": [text]})


class Notes(MessagesState):
    notes: Annotated[list[str], operator.add]


def calls(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "c1", "type": "tool_call"}])


class Model(FakeMessagesListChatModel):
    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


def tool_graph(call: AIMessage, *tools: Any, **options: Any) -> Any:
    def model(s: Any) -> Any:
        return {"messages": [AIMessage("done") if len(s["messages"]) > 1 else call]}

    graph = StateGraph(Notes).add_node("model", model).add_node("tools", ToolNode(tools, **options))
    graph.add_edge(START, "model").add_conditional_edges("model", tools_condition).add_edge("tools", "model")
    return graph.compile(checkpointer=InMemorySaver())


def test_a_tool_node_and_its_condition_are_a_node_and_a_router() -> None:
    found = tool_graph(calls("mul", a=2, b=3), mul).invoke({"messages": [("user", "2*3")]}, THREAD)
    assert [m.content for m in found["messages"]] == ["2*3", "", "6", "done"]


def test_a_tool_may_return_langgraphs_command() -> None:
    found = tool_graph(calls("note", text="hm"), note).invoke({"messages": [("user", "x")]}, THREAD)
    assert (found["messages"][2].content, found["notes"]) == ("hm after 2", ["hm"])


@tool
def note_ours(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
    """Note something, and have done."""
    said = ToolMessage("noted", tool_call_id=tool_call_id)
    return Command(update={"messages": [said], "notes": [text]}, goto="more")


@tool
def hand_over(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
    """Go on in the graph around."""
    said = ToolMessage("handed over", tool_call_id=tool_call_id)
    return Command(graph=Command.PARENT, update={"messages": [said], "notes": [text]}, goto="more")


def more(state: Any) -> Any:
    return {"notes": ["more", *state["notes"]]}


def test_a_tool_of_langgraphs_node_may_return_our_command() -> None:
    def model(state: Any) -> Any:
        return {"messages": [calls("note_ours", text="hm")]}

    graph = StateGraph(Notes).add_node("model", model).add_node("tools", ToolNode([note_ours]))
    graph.add_node("more", more).add_edge(START, "model").add_edge("model", "tools")
    found = graph.compile().invoke({"messages": [("user", "x")]})
    assert (found["messages"][-1].content, found["notes"]) == ("noted", ["hm", "more", "hm"])


def test_a_tool_of_langgraphs_node_may_hand_over_to_the_graph_around() -> None:
    graph = StateGraph(Notes).add_node("agent", tool_graph(calls("hand_over", text="hm"), hand_over))
    compiled = graph.add_node("more", more).add_edge(START, "agent").compile(InMemorySaver())
    found = compiled.invoke({"messages": [("user", "x")]}, THREAD)
    assert (found["messages"][-1].content, found["notes"]) == ("handed over", ["hm", "more", "hm"])


def test_a_graph_of_langgraphs_follows_our_command_and_our_packets() -> None:
    graph = langgraph.graph.StateGraph(Log)
    graph.add_node("a", lambda s: Command(update={"log": ["a"]}, goto=["b", Send("b", {"log": ["x"]})]))
    graph.add_node("b", lambda s: {"log": [*s["log"], "b"]}).add_edge(START, "a")
    assert graph.compile().invoke({"log": []})["log"] == ["a", "a", "b", "x", "b"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_our_words_stay_ours_though_langgraph_takes_them_for_its_own(protocol: int) -> None:
    for word in (Command(update={"x": [1]}, goto=[Send("b", 1)]), Send("b", {"x": [1]}, timeout=3)):
        for made in (
            pickle.loads(pickle.dumps(word, protocol=protocol)),
            copy.copy(word),
            copy.deepcopy(word),
        ):
            assert (type(made), made) == (type(word), word)
        assert isinstance(word, getattr(lt, type(word).__name__))


@pytest.mark.parametrize("asks", [ask, ask_ours], ids=lambda t: t.name)
@pytest.mark.parametrize("handled", [True, False])
def test_a_tool_may_ask(asks: Any, handled: bool) -> None:
    graph = tool_graph(calls(asks.name, question="may I?"), asks, handle_tool_errors=handled)
    assert graph.invoke({"messages": [("user", "x")]}, THREAD)["__interrupt__"][0].value == "may I?"
    found = graph.invoke(Command(resume="yes"), THREAD)
    assert [m.content for m in found["messages"]] == ["x", "", "yes", "done"]


def agent(*tools: Any, call: AIMessage) -> Any:
    return create_react_agent(Model(responses=[call, AIMessage("done")]), [*tools])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("called", [False, True], ids=["a node", "called in a node"])
def test_an_agent_of_langgraphs_asks_through_the_graph_around_it(called: bool) -> None:
    inner = agent(ask, call=calls("ask", question="may I?"))
    node = inner.invoke if called else inner
    graph = StateGraph(MessagesState).add_node("agent", node).add_edge(START, "agent")
    compiled = graph.compile(checkpointer=InMemorySaver())
    question = compiled.invoke({"messages": [("user", "x")]}, THREAD)["__interrupt__"][0]
    assert question.value == "may I?"
    found = compiled.invoke(Command(resume="yes"), THREAD)
    assert [m.content for m in found["messages"]] == ["x", "", "yes", "done"]


@pytest.mark.parametrize("called", [False, True], ids=["a node", "called in a node"])
@pytest.mark.parametrize(
    ("options", "said"), [({}, "asks 'may I?'"), ({"interrupt_before": ["a"]}, "stops at a breakpoint")]
)
def test_a_graph_of_langgraphs_does_not_pass_over_what_ours_asks_in_it(
    called: bool, options: Any, said: str
) -> None:
    asking = (
        StateGraph(Log).add_node("a", lambda s: {"log": [engine.interrupt("may I?")]}).add_edge(START, "a")
    )
    inner = asking.compile(name="inner", **options)

    def calls_it(state: Log) -> Any:
        return inner.invoke(state)

    around = langgraph.graph.StateGraph(Log).add_node("n", calls_it if called else inner)
    compiled = around.add_edge(START, "n").compile(checkpointer=LangGraphSaver())
    with pytest.raises(RuntimeError, match=f"graph 'inner' {re.escape(said)} inside a graph of LangGraph's"):
        compiled.invoke({"log": []}, THREAD)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_an_agent_of_langgraphs_is_a_node_and_its_words_are_heard() -> None:
    graph = StateGraph(MessagesState).add_node("agent", agent(mul, call=calls("mul", a=2, b=3)))
    parts = (
        graph.add_edge(START, "agent")
        .compile()
        .astream({"messages": [("user", "x")]}, stream_mode="messages")
    )
    assert [m.content async for m, _ in parts] == ["", "6", "done"]


@lf.task
def square(n: int) -> int:
    return n * n


@lf.task
async def asquare(n: int) -> int:
    return n * n


@lf.task
def asks_in_a_task(n: int) -> Any:
    return lt.interrupt("?")


def squares(state: Log) -> Any:
    return {"log": [future.result() for future in [square(2), square(3)]]}


async def asquares(state: Log) -> Any:
    return {"log": [*await asyncio.gather(asquare(2), asquare(3)), await square(4)]}


async def test_langgraphs_functional_tasks_are_tasks_of_our_nodes() -> None:
    alone = StateGraph(Log).add_node("a", squares).add_edge(START, "a").compile()
    shown = list(alone.stream({"log": []}))
    assert shown == [{"square": 4}, {"square": 9}, {"a": {"log": [4, 9]}}]
    assert await alone.ainvoke({"log": []}) == {"log": [4, 9]}
    awaits = StateGraph(Log).add_node("a", asquares).add_edge(START, "a").compile()
    assert await awaits.ainvoke({"log": []}) == {"log": [4, 9, 16]}


def test_langgraphs_functional_task_is_tried_again_by_its_policy() -> None:
    tries: list[int] = []

    @lf.task(retry_policy=lt.RetryPolicy(initial_interval=0, jitter=False, retry_on=KeyError))
    def flaky(n: int) -> int:
        tries.append(n)
        if len(tries) == 1:
            raise KeyError("once")
        return n

    @engine.entrypoint()
    def main(x: int) -> int:
        return flaky(x).result()

    assert (main.invoke(5), tries) == (5, [5, 5])


@lf.entrypoint()
def langgraphs_entrypoint(state: Log) -> Any:
    return {"log": [square(3).result(), asks_in_a_task(1).result()]}


def calls_it(state: Log) -> Any:
    return langgraphs_entrypoint.invoke(state)


@pytest.mark.parametrize("node", [langgraphs_entrypoint, calls_it], ids=["is", "calls"])
def test_langgraphs_entrypoint_asks_through_our_node(node: Any) -> None:
    graph = StateGraph(Log).add_node("a", node).add_edge(START, "a").compile(InMemorySaver())
    assert [one.value for one in graph.invoke({"log": []}, THREAD)["__interrupt__"]] == ["?"]
    assert graph.invoke(Command(resume="yes"), THREAD) == {"log": [9, "yes"]}


def test_langgraphs_functional_task_asks_through_our_node() -> None:
    graph = (
        StateGraph(Log)
        .add_node("a", lambda s: {"log": [asks_in_a_task(1).result()]})
        .add_edge(START, "a")
        .compile(InMemorySaver())
    )
    assert [one.value for one in graph.invoke({"log": []}, THREAD)["__interrupt__"]] == ["?"]
    assert graph.invoke(Command(resume="yes"), THREAD) == {"log": ["yes"]}


_LATE = """
import asyncio, operator, sys
from typing import Annotated, Any, TypedDict
from engine import START, Command, InMemorySaver, StateGraph

assert "langchain_core" not in sys.modules and "langgraph" not in sys.modules

class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]

def asks(state):
    from langgraph.types import interrupt
    return {"log": [interrupt("?")]}

async def aasks(state):
    return asks(state)

def chains_first(state):
    from langchain_core.runnables import RunnableLambda
    RunnableLambda(lambda x: x).invoke(1)
    return asks(state)

def graph_of(node, saver=None):
    return StateGraph(Log).add_node("a", node).add_edge(START, "a").compile(checkpointer=saver)

node = {"asks": asks, "aasks": aasks, "chains_first": chains_first, "inside": graph_of(asks)}[sys.argv[1]]
graph = graph_of(node).builder.add_node("b", asks).add_edge("a", "b").compile(InMemorySaver())
thread = {"configurable": {"thread_id": "1"}}
run = graph.invoke if sys.argv[2] == "threads" else lambda *given: asyncio.run(graph.ainvoke(*given))
print([run(x, thread)["log"] for x in ({"log": []}, Command(resume=1), Command(resume=2))])
"""


@pytest.mark.parametrize(
    ("node", "world"),
    [
        *((node, "threads") for node in ("asks", "chains_first", "inside")),
        *((node, "asyncio") for node in ("asks", "aasks")),
    ],
)
def test_langgraph_may_be_loaded_by_a_node_that_runs(node: str, world: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LATE, node, world], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout) == ("", "[[], [1], [1, 2]]\n")


def test_sends_equal_whosever_they_are() -> None:
    assert engine.types.Command(goto=lt.Send("a", 1)).destinations() == (Send("a", 1),)
    assert isinstance(GraphInterrupt(()), langgraph.errors.GraphBubbleUp)
