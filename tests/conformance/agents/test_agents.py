"""What receivers get of agents is what LangGraph streams in the same run; its caller gets what it did."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.prebuilt import create_react_agent
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

from otel_stream import OverflowPolicy, StreamConfig, StreamPart
from otel_stream.adapters.langgraph import LangGraphInstrumentor, subscribe
from otel_stream.testing import telemetry

MODES: Any = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug", "tools")


class Scripted(BaseChatModel):
    """A model whose answers are written down; it says them in pieces to who wants that."""

    script: list[AIMessage]
    said: Iterator[int] = count()

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        answer = self.script[next(self.said)]
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy(deep=True))])

    def _stream(
        self, messages: list[BaseMessage], *args: Any, run_manager: Any = None, **options: Any
    ) -> Iterator[ChatGenerationChunk]:
        answer = self.script[next(self.said)]
        pieces = [AIMessageChunk(content=word) for word in re.findall(r"\S+\s*", str(answer.content))]
        pieces += [
            AIMessageChunk(
                content="",
                tool_call_chunks=[
                    {
                        "name": call["name"],
                        "args": str(call["args"]).replace("'", '"'),
                        "id": call["id"],
                        "index": index,
                        "type": "tool_call_chunk",
                    }
                ],
            )
            for index, call in enumerate(answer.tool_calls)
        ]
        for piece in pieces:
            chunk = ChatGenerationChunk(message=piece)
            if run_manager is not None:
                run_manager.on_llm_new_token(piece.content, chunk=chunk)
            yield chunk


def calls(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[ToolCall(name=name, args=arguments, id=f"call-{name}")])


def model(*answers: AIMessage | str) -> Scripted:
    script = [AIMessage(answer) if isinstance(answer, str) else answer for answer in answers]
    return Scripted(script=script, said=count())


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    get_stream_writer()({"looking at": city})
    return f"It rains in {city}."


def an_agent() -> Any:
    return create_agent(
        model(calls("weather", city="Ulm"), "Take an umbrella."), [weather], checkpointer=InMemorySaver()
    )


def a_react_agent() -> Any:
    return create_react_agent(
        model(calls("weather", city="Ulm"), "Take an umbrella."), [weather], checkpointer=InMemorySaver()
    )


def a_deep_agent() -> Any:
    helper: Any = {
        "name": "helper",
        "description": "Looks at the sky.",
        "system_prompt": "Look at the sky.",
        "tools": [weather],
        "model": model(calls("weather", city="Ulm"), "It rains."),
    }
    planner = model(
        calls("write_todos", todos=[{"content": "look", "status": "pending"}]),
        calls("task", description="Look at the sky", subagent_type="helper"),
        "Take an umbrella.",
    )
    return create_deep_agent(model=planner, tools=[], subagents=[helper], checkpointer=InMemorySaver())


def a_supervisor() -> Any:
    worker = create_agent(model(calls("weather", city="Ulm"), "It rains."), [weather], name="worker")
    above = model(calls("transfer_to_worker"), "Take an umbrella.")
    return create_supervisor([worker], model=above).compile(checkpointer=InMemorySaver())


def a_swarm() -> Any:
    first = create_agent(
        model(calls("transfer_to_second")), [create_handoff_tool(agent_name="second")], name="first"
    )
    second = create_agent(model(calls("weather", city="Ulm"), "Take an umbrella."), [weather], name="second")
    made = create_swarm([first, second], default_active_agent="first")
    return made.compile(checkpointer=InMemorySaver())


SUBJECTS = [an_agent, a_react_agent, a_deep_agent, a_supervisor, a_swarm]
INPUT: Any = {"messages": [{"role": "user", "content": "Do I need an umbrella?", "id": "question"}]}
CONFIG: Any = {"configurable": {"thread_id": "1"}}

#: ``(namespace, mode, data)``, as LangGraph yields it with several modes and ``subgraphs``.
Part = tuple[tuple[str, ...], str, Any]


def streamed(graph: Any, *, is_async: bool, modes: Any = MODES) -> list[Part]:
    """Return what LangGraph yields."""
    options: Any = {"stream_mode": list(modes), "subgraphs": True}

    async def main() -> list[Part]:
        return [part async for part in graph.astream(INPUT, CONFIG, **options)]

    return asyncio.run(main()) if is_async else [*graph.stream(INPUT, CONFIG, **options)]


def plain(part: Part) -> str:
    """Return a part as text, without times, nor ids that messages are given when they were shown already."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+", "<time>", repr(part))
    return re.sub(r"(ToolMessage\([^()]*?), id='[^']*'", r"\1", text)


def named(parts: Sequence[Part]) -> list[str]:
    """Return parts as texts in which ids have the names of their first appearance."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"<id {len(names)}>")

    ids = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b0\.\d{10,}\b|\b[0-9a-f]{32}\b"
    return [re.sub(ids, name, plain(part)) for part in parts]


def received(parts: Sequence[StreamPart]) -> list[Part]:
    return [(part.ns, part.type, part.data) for part in parts]


def is_an_end(part: Part) -> bool:
    """Whether a part tells how a task ended: LangGraph leaves some out (docs/differences.md)."""
    data = part[2]["payload"] if part[1] == "debug" else part[2]
    return part[1] in ("tasks", "debug") and "result" in data


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Put back what was there: the whole suite may be observed."""
    before = LangGraphInstrumentor().is_instrumented_by_opentelemetry
    yield
    (LangGraphInstrumentor().instrument if before else LangGraphInstrumentor().uninstrument)()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("make", SUBJECTS)
def test_a_receiver_gets_what_langgraph_yields_in_every_mode(make: Callable[[], Any], is_async: bool) -> None:
    LangGraphInstrumentor().instrument()
    config = StreamConfig(
        modes=MODES, buffer_size=1_000_000, overflow=OverflowPolicy.DROP_OLDEST, subgraphs=True
    )
    with subscribe(config) as receiver:
        theirs = streamed(make(), is_async=is_async)
        ours = received([*iter(receiver.take_nowait, None)])
    assert {part[1] for part in theirs} == set(MODES)
    known = Counter(map(plain, theirs))
    both: list[Part] = []
    more: list[Part] = []
    for part in ours:
        known[plain(part)] -= 1
        (both if known[plain(part)] >= 0 else more).append(part)
    assert [part for part, number in known.items() if number > 0] == []
    assert [part for part in more if not is_an_end(part)] == []
    for mode in MODES:
        assert [plain(part) for part in both if part[1] == mode] == [
            plain(part) for part in theirs if part[1] == mode
        ]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("make", SUBJECTS)
def test_the_caller_gets_what_it_gets_without_us(make: Callable[[], Any], is_async: bool) -> None:
    LangGraphInstrumentor().uninstrument()
    alone = streamed(make(), is_async=is_async)
    LangGraphInstrumentor().instrument()
    config = StreamConfig(modes=MODES, overflow=OverflowPolicy.DROP_OLDEST, subgraphs=True)
    with telemetry(capture_content=True) as seen, subscribe(config):
        watched = streamed(make(), is_async=is_async)
    assert named(watched) == named(alone)
    assert any(span.name.startswith("invoke_node") for span in seen.spans)
    assert len({span.context.trace_id for span in seen.spans if span.context is not None}) == 1
