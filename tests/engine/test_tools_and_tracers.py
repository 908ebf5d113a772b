"""What LangChain's tools and tracers make of our words; nodes that are called alone."""

import copy
import dataclasses
import operator
from typing import Annotated, Any

import langgraph.graph
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from typing_extensions import TypedDict

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
