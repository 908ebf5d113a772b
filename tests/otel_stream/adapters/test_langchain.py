"""LangChain as a source of messages: what LangGraph streams for a node, the handler reports for it.

Each scenario is a node function. LangGraph runs it in a graph with ``stream_mode="messages"``; beside it, a
dozen lines here run the same function as any engine could, with the handler.
"""

import asyncio
from collections import UserList
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Annotated, Any, TypedDict
from unittest.mock import Mock

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListLLM, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from pydantic import BaseModel, Field

from otel_stream.adapters.langchain import MessagesHandler, ids_in, manager
from tests.hashless import Hashless


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # LangChain itself knows no other


class TypedState(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    one: Any
    many: Any
    note: Any


@dataclass
class DataclassState:
    messages: Annotated[list[Any], add_messages] = field(default_factory=list)
    one: Any = None
    many: Any = None
    note: Any = None


class PydanticState(BaseModel):
    messages: Annotated[list[Any], add_messages] = Field(default_factory=list)
    one: Any = None
    many: Any = None
    note: Any = None


def history(state: Any) -> list[Any]:
    found = state["messages"] if isinstance(state, dict) else state.messages
    return [*found]


def model(*texts: str, **options: Any) -> GenericFakeChatModel:
    return GenericFakeChatModel(
        messages=iter([AIMessage(text) for text in texts or ("hello world",)]), **options
    )


class Broken(BaseChatModel):
    """Fails after its first token."""

    @property
    def _llm_type(self) -> str:
        return "broken"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, run_manager: Any = None, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        chunk = ChatGenerationChunk(message=AIMessageChunk("half"))
        if run_manager:
            run_manager.on_llm_new_token("half", chunk=chunk)
        yield chunk
        raise ConnectionError("gone")


class Silent(BaseChatModel):
    """Can't stream."""

    @property
    def _llm_type(self) -> str:
        return "silent"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("all at once"))])


@tool
def ask(question: str) -> str:
    """Ask a model."""
    return model("from a tool").invoke(question).text


@tool
async def aask(question: str) -> str:
    """Ask a model."""
    return (await model("from a tool").ainvoke(question)).text


prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
QUESTION = {"question": "why?"}

SCENARIOS: list[Callable[..., Any]] = []


def scenario(node: Callable[..., Any]) -> Callable[..., Any]:
    SCENARIOS.append(node)
    return node


# -- node functions ----------------------------------------------------------------------------------


@scenario
def invokes(state: Any) -> Any:
    return {"messages": [model().invoke(history(state))]}


@scenario
def streams(state: Any) -> Any:
    return {"messages": ["".join(chunk.text for chunk in model("a b").stream("why?"))]}


@scenario
def calls_one_that_cannot_stream(state: Any) -> Any:
    return {"messages": [Silent().invoke("why?")]}


@scenario
def calls_a_sequence(state: Any) -> Any:
    return {"messages": [(prompt | model("in a row") | StrOutputParser()).invoke(QUESTION)]}


@scenario
def calls_a_tool(state: Any) -> Any:
    return {"messages": [ToolMessage(ask.invoke({"question": "why?"}), tool_call_id="1", id="tool")]}


@scenario
def calls_several(state: Any) -> Any:
    # One at a time, or their order would be anybody's guess; each still runs in a thread of a pool.
    model("one", "two").batch(["a", "b"], {"max_concurrency": 1})
    RunnableParallel(left=model("left")).invoke("why?")
    return {}


@scenario
def calls_with_own_tags(state: Any) -> Any:
    model("tagged").invoke("why?", {"tags": ["mine"], "metadata": {"mine": 1}, "run_name": "asked"})
    return {"messages": []}


@scenario
def calls_a_sequence_with_own_tags(state: Any) -> Any:
    own = RunnableConfig(tags=["mine"], metadata={"mine": 1})
    return {"messages": [(prompt | model("tagged row") | StrOutputParser()).invoke(QUESTION, own)]}


@scenario
def calls_with_the_config_it_was_given(state: Any, config: RunnableConfig) -> Any:
    return {"messages": [model("handed on").invoke("why?", config)]}


@scenario
def calls_quietly(state: Any) -> Any:
    model("not", "shown").with_config(tags=["nostream"]).invoke("why?")
    return {"messages": []}


@scenario
def calls_quietly_and_returns_it(state: Any) -> Any:
    return {"messages": [model("shown").with_config(tags=["nostream"]).invoke("why?")]}


@scenario
def calls_with_callbacks_of_its_own(state: Any) -> Any:
    model("unheard").invoke("why?", {"callbacks": [BaseCallbackHandler()]})
    return {"messages": []}


@scenario
def survives_a_failure(state: Any) -> Any:
    with pytest.raises(ConnectionError):
        Broken().invoke("why?")
    return {"messages": [AIMessage("half of it", id="half")]}


@scenario
def calls_a_model_that_does_not_chat(state: Any) -> Any:
    FakeListLLM(responses=["text"]).invoke("why?")
    return {}


@scenario
def returns_what_nobody_saw(state: Any) -> Any:
    return {
        "messages": [HumanMessage("a", id="a"), AIMessage("b"), ToolMessage("c", tool_call_id="1", id="c")]
    }


@scenario
def returns_what_was_there(state: Any) -> Any:
    seen = history(state)[0]
    return {"messages": [seen, AIMessage("instead", id=seen.id), AIMessage("new", id="new")], "one": seen}


@scenario
def returns_it_twice(state: Any) -> Any:
    return {"messages": [AIMessage("x", id="x"), AIMessage("x again", id="x")], "one": AIMessage("x", id="x")}


@scenario
def returns_a_message_alone(state: Any) -> Any:
    return {"one": AIMessage("alone", id="alone"), "note": "text", "many": (AIMessage("in a tuple", id="t"),)}


@scenario
def returns_a_command(state: Any) -> Any:
    return Command(update={"messages": [AIMessage("commanded", id="c")]})


@scenario
def returns_a_command_to_a_list(state: Any) -> Any:
    return [
        Command(update={"messages": [AIMessage("first", id="1c")]}),
        {"messages": [AIMessage("second", id="2c")]},
        Command(update=DataclassState(one=AIMessage("third", id="3c"))),
    ]


@scenario
def removes_everything(state: Any) -> Any:
    return {"messages": [RemoveMessage(id="__remove_all__"), AIMessage("anew", id="anew")]}


@scenario
def returns_nothing(state: Any) -> Any:
    return None


@scenario
def calls_a_chain_of_its_own_name(state: Any) -> Any:
    inner = RunnableLambda(lambda _: {"messages": [AIMessage("inner", id="i")]})
    inner.with_config(run_name="calls_a_chain_of_its_own_name").invoke(
        {"messages": [HumanMessage("x", id="x")]}
    )
    return {"messages": [AIMessage("inner", id="i"), HumanMessage("x", id="x"), AIMessage("outer", id="o")]}


@scenario
async def ainvokes(state: Any) -> Any:
    return {"messages": [await model().ainvoke(history(state))]}


@scenario
async def astreams(state: Any) -> Any:
    return {"messages": ["".join([chunk.text async for chunk in model("a b").astream("why?")])]}


@scenario
async def acalls_a_sequence(state: Any) -> Any:
    return {"messages": [await (prompt | model("in a row") | StrOutputParser()).ainvoke(QUESTION)]}


@scenario
async def acalls_a_tool(state: Any) -> Any:
    return {"messages": [ToolMessage(await aask.ainvoke({"question": "why?"}), tool_call_id="1", id="tool")]}


@scenario
async def acalls_side_by_side(state: Any) -> Any:
    async def ask(text: str) -> BaseMessage:
        return await model(text).ainvoke("why?")

    first = await asyncio.create_task(ask("first task"))
    second = await asyncio.to_thread(model("second thread").invoke, "why?")
    return {"messages": [first, second]}


@scenario
async def acalls_through_a_lambda(state: Any) -> Any:
    async def inner(question: str) -> str:
        return (await model("deep inside").ainvoke(question)).text

    return {"messages": [await RunnableLambda(inner).ainvoke("why?")]}


# -- the same functions, run by LangGraph and by hand -------------------------------------------------

Parts = list[tuple[Any, dict[str, Any]]]
USER = {"tags": ["run"], "metadata": {"user": 7}, "configurable": {"thread_id": "1"}}


def given() -> HumanMessage:
    return HumanMessage("hi", id="hi")


async def by_langgraph(node: Callable[..., Any], schema: Any = TypedState) -> Parts:
    graph = StateGraph(schema).add_node(node).add_edge(START, node.__name__).compile()
    run = {"messages": [given()]}, USER
    if iscoroutinefunction(node):
        return [part async for part in graph.astream(*run, stream_mode="messages")]
    return list(graph.stream(*run, stream_mode="messages"))


def origin(node: Callable[..., Any], path: str = "1") -> dict[str, Any]:
    """What an engine says about a task."""
    return {
        "user": 7,
        "thread_id": "1",
        "langgraph_step": 1,
        "langgraph_node": node.__name__,
        "langgraph_triggers": (f"branch:to:{node.__name__}",),
        "langgraph_path": ("__pregel_pull", node.__name__),
        "langgraph_checkpoint_ns": f"{node.__name__}:{path}",
    }


async def by_hand(
    node: Callable[..., Any],
    schema: Any = TypedState,
    *,
    seen: set[str] | None = None,
    parts: Parts | None = None,
) -> Parts:
    parts = [] if parts is None else parts
    metadata = origin(node)
    handler = MessagesHandler(lambda chunk, metadata: parts.append((chunk, dict(metadata))), metadata, seen)
    state = schema(messages=[given()])
    handler.node_input(None, state)
    context = copy_context()
    ns = metadata["langgraph_checkpoint_ns"]
    asked = {**USER, "metadata": metadata, "configurable": {"thread_id": "1", "checkpoint_ns": ns}}
    config = {**asked, "callbacks": manager([handler], asked)}
    context.run(var_child_runnable_config.set, config)
    args = (state, config) if node is calls_with_the_config_it_was_given else (state,)
    if iscoroutinefunction(node):
        output = await asyncio.create_task(node(*args), context=context)
    else:
        output = context.run(node, *args)
    handler.node_output(None, output)
    return parts


def comparable(parts: Parts) -> list[tuple[Any, ...]]:
    """Replace what differs from run to run by its place in the list: ids and task ids."""
    ids: dict[Any, str] = {}
    found = []
    for message, metadata in parts:
        name = message.id if len(message.id) < 10 else ids.setdefault(message.id, f"made {len(ids)}")
        kept = {
            key: value.split(":")[0] if key.endswith("checkpoint_ns") else value
            for key, value in metadata.items()
            # Names the framework to LangChain's own tracer; of no meaning to a reader of the stream.
            if key != "ls_integration"
        }
        found.append((type(message), name, message.content, kept))
    return found


@pytest.mark.parametrize("node", SCENARIOS, ids=lambda node: node.__name__)
async def test_the_handler_reports_what_langgraph_streams(node: Callable[..., Any]) -> None:
    assert comparable(await by_hand(node)) == comparable(await by_langgraph(node))


@pytest.mark.parametrize("schema", [DataclassState, PydanticState])
@pytest.mark.parametrize("node", [invokes, returns_what_was_there, returns_a_message_alone])
async def test_a_state_may_be_of_any_kind(node: Callable[..., Any], schema: Any) -> None:
    assert comparable(await by_hand(node, schema)) == comparable(await by_langgraph(node, schema))


@pytest.mark.parametrize("schema", [TypedState, DataclassState, PydanticState])
def test_an_output_may_be_of_any_kind(schema: Any) -> None:
    parts: Parts = []
    handler = MessagesHandler(lambda *part: parts.append(part), {"from": "node"})
    message, other = AIMessage("a", id="a"), AIMessage("b", id="b")
    handler.node_output(None, schema(messages=[message], one=other))
    handler.node_output(None, [AIMessage("c", id="c"), "text", ["not looked into"]])
    assert [(m.id, metadata) for m, metadata in parts] == [(name, {"from": "node"}) for name in "abc"]


async def test_chunks_of_one_message_share_the_id_of_the_message_the_node_gets() -> None:
    answers: list[BaseMessage] = []

    async def node(state: Any) -> Any:
        answers.append(await model("a b c").ainvoke("why?"))

    parts = await by_hand(node)
    assert [(type(chunk), chunk.content) for chunk, _ in parts] == [
        (AIMessageChunk, text) for text in ("a", " ", "b", " ", "c")
    ]
    assert {chunk.id for chunk, _ in parts} == {answers[0].id}
    assert str(answers[0].id).startswith("lc_run--")


async def test_a_part_says_where_it_is_from() -> None:
    [part, *_] = await by_hand(invokes)
    assert {key: value for key, value in part[1].items() if not key.startswith(("ls_", "lc_"))} == {
        **origin(invokes),
        "checkpoint_ns": "invokes:1",
        "tags": ["run"],
    }


async def test_tasks_that_share_what_they_saw_show_a_message_once() -> None:
    parts: Parts = []
    seen: set[str] = set()
    for _ in range(2):
        await by_hand(returns_a_command, seen=seen, parts=parts)
    assert [message.id for message, _ in parts] == ["c"]


async def test_a_message_on_its_way_to_the_parent_graph_is_not_shown() -> None:
    def node(state: Any) -> Any:
        return Command(graph=Command.PARENT, update={"messages": [AIMessage("up", id="up")]})

    assert await by_hand(node) == []


async def test_a_message_without_an_id_is_given_one_itself() -> None:
    message = AIMessage("no id")
    [(shown, _)] = await by_hand(lambda state: {"messages": [message]})
    assert shown is message
    assert message.id is not None


async def test_the_handler_of_an_inner_task_takes_the_place_of_the_outer_one() -> None:
    outer: Parts = []
    inner: list[Parts] = []

    async def subgraph(state: Any) -> Any:
        model("before").invoke("why?")
        inner.append(await by_hand(invokes))
        model("after").invoke("why?")

    await by_hand(subgraph, parts=outer)
    assert [(m.content, meta["langgraph_node"]) for m, meta in outer] == [
        ("before", "subgraph"),
        ("after", "subgraph"),
    ]
    assert [[(m.content, meta["langgraph_node"]) for m, meta in parts] for parts in inner] == [
        [("hello", "invokes"), (" ", "invokes"), ("world", "invokes")]
    ]


class Proxy:
    """Stands for something else, as those of wrapt do."""

    def __init__(self, of: Any) -> None:
        self.of = of

    @property
    def __class__(self) -> Any:
        return type(self.of)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)


class Once(Sequence):
    """Can be gone through once."""

    def __init__(self, *items: Any) -> None:
        self.items = iter(items)

    def __iter__(self) -> Iterator[Any]:
        return self.items

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        raise IndexError


SAID = AIMessage("said", id="m")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(SAID, id="a message"),
        pytest.param(Proxy(SAID), id="a proxy"),
        pytest.param(Mock(spec=AIMessage, id="m"), id="a mock"),
        pytest.param([SAID, "text", {"a": 1}], id="a list"),
        pytest.param(("text", SAID), id="a tuple"),
        pytest.param(["text", Proxy(SAID)], id="a proxy in a list"),
        pytest.param(UserList([SAID]), id="another kind of list"),
        pytest.param(Once(SAID), id="what is gone through once"),
        pytest.param([Hashless(), SAID], id="beside what has no hash"),
        pytest.param((Hashless(), SAID), id="in a tuple with it"),
    ],
)
def test_messages_are_found_wherever_they_are(value: Any) -> None:
    assert ids_in({"x": value, "odd": Hashless(), "text": "t", "none": ["t", 1, None]}) == ["m"]
