"""What LangChain's tools and tracers make of our words; nodes that are called alone."""

import copy
import dataclasses
import operator
from typing import Annotated, Any

import langgraph.graph
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from typing_extensions import TypedDict

import engine
from engine import START, Command, Runtime, Send, StateGraph, StreamWriter, TracePolicy, omit_payload

LIBRARIES = (StateGraph, langgraph.graph.StateGraph)


class S(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain knows no other


def graph_of(node: Any, lib: Any = StateGraph, **options: Any) -> Any:
    return lib(S).add_node("a", node, **options).add_edge(START, "a").compile()


@pytest.mark.parametrize("answer", [lambda c: c, lambda c: [c]], ids=["one", "a list"])
def test_a_command_that_a_tool_returns_stays_one(answer: Any) -> None:
    command: Command[Any] = Command(update={"log": ["a"]}, goto="b")

    @tool
    def hands_over() -> Any:
        """Hand over."""
        return answer(command)

    call = {"type": "tool_call", "id": "1", "name": "hands_over", "args": {}}
    assert hands_over.invoke(call) == answer(command)


def test_a_command_stays_a_value_of_its_own() -> None:
    command: Command[Any] = Command(update={"log": ["a"]}, goto=Send("b", 1))
    assert copy.deepcopy(command) == command == dataclasses.replace(command)
    assert hash(Command(goto="b")) == hash(Command(goto="b"))


class Recorder(BaseTracer):
    """A tracer that keeps the runs of nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.seen = [(child.inputs, child.outputs) for child in run.child_runs]


class Raw(BaseCallbackHandler):
    """A callback that is no tracer."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **rest: Any) -> None:
        self.seen.append(inputs)

    def on_chain_end(self, outputs: Any, **rest: Any) -> None:
        self.seen.append(outputs)


def fails(value: Any) -> Any:
    raise LookupError(value)


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (
            TracePolicy(process_inputs=omit_payload, process_outputs=lambda s: {"n": len(s["log"])}),
            ({}, {"n": 1}),
        ),
        (TracePolicy(process_outputs=omit_payload), ({"log": ["in"]}, {})),
        (TracePolicy(process_inputs=fails, process_outputs=fails), ({}, {})),
    ],
    ids=["both", "one", "failing"],
)
def test_tracers_see_what_the_trace_policy_shows_and_others_see_all(policy: TracePolicy, seen: Any) -> None:
    tracer, raw = Recorder(), Raw()
    graph = graph_of(lambda s: {"log": ["secret"]}, trace_policy=policy)
    result = graph.invoke({"log": ["in"]}, {"callbacks": [tracer, raw]})
    assert result == {"log": ["in", "secret"]}
    assert tracer.seen == [seen]
    assert raw.seen == [{"log": ["in"]}, {"log": ["in"]}, {"log": ["secret"]}, result]


def takes_all(state: S, config: RunnableConfig, runtime: Runtime[Any], *, writer: StreamWriter) -> S:
    writer("to nobody")
    return {"log": [*state["log"], (config.get("configurable") or {}).get("who", "-"), str(runtime.context)]}


async def is_async(state: S) -> S:
    return {"log": [*state["log"], "async"]}


async def test_a_node_is_called_alone_as_in_langgraph() -> None:
    config: Any = {"configurable": {"who": "me"}}
    node = graph_of(takes_all).nodes["a"]
    assert node.invoke({"log": ["x"]}) == {"log": ["x", "-", "None"]}
    assert node.invoke({"log": ["x"]}, config) == {"log": ["x", "me", "None"]}
    assert await node.ainvoke({"log": ["x"]}, config) == {"log": ["x", "me", "None"]}
    both = [await graph_of(is_async, lib).nodes["a"].ainvoke({"log": ["x"]}) for lib in LIBRARIES]
    assert both == [{"log": ["x", "async"]}] * 2
    with pytest.raises(TypeError, match="node 'a' is async and has no sync form: await ainvoke instead"):
        graph_of(is_async).nodes["a"].invoke({"log": []})


def test_a_node_shows_what_it_is_bound_to() -> None:
    chain = RunnableLambda(lambda s: s)
    assert graph_of(chain).nodes["a"].bound is chain
    assert graph_of(takes_all).nodes["a"].bound.func is takes_all


# -- the streaming protocol, version 3 -----------------------------------------------------------------


def talks(state: Any) -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage("hello there", id="m")]))
    return {"messages": [model.invoke(state["messages"])]}


def conversation(lib: Any) -> Any:
    messages = lib.MessagesState
    inner = lib.StateGraph(messages).add_node("talks", talks).add_edge("__start__", "talks").compile()
    outer = lib.StateGraph(messages).add_node("talks", talks).add_node("inner", inner)
    return outer.add_edge("__start__", "talks").add_edge("talks", "inner").compile()


def told(run: Any) -> list[Any]:
    """Say what a run shows by the protocol, but for ids and times."""
    found: list[Any] = []
    for event in run:
        ns = [level.partition(":")[0] for level in event["params"]["namespace"]]
        data = event["params"]["data"]
        if event["method"] == "messages":
            kind = data[0].get("event") if isinstance(data[0], dict) else data[0].content
            found.append((event["method"], ns, kind, data[1]["langgraph_node"]))
        elif event["method"] == "values":
            found.append((event["method"], ns, [message.content for message in data["messages"]]))
        else:
            found.append((event["method"], ns, data.get("name") or data.get("event")))
    return found


GIVEN: Any = {"messages": [("user", "hi")]}


@pytest.mark.filterwarnings("ignore:.*(experimental|beta)")
def test_the_streaming_protocol_shows_what_it_shows_of_langgraphs_graph() -> None:
    ours, theirs = (conversation(lib).stream_events(GIVEN, version="v3") for lib in (engine, langgraph.graph))
    assert told(ours) == told(theirs)


@pytest.mark.filterwarnings("ignore:.*(experimental|beta)")
async def test_its_projections_are_langgraphs_on_an_event_loop() -> None:
    async def projected(lib: Any) -> Any:
        run = await conversation(lib).astream_events(GIVEN, version="v3")
        texts = [await message.text async for message in run.messages]
        return texts, [message.content for message in (await run.output())["messages"]]

    assert await projected(engine) == await projected(langgraph.graph)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream_mode": "values"}, "stream_mode: what a run of version 'v3' streams"),
        ({"transformers": ["what"]}, "transformers: 'what' is no class or function of a scope"),
    ],
)
def test_what_the_protocol_cannot_take_is_refused(options: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        conversation(engine).stream_events(GIVEN, version="v3", **options)


# -- what streams and savers show of state ---------------------------------------------------------------


def test_updates_show_messages_with_the_ids_that_the_state_holds() -> None:
    graph = StateGraph(engine.MessagesState).add_node(
        "a", lambda s: {"messages": [AIMessage("x"), ("user", "y")]}
    )
    parts = [*graph.add_edge(START, "a").compile().stream(GIVEN, stream_mode=["updates", "values"])]
    shown = next(data["a"]["messages"] for mode, data in parts if mode == "updates")
    held = parts[-1][1]["messages"]
    assert shown[0].id is not None
    assert shown[0].id == held[1].id
    assert shown[1] == ("user", "y")


def test_tasks_show_the_metadata_and_tags_of_their_run() -> None:
    graph = graph_of(lambda s: {"log": ["a"]}, metadata={"mine": 1})
    config: Any = {"metadata": {"user": 7}, "tags": ["t"], "configurable": {"thread_id": "1"}}
    parts = [*graph.stream({"log": []}, config, stream_mode="tasks")]
    assert parts[0]["metadata"] == {"user": 7, "mine": 1, "tags": ["t"]}


class Unstorable:
    def __reduce__(self) -> Any:
        raise TypeError("not to be stored")


class Held(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    session: Annotated[Any, engine.UntrackedValue]


def test_what_is_untracked_reaches_no_saver_however_it_is_written() -> None:
    def opens(state: Held) -> Any:
        session = Unstorable()
        return Command(update={"session": session}, goto=[Send("uses", {"session": session, "log": []})])

    def uses(state: Held) -> Held:
        return {"log": [type(state["session"]).__name__]}

    builder = StateGraph(Held).add_node("opens", opens).add_node("uses", uses).add_edge(START, "opens")
    saver = engine.InMemorySaver(serde=JsonPlusSerializer())
    graph = builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "1"}}
    assert graph.invoke({"log": []}, config)["log"] == ["Unstorable"]
    assert graph.get_state(config).values == {"log": ["Unstorable"]}
