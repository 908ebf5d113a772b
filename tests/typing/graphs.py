"""What type checkers must understand of graphs and their states. Checked by two of them, never executed."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict, assert_type

from engine import END, START, Command, CompiledStateGraph, GraphOutput, Runtime, StateGraph
from otel_stream import OverflowPolicy, StreamConfig, StreamMode


class State(TypedDict):
    question: str
    answer: str


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: str


@dataclass
class Context:
    user: str


@dataclass
class Model:
    n: int


def reply(state: State, runtime: Runtime[Context]) -> dict[str, str]:
    assert_type(runtime.context, Context)
    return {"answer": state["question"]}


def route(state: State) -> Literal["reply", "__end__"]:
    return "reply" if state["question"] else "__end__"


def hand_over(state: State) -> Command[Literal["reply"]]:
    return Command(goto="reply", update={"answer": ""})


builder = StateGraph(State, Context).add_node("reply", reply).add_node("hand_over", hand_over)
builder.add_conditional_edges(START, route, {"reply": "reply", END: END})
typed = builder.compile()
assert_type(typed, CompiledStateGraph[State, Context, State, State])
named: str = END
GIVEN: State = {"question": "why?", "answer": ""}


def taken(graph: CompiledStateGraph[State]) -> State:
    return graph.invoke(GIVEN)


def results() -> None:
    result = typed.invoke(GIVEN, context=Context("ada"))
    assert_type(result, State)
    assert_type(result["answer"], str)
    assert_type(typed.invoke(GIVEN, version="v2"), GraphOutput[State])
    assert_type(typed.invoke(None), State)
    assert_type(typed.invoke(Command(resume=True)), State)
    parts: Any = typed.invoke(GIVEN, stream_mode=["updates", "values"])
    print(parts)


async def asynchronous() -> None:
    assert_type(await typed.ainvoke(GIVEN), State)
    assert_type(await typed.ainvoke(GIVEN, version="v2"), GraphOutput[State])


async def streamed() -> None:
    async with typed.open_stream(GIVEN, StreamConfig(modes="updates"), context=Context("ada")) as stream:
        assert_type(await stream.wait(), State)
    assert_type(stream.result["answer"], str)


def narrowed() -> None:
    graph = StateGraph(State, input_schema=Question, output_schema=Answer).compile()
    assert_type(graph.invoke({"question": "why?"}), Answer)


def of_a_dataclass() -> None:
    # The mapping of its fields, as LangGraph has it; version "v2" gives the dataclass.
    fields: dict[str, Any] = StateGraph(Model).compile().invoke(Model(1))
    whole = StateGraph(Model).compile().invoke(Model(1), version="v2")
    assert_type(whole.value, Model)
    print(fields)


def literals(mode: StreamMode) -> None:
    StreamConfig(modes=("updates", mode), overflow="drop_oldest")
    StreamConfig(modes="values", overflow=OverflowPolicy.COALESCE, sample_per="run")
    StreamConfig(modes="valeus")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    StreamConfig(overflow="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    typed.stream(GIVEN, stream_mode="update")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    typed.invoke({"question": 3, "answer": ""})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
