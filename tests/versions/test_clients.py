"""Streams of model clients, wrapped by the instrumentations that people have: shown, and unchanged."""

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import operator
from typing import Annotated, Any, TypedDict

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engine import START, StateGraph
from tests.otel_stream.adapters.conftest import FakeService

CLIENTS = {
    "openai": (
        "openinference.instrumentation.openai:OpenAIInstrumentor",
        "opentelemetry.instrumentation.openai:OpenAIInstrumentor",
        "opentelemetry.instrumentation.openai_v2:OpenAIInstrumentor",
    ),
    "anthropic": (
        "openinference.instrumentation.anthropic:AnthropicInstrumentor",
        "opentelemetry.instrumentation.anthropic:AnthropicInstrumentor",
    ),
    "litellm": (
        "openinference.instrumentation.litellm:LiteLLMInstrumentor",
        "openinference.instrumentation.openai:OpenAIInstrumentor",
    ),
}
PAIRS = [(client, name) for client, names in CLIENTS.items() for name in names]
WORDS = ["Gra", "phs ", "run"]
TEXT = "".join(WORDS)
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}


def _is_missing(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.partition(":")[0]) is None
    except ModuleNotFoundError:
        return True


pytestmark = [
    pytest.mark.timeout(400),  # to import some of them takes long
    # What they leave undone, an ``AsyncStream.close`` without await, say, is theirs.
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(
        any(_is_missing(name) for _, name in PAIRS), reason="make test-versions installs them"
    ),
]


class State(TypedDict, total=False):
    texts: Annotated[list[str], operator.add]


@pytest.fixture(scope="module")
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]} by {pair[1]}")
def client(request, spans, caplog, monkeypatch):
    """A client beside an instrumentation that wraps what it returns."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it looks for prices on the internet
    name, instrumentation = request.param
    module, _, attribute = instrumentation.partition(":")
    instrumentor = getattr(importlib.import_module(module), attribute)()
    instrumentor.instrument()
    service = FakeService()
    service.events = {"anthropic": ANTHROPIC}.get(name, OPENAI)
    spans.clear()
    try:
        with caplog.at_level(logging.WARNING):
            made = KINDS[name](service.url)
            yield made
        ours = {one.context.span_id for one in spans.get_finished_spans() if _is_ours(one)}
        # Who wraps the client tells of its calls: ours tell of nodes.
        assert [one.name for one in spans.get_finished_spans() if _is_ours(one) and "chat" in one.name] == []
        theirs = [one for one in spans.get_finished_spans() if not _is_ours(one)]
        # Some of them end the span of a stream that was left when it is collected, or never.
        assert made.left or any(one.parent is not None and one.parent.span_id in ours for one in theirs)
        assert [one.getMessage() for one in caplog.records if one.name.startswith("otel_stream")] == []
        assert [one for one in caplog.records if "detach" in one.getMessage()] == []
    finally:
        service.close()
        instrumentor.uninstrument()


def _is_ours(span):
    return span.instrumentation_scope.name == "otel_stream"


class OpenAI:
    #: Whether the stream was left before its end.
    left = False

    def __init__(self, url):
        import openai

        self.made = {"api_key": "k", "base_url": url, "max_retries": 0}
        self.kinds = openai.OpenAI, openai.AsyncOpenAI

    def text(self, event):
        return event.choices[0].delta.content or "" if event.choices else ""

    @contextlib.contextmanager
    def asked(self):
        with self.kinds[0](**self.made) as client:
            yield self.told(client.chat.completions.create(**ASKED))

    @contextlib.asynccontextmanager
    async def asked_later(self):
        async with self.kinds[1](**self.made) as client:
            yield self.told(await client.chat.completions.create(**ASKED))

    def told(self, stream):
        from otel_stream.adapters.openai import stream_messages

        return stream_messages(stream)


class Anthropic(OpenAI):
    def __init__(self, url):
        import anthropic

        self.made = {"api_key": "k", "base_url": url, "max_retries": 0}
        self.kinds = anthropic.Anthropic, anthropic.AsyncAnthropic

    def text(self, event):
        return getattr(event.delta, "text", "") if event.type == "content_block_delta" else ""

    @contextlib.contextmanager
    def asked(self):
        with self.kinds[0](**self.made) as client:
            yield self.told(client.messages.create(**ASKED, max_tokens=9))

    @contextlib.asynccontextmanager
    async def asked_later(self):
        async with self.kinds[1](**self.made) as client:
            yield self.told(await client.messages.create(**ASKED, max_tokens=9))

    def told(self, stream):
        from otel_stream.adapters.anthropic import stream_messages

        return stream_messages(stream)


class LiteLLM(OpenAI):
    def __init__(self, url):
        self.made = {**ASKED, "model": "openai/m", "api_base": url, "api_key": "k", "num_retries": 0}

        self.client = importlib.import_module("litellm")

    @contextlib.contextmanager
    def asked(self):
        yield self.told(self.client.completion(**self.made))

    @contextlib.asynccontextmanager
    async def asked_later(self):
        yield self.told(await self.client.acompletion(**self.made))


KINDS = {"openai": OpenAI, "anthropic": Anthropic, "litellm": LiteLLM}

OPENAI = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    for choice in [
        *(
            {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            for word in WORDS
        ),
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
] + ["[DONE]"]
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "id": "c", "type": "message", "role": "assistant", "content": [], "model": "m",
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 0},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        for word in WORDS
    ),
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
]  # fmt: skip


def fan(node, width=1):
    made = StateGraph(State)
    for number in range(width):
        made.add_node(f"n{number}", node).add_edge(START, f"n{number}")
    return made.compile()


def heard(parts, width=1):
    """The texts of the messages, by node."""
    texts = {}
    for chunk, about in parts:
        texts[about["langgraph_node"]] = texts.get(about["langgraph_node"], "") + chunk.text
    assert set(texts) == {f"n{number}" for number in range(width)}
    return set(texts.values())


async def aheard(graph, width=1):
    return heard([part async for part in graph.astream({"texts": []}, stream_mode="messages")], width)


def test_a_loop_over_a_sync_stream(client):
    def ask(state):
        with client.asked() as stream:
            return {"texts": ["".join(client.text(event) for event in stream)]}

    parts = list(fan(ask, 2).stream({"texts": []}, stream_mode=["messages", "updates"]))
    assert heard([data for mode, data in parts if mode == "messages"], 2) == {TEXT}
    assert [next(iter(data.values())) for mode, data in parts if mode == "updates"] == [{"texts": [TEXT]}] * 2


def test_a_loop_over_an_async_stream_and_others_beside_it(client):
    async def ask(state):
        async with client.asked_later() as stream:
            return {"texts": ["".join([client.text(event) async for event in stream])]}

    assert asyncio.run(aheard(fan(ask, 3), 3)) == {TEXT}


def test_a_sync_stream_that_is_left_after_its_first_words(client):
    def ask(state):
        with client.asked() as stream:
            for event in stream:
                if client.text(event):
                    client.left = True
                    return {"texts": [client.text(event)]}

    assert heard(fan(ask).stream({"texts": []}, stream_mode="messages")) == {WORDS[0]}


def test_an_async_stream_that_is_left_after_its_first_words(client):
    async def ask(state):
        async with client.asked_later() as stream:
            async for event in stream:
                if client.text(event):
                    client.left = True
                    return {"texts": [client.text(event)]}

    assert asyncio.run(aheard(fan(ask))) == {WORDS[0]}


def test_a_run_whose_consumer_leaves_while_the_model_speaks(client):
    async def ask(state):
        async with client.asked_later() as stream:
            return {"texts": ["".join([client.text(event) async for event in stream])]}

    async def main():
        stream: Any = fan(ask).astream({"texts": []}, stream_mode="messages")
        async with contextlib.aclosing(stream) as parts:
            async for _ in parts:
                client.left = True
                break
        return await fan(ask).ainvoke({"texts": []})

    assert asyncio.run(main()) == {"texts": [TEXT]}
