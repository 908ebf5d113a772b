"""A node that streams a model's answer of a thousand chunks: told, exported or shown.

Both sides are measured in one process, by turns. Streams come as from a network: of what one read brings the
chunks come in a row, and then others have their turn, so that whoever takes parts need not keep all of a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from benchmarks.case import Comparison, Goal, sized
from benchmarks.cases.custom import State
from benchmarks.libraries import OURS, expect, on_loop
from benchmarks.providers import installed
from otel_stream import StreamConfig
from otel_stream.adapters.openai import stream_messages
from otel_stream.telemetry import resolve, set_options

CHUNKS = 1_000
#: Calls in one run, so that what is measured is the calls.
CALLS = 10
#: Chunks that one read brings: what it costs to wake who waits for them is what ``latency-await`` measures.
READ = 32
#: A millisecond for the whole call, and what a token may cost that is shown.
_TOLD = Goal("added", must=1.0, over="theirs")
_SHOWN = Goal("added", must=5.0, over="theirs")


class _Model(BaseChatModel):
    """Says one word again and again."""

    words: int

    @property
    def _llm_type(self) -> str:
        return "benchmark"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def _get_ls_params(self, stop: Any = None, **_: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": "benchmark", "ls_model_type": "chat"}

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        async for _word in _reads(self.words):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word ", id="answer"))


async def _reads(words: int) -> AsyncIterator[None]:
    for place in range(words):
        if place % READ == 0:
            await asyncio.sleep(0)
        yield


def _langchain(words: int) -> Callable[[], AsyncIterator[Any]]:
    model = _Model(words=words)
    return lambda: model.astream("?")


def _client(words: int) -> Callable[[], AsyncIterator[Any]]:
    """Return what makes a stream as the openai client's is one; what it says has been read before."""
    delta = SimpleNamespace(content="word ", tool_calls=None)
    choice = SimpleNamespace(index=0, delta=delta, finish_reason=None)
    event = SimpleNamespace(id="answer", model="benchmark", choices=[choice], usage=None)
    request = SimpleNamespace(url="http://localhost/v1", content=b'{"model": "benchmark"}')
    response = SimpleNamespace(headers={}, request=request)

    class Stream:
        def __init__(self) -> None:
            self.response = response

        async def __aiter__(self) -> AsyncIterator[Any]:
            async for _word in _reads(words):
                yield event

    return lambda: aiter(stream_messages(Stream()))  # type: ignore[call-overload]


def _graph(ask: Any) -> Any:
    stream = ask(sized(CHUNKS))

    async def answer(_: State) -> State:
        calls = 0
        for _call in range(CALLS):
            heard = 0
            async for _chunk in stream():
                heard += 1
            # LangChain's own last chunk, which only says that it is over, may be one more.
            calls += heard // sized(CHUNKS)
        return {"n": calls}

    builder = OURS.StateGraph(State).add_node("answer", answer)
    return builder.add_edge(OURS.START, "answer").compile()


def _running(graph: Any) -> Callable[[], None]:
    async def run() -> None:
        result = await graph.ainvoke({"n": 0})
        expect("calls of so many chunks", result["n"], CALLS)

    return on_loop(run)


def _compared(
    name: str, title: str, ask: Any, ours: Callable[[Any], Callable[[], None]], goal: Goal
) -> Comparison:
    graph = _graph(ask)
    quiet = _running(graph)

    def unwatched() -> None:
        with patch("engine.api.run_stream.consumer_for_run", lambda: None):
            quiet()

    return Comparison(
        name=name,
        title=f"{CALLS} calls of {CHUNKS:,} chunks, of {title}",
        unit="chunk",
        count=CALLS * sized(CHUNKS),
        ours=ours(graph),
        theirs=unwatched,
        against="the same, nothing watching",
        goal=goal,
    )


def _telling(modes: str) -> Callable[[Any], Callable[[], None]]:
    def made(graph: Any) -> Callable[[], None]:
        set_options(resolve(environ={"OTEL_STREAM_EXPORT_MODES": modes}))
        run, providers = _running(graph), installed()

        def run_and_flush() -> None:
            run()
            expect("spans: run, superstep, node and calls", providers.flush()[0], 3 + CALLS)

        return run_and_flush

    return made


def _showing(graph: Any) -> Callable[[], None]:
    config = StreamConfig(modes="messages")

    async def run() -> None:
        heard = 0
        async with graph.open_stream({"n": 0}, config) as parts:
            async for _ in parts:
                heard += 1
        expect("calls shown", heard // CALLS // sized(CHUNKS), 1)

    return on_loop(run)


def told() -> Comparison:
    """Stream with one of LangChain's models; spans and metrics tell of it."""
    title = "one of LangChain's models; spans and metrics of run and call"
    return _compared("model-traced", title, _langchain, _telling("updates,values"), _TOLD)


def joined() -> Comparison:
    """Do so while the message becomes a log event, too."""
    title = "such a model; the message as a log event, too"
    return _compared("model-exported", title, _langchain, _telling("updates,values,messages"), _SHOWN)


def shown() -> Comparison:
    """Do so to a receiver of messages mode."""
    return _compared("model-messages", "such a model; a receiver of messages", _langchain, _showing, _SHOWN)


def of_client() -> Comparison:
    """Stream with a client; spans and metrics tell of it."""
    title = "a client, by stream_messages; spans and metrics of run and call"
    return _compared("client-traced", title, _client, _telling("updates,values"), _TOLD)


def of_client_shown() -> Comparison:
    """Do so to a receiver of messages mode."""
    return _compared("client-messages", "a client; a receiver of messages", _client, _showing, _SHOWN)
