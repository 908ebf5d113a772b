"""Streams of single runs and of all of them, beside whatever the caller asked for."""

import asyncio
import operator
import threading
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from otel_stream import OverflowPolicy, StreamConfig, StreamDeadlockError, StreamReceiver
from otel_stream.adapters.langgraph import LangGraphInstrumentor, open_stream, subscribe
from otel_stream.events import End
from otel_stream.testing import telemetry

pytestmark = pytest.mark.usefixtures("instrumented")


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def chain(*names: str, **options: Any) -> Any:
    made: Any = StateGraph(State)
    for name in names:
        made.add_node(name, lambda state, name=name: {"log": [name]})
    for source, target in zip((START, *names), names, strict=False):
        made.add_edge(source, target)
    return made.compile(**options)


def test_open_stream_has_a_receiver_for_each_config() -> None:
    async def main() -> tuple[list[Any], list[Any], Any, End | None]:
        configs = StreamConfig(modes=("updates",)), StreamConfig(modes=("values",))
        async with open_stream(chain("a", "b"), {"log": []}, *configs) as stream:
            updates = [part.data async for part in stream]
            values = [part.data async for part in stream.receivers[1]]
            return updates, values, await stream, stream.end

    updates, values, result, end = asyncio.run(main())
    assert updates == [{"a": {"log": ["a"]}}, {"b": {"log": ["b"]}}]
    assert values[-1] == result == {"log": ["a", "b"]}
    assert end is End.OK


def test_a_stream_that_is_left_abandons_its_run(caplog: pytest.LogCaptureFixture) -> None:
    stopped: list[str] = []

    async def wait(state: State) -> Any:
        get_stream_writer()("begun")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("it")

    async def main() -> End | None:
        made: Any = StateGraph(State).add_node("a", wait)
        graph = made.add_edge(START, "a").compile()
        async with open_stream(graph, {"log": []}, StreamConfig(modes=("custom",))) as stream:
            await anext(aiter(stream))
        with pytest.raises(RuntimeError, match="no result"):
            _ = stream.result
        return stream.end

    with telemetry() as seen:
        assert asyncio.run(main()) is End.ABANDONED
    assert stopped == ["it"]
    assert seen.span("invoke_workflow LangGraph").status.is_unset
    assert caplog.records == []


def test_a_stream_raises_what_its_run_raised_after_the_last_part() -> None:
    def fail(state: State) -> Any:
        raise KeyError("x")

    async def main() -> list[Any]:
        made: Any = StateGraph(State).add_node("a", lambda state: {"log": ["a"]}).add_node("b", fail)
        graph = made.add_edge(START, "a").add_edge("a", "b").compile()
        parts = []
        async with open_stream(graph, {"log": []}, StreamConfig(modes=("updates",))) as stream:
            with pytest.raises(KeyError):
                parts.extend([part.data async for part in stream])
            with pytest.raises(KeyError):
                await stream
        return parts

    asyncio.run(main())


def test_a_run_that_cannot_begin_ends_its_stream() -> None:
    async def main() -> End | None:
        graph = chain("a", checkpointer=InMemorySaver())  # and no thread_id
        async with open_stream(graph, {"log": []}, StreamConfig(modes=("updates",))) as stream:
            with pytest.raises(ValueError, match="thread_id"):
                [part async for part in stream]
        return stream.end

    assert asyncio.run(main()) is End.ERROR


def test_open_stream_says_what_is_missing() -> None:
    LangGraphInstrumentor().uninstrument()
    with pytest.raises(RuntimeError, match="instrument"):
        open_stream(chain("a"), {"log": []})


def test_parts_name_their_span() -> None:
    config = StreamConfig(modes=("updates",), include_metadata=True)
    with telemetry() as seen, subscribe(config) as receiver:
        chain("a").invoke({"log": []})
        part = receiver.take_nowait()
    span = seen.span("invoke_node a")
    assert part is not None
    assert (part.trace_id, part.span_id) == (
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    )


def test_a_subscriber_sees_every_run_until_it_is_closed() -> None:
    graph = chain("a")
    with subscribe(StreamConfig(modes=("updates",))) as receiver:
        graph.invoke({"log": []})
        graph.batch([{"log": []}] * 2)
        [*graph.stream({"log": []}, stream_mode="custom")]
        assert len({part.run_id for part in iter(receiver.take_nowait, None)}) == 4
    graph.invoke({"log": []})
    assert receiver.take_nowait() is None


def test_a_child_with_a_thread_of_its_own_is_a_run_of_its_own() -> None:
    child = chain("c", checkpointer=InMemorySaver())

    def call(state: State) -> Any:
        return child.invoke({"log": []}, {"configurable": {"thread_id": "child"}})

    made: Any = StateGraph(State).add_node("a", call)
    graph = made.add_edge(START, "a").compile()
    with telemetry() as seen, subscribe(StreamConfig(modes=("updates",), subgraphs=True)) as receiver:
        graph.invoke({"log": []})
        parts = [*iter(receiver.take_nowait, None)]
    assert [(part.ns, [*part.data]) for part in parts] == [((), ["c"]), ((), ["a"])]
    assert len({part.run_id for part in parts}) == 2
    assert seen.outline()[3:4] == ["      invoke_workflow LangGraph"]


# -- waiting for receivers ---------------------------------------------------------------------------


def held_at_each_step(graph_of: Any, run: Any) -> int:
    """Run 50 supersteps, and return the most that a receiver of two parts held when a node began."""
    held: list[int] = []
    config = StreamConfig(modes=("updates",), buffer_size=2, overflow=OverflowPolicy.BLOCK)
    with subscribe(config) as receiver:
        run(graph_of(lambda: held.append(receiver.statistics().held)), receiver)
    assert len(held) == 50
    return max(held)


def test_a_sync_run_waits_after_a_superstep_for_a_receiver_that_blocks() -> None:
    def graph_of(look: Any) -> Any:
        def act(state: State) -> Any:
            look()
            return {"log": [1]}

        made: Any = StateGraph(State).add_node("a", act).add_edge(START, "a")
        made.add_conditional_edges("a", lambda state: "a" if len(state["log"]) < 50 else "__end__")
        return made.compile()

    def run(graph: Any, receiver: Any) -> None:
        running = threading.Thread(target=graph.invoke, args=({"log": []}, {"recursion_limit": 100}))
        running.start()
        taken = [next(receiver) for _ in range(50)]
        running.join()
        assert len(taken) == 50

    assert held_at_each_step(graph_of, run) <= 2


def test_a_run_on_the_event_loop_waits_after_a_superstep_for_a_receiver_that_blocks() -> None:
    def graph_of(look: Any) -> Any:
        async def act(state: State) -> Any:
            look()
            return {"log": [1]}

        made: Any = StateGraph(State).add_node("a", act).add_edge(START, "a")
        made.add_conditional_edges("a", lambda state: "a" if len(state["log"]) < 50 else "__end__")
        return made.compile()

    async def main(graph: Any, receiver: Any) -> None:
        running = asyncio.create_task(graph.ainvoke({"log": []}, {"recursion_limit": 100}))
        for _ in range(50):
            await anext(receiver)
        await running

    assert held_at_each_step(graph_of, lambda graph, receiver: asyncio.run(main(graph, receiver))) <= 2


# -- messages ----------------------------------------------------------------------------------------


class Model(GenericFakeChatModel):
    """Notes whether it was asked to stream."""

    streamed: list[bool] = []  # noqa: RUF012 - pydantic copies it

    def _stream(self, *args: Any, **options: Any) -> Iterator[Any]:
        self.streamed.append(True)
        yield from super()._stream(*args, **options)


def talking(model: Any) -> Any:
    made: Any = StateGraph(MessagesState)
    made.add_node("talk", lambda state: {"messages": [model.invoke("go on")]})
    return made.add_edge(START, "talk").compile()


def test_telemetry_alone_makes_no_model_stream_and_tells_its_message() -> None:
    model = Model(messages=iter([AIMessage("hello you")]), streamed=[])
    with telemetry(capture_content=True) as seen:
        talking(model).invoke({"messages": []})
    assert model.streamed == []
    (told,) = (one.log_record for one in seen.logs if one.log_record.event_name == "graph.messages")
    assert "hello you" in str(told.body)
    names = {span.context.span_id: span.name for span in seen.spans}
    assert names[told.span_id] == "invoke_node talk"


def test_a_receiver_of_messages_gets_them_as_they_are_streamed() -> None:
    model = Model(messages=iter([AIMessage("hello you")]), streamed=[])
    with subscribe(StreamConfig(modes=("messages",))) as receiver:
        talking(model).invoke({"messages": []})
        said = [part.data[0].content for part in iter(receiver.take_nowait, None)]
    assert model.streamed == [True]
    assert "".join(said) == "hello you"
    assert len(said) > 1


def test_telemetry_alone_gives_no_message_an_id() -> None:
    class Plain(TypedDict, total=False):
        said: Annotated[list[Any], operator.add]

    made: Any = StateGraph(Plain).add_node("talk", lambda state: {"said": [AIMessage("hello")]})
    with telemetry(capture_content=True) as seen:
        result = made.add_edge(START, "talk").compile().invoke({"said": []})
    assert result["said"][0].id is None
    assert "graph.messages" in seen.events


def five(state: State) -> Any:
    for number in range(5):
        get_stream_writer()(number)
    return {"log": ["five"]}


def chatty() -> Any:
    """A graph that writes five parts in each of two supersteps."""
    made: Any = StateGraph(State).add_node("a", five).add_node("b", five)
    return made.add_edge(START, "a").add_edge("a", "b").compile()


def test_who_awaits_a_run_that_nobody_reads_is_told_so_and_can_read_it_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StreamReceiver, "stall_timeout", 0.01)

    async def main() -> tuple[str, list[Any], Any]:
        config = StreamConfig(modes=("custom",), buffer_size=1, name="ui")
        async with open_stream(chatty(), {"log": []}, config) as stream:
            with pytest.raises(StreamDeadlockError) as caught:
                await asyncio.wait_for(stream.wait(), 30)
            return str(caught.value), [part.data async for part in stream], await stream.wait()

    said, parts, result = asyncio.run(main())
    assert said.startswith("the run waits for receiver 'ui', whose buffer of 1 parts is full, and nobody")
    assert parts == [*range(5), *range(5)]
    assert result == {"log": ["five", "five"]}


def test_who_gives_up_waiting_for_a_run_stops_it() -> None:
    async def wait(state: State) -> Any:
        get_stream_writer()("begun")
        await asyncio.Event().wait()

    async def main() -> End | None:
        graph: Any = StateGraph(State).add_node("a", wait).add_edge(START, "a").compile()
        async with open_stream(graph, {"log": []}, StreamConfig(modes=("custom",))) as stream:
            waiting = asyncio.ensure_future(stream.wait())
            await anext(aiter(stream))
            waiting.cancel()
            await asyncio.wait((waiting,))
            return stream.end

    assert asyncio.run(main()) is End.CANCELLED


def test_a_run_that_is_stopped_before_it_begins_is_waited_for_no_longer() -> None:
    async def main() -> None:
        stream = open_stream(chain("a"), {"log": []}, StreamConfig(modes=("updates",)))
        await stream.__aenter__()
        await stream.aclose()
        with pytest.raises(asyncio.CancelledError):
            await stream.wait()

    asyncio.run(main())


def test_a_handoff_out_of_a_subgraph_is_the_update_of_the_node_that_it_is() -> None:
    def hand_off(state: State) -> Any:
        return Command(graph=Command.PARENT, goto="after", update={"log": ["handed off"]})

    inner: Any = StateGraph(State).add_node("inner", hand_off).add_edge(START, "inner").compile()
    made: Any = StateGraph(State).add_node("sub", inner).add_node("after", lambda state: {"log": ["after"]})
    graph = made.add_edge(START, "sub").compile()
    with subscribe(StreamConfig(modes=("updates",), subgraphs=True)) as receiver:
        theirs = [*graph.stream({"log": []}, stream_mode="updates", subgraphs=True)]
        ours = [(part.ns, part.data) for part in iter(receiver.take_nowait, None)]
    assert ours == theirs == [((), {"sub": {"log": ["handed off"]}}), ((), {"after": {"log": ["after"]}})]


def test_a_tool_shows_its_output_to_the_caller_and_to_receivers() -> None:
    # One that came out later than the oldest of LangGraph does not go with it.
    prebuilt = pytest.importorskip("langgraph.prebuilt", exc_type=ImportError)
    if not hasattr(prebuilt.ToolRuntime, "emit_output_delta"):
        pytest.skip("this version's tools show no output before their end")

    @tool
    def spell(word: str, runtime: prebuilt.ToolRuntime) -> str:  # type: ignore[name-defined]
        """Spell a word."""
        for letter in word:
            runtime.emit_output_delta(letter)
        return word

    call = {"name": "spell", "args": {"word": "ab"}, "id": "1", "type": "tool_call"}
    made: Any = StateGraph(MessagesState).add_node("tools", prebuilt.ToolNode([spell]))
    graph = made.add_edge(START, "tools").compile()
    with subscribe(StreamConfig(modes=("tools",))) as receiver:
        theirs = [*graph.stream({"messages": [AIMessage("", tool_calls=[call])]}, stream_mode="tools")]
        ours = [part.data for part in iter(receiver.take_nowait, None)]
    assert [part.get("delta") for part in theirs] == [None, "a", "b", None]
    # The message in the last one is given an id when LangGraph has shown it already.
    assert [*ours[:-1], ours[-1]["output"].content] == [*theirs[:-1], theirs[-1]["output"].content]
