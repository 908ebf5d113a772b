"""Streams of the openai and anthropic clients, against servers that speak their wire formats."""

import asyncio
import contextlib
import json
from typing import Any

import anthropic
import openai
import pytest

from otel_stream.adapters import anthropic as of_anthropic
from otel_stream.adapters import openai as of_openai
from tests.otel_stream.calls.conftest import CAPTURE, LATEST, one_node

CONFIG: Any = {"configurable": {"thread_id": "thread-7"}}


def completion(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-fake-2026"}
    return {**about, "choices": [choice]}


TOOL_CALL = {
    "index": 0,
    "id": "call-1",
    "type": "function",
    "function": {"name": "search", "arguments": '{"q":'},
}
REST = {"index": 0, "function": {"arguments": '"rain"}'}}
COUNTS = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
OPENAI = [
    completion({"role": "assistant", "content": ""}),
    completion({"content": "Let me "}),
    completion({"content": "look."}),
    completion({"tool_calls": [TOOL_CALL]}),
    completion({"tool_calls": [REST]}),
    completion({}, "tool_calls"),
    {**completion({}), "choices": [], "usage": COUNTS},
    "[DONE]",
]
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "id": "msg-1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude-fake-2026",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 50,
                "output_tokens": 1,
                "cache_read_input_tokens": 40,
                "cache_creation_input_tokens": 10,
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "call-1", "name": "search", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"q":'},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '"rain"}'},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 20},
    },
    {"type": "message_stop"},
]
OPENAI_ASKS: Any = {
    "model": "gpt-fake",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}],
    "temperature": 0.5,
    "max_completion_tokens": 64,
    "stop": ["END"],
    "seed": 7,
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}],
    "stream_options": {"include_usage": True},
    "stream": True,
}
ANTHROPIC_ASKS: Any = {
    "model": "claude-fake",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Weather?"}],
    "max_tokens": 64,
    "extra_body": {"temperature": 0.5, "top_k": 3},
    "stop_sequences": ["END"],
    "tools": [{"name": "search", "input_schema": {"type": "object"}}],
}
COMMON = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.max_tokens": 64,
    "gen_ai.request.stop_sequences": ("END",),
    "gen_ai.request.stream": True,
    "gen_ai.conversation.id": "thread-7",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "server.address": "127.0.0.1",
}
OF_OPENAI = {
    **COMMON,
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-fake",
    "gen_ai.request.seed": 7,
    "gen_ai.output.type": "json",
    "openai.api.type": "chat_completions",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.model": "gpt-fake-2026",
    "gen_ai.response.finish_reasons": ("tool_calls",),
    "gen_ai.usage.reasoning.output_tokens": 5,
}
OF_ANTHROPIC = {
    **COMMON,
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-fake",
    "gen_ai.response.id": "msg-1",
    "gen_ai.response.model": "claude-fake-2026",
    "gen_ai.response.finish_reasons": ("tool_use",),
}


class OpenAI:
    events: Any = OPENAI
    told = OF_OPENAI
    counts: Any = (100, 20)
    #: What is known of one that was left after its first words.
    left: Any = None

    def make(self, url: str) -> Any:
        return openai.OpenAI(api_key="k", base_url=url, max_retries=0)

    def amake(self, url: str) -> Any:
        return openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0)

    def open(self, client: Any) -> Any:
        return of_openai.stream_messages(client.chat.completions.create(**OPENAI_ASKS))

    @contextlib.asynccontextmanager
    async def aopen(self, client: Any) -> Any:
        async with of_openai.stream_messages(await client.chat.completions.create(**OPENAI_ASKS)) as stream:
            yield stream

    def attributes(self, *, latest: bool) -> dict[str, Any]:
        return OF_OPENAI


class Anthropic:
    events: Any = ANTHROPIC
    #: Whether the client makes spans itself; None: as it does by default.
    own: Any = False
    counts: Any = (100, 20)
    left: Any = (100, 1)

    def make(self, url: str) -> Any:
        return anthropic.Anthropic(api_key="k", base_url=url, max_retries=0, open_telemetry=self.own)

    def amake(self, url: str) -> Any:
        return anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0, open_telemetry=self.own)

    def open(self, client: Any) -> Any:
        return of_anthropic.stream_messages(client.messages.create(**ANTHROPIC_ASKS, stream=True))

    @contextlib.asynccontextmanager
    async def aopen(self, client: Any) -> Any:
        async with of_anthropic.stream_messages(client.messages.stream(**ANTHROPIC_ASKS)) as stream:
            yield stream

    def attributes(self, *, latest: bool) -> dict[str, Any]:
        wrote = "cache_write" if latest else "cache_creation"
        top: float = 3 if latest else 3.0
        return {**OF_ANTHROPIC, f"gen_ai.usage.{wrote}.input_tokens": 10, "gen_ai.request.top_k": top}


@pytest.fixture(params=[OpenAI, Anthropic], ids=["openai", "anthropic"])
def api(request: pytest.FixtureRequest, service: Any) -> Any:
    service.events = request.param.events
    return request.param()


def ask_all(api: Any, url: str) -> Any:
    def ask(state: Any) -> Any:
        with api.make(url) as client:
            return {"said": len([*api.open(client)])}

    return ask


def ask_all_later(api: Any, url: str) -> Any:
    async def ask(state: Any) -> Any:
        async with api.amake(url) as client, api.aopen(client) as stream:
            return {"said": len([event async for event in stream])}

    return ask


def run(graph: Any, *, later: bool) -> Any:
    return asyncio.run(graph.ainvoke({}, CONFIG)) if later else graph.invoke({}, CONFIG)


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_a_clients_call_is_told_attribute_by_attribute(
    watch: Any, graphs: Any, service: Any, api: Any, *, later: bool, latest: bool
) -> None:
    seen = watch(**(LATEST if latest else {}))
    node = (ask_all_later if later else ask_all)(api, service.url)
    run(one_node(graphs, node), later=later)
    told = seen()
    (call,) = told.of("chat")
    attributes = dict(call.attributes)
    first = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first <= (call.end_time - call.start_time) * 1e-9
    assert attributes.pop("server.port") == int(service.url.rpartition(":")[2])
    assert attributes == api.attributes(latest=latest)
    assert (call.kind.name, told.above(call)) == ("CLIENT", "invoke_node node")
    assert told.violations() == []


def test_its_start_is_when_the_request_was_sent(watch: Any, service: Any, api: Any) -> None:
    import time

    import engine

    seen, times = watch(), []

    def ask(state: Any) -> Any:
        with api.make(service.url) as client:
            times.append(time.time_ns())
            stream = api.open(client)
            times.append(time.time_ns())
            return {"said": len([*stream])}

    run(one_node(engine, ask), later=False)
    (call,) = seen().of("chat")
    assert times[0] <= call.start_time < times[1]


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_content_of_a_clients_call(watch: Any, service: Any, api: Any, *, later: bool) -> None:
    import engine

    seen = watch(**{CAPTURE: "SPAN_ONLY"})
    run(one_node(engine, (ask_all_later if later else ask_all)(api, service.url)), later=later)
    (call,) = seen().of("chat")
    shown = {
        name.removeprefix("gen_ai."): json.loads(value)
        for name, value in call.attributes.items()
        if name.endswith(("messages", "instructions", "definitions"))
    }
    brief = [{"type": "text", "content": "Be brief."}]
    asked = {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}
    assert shown.pop("system_instructions", None) == (brief if isinstance(api, Anthropic) else None)
    system = [] if isinstance(api, Anthropic) else [{"role": "system", "parts": brief}]
    assert shown == {
        "input.messages": [*system, asked],
        "output.messages": [
            {
                "role": "assistant",
                "parts": [
                    {"type": "text", "content": "Let me look."},
                    {"type": "tool_call", "id": "call-1", "name": "search", "arguments": {"q": "rain"}},
                ],
                "finish_reason": "tool_call",
            }
        ],
        "tool.definitions": [{"type": "function", "name": "search", "parameters": {"type": "object"}}],
    }


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_a_stream_that_is_left_counts_what_the_service_has_told(
    watch: Any, graphs: Any, service: Any, api: Any, *, later: bool
) -> None:
    seen = watch()

    def ask(state: Any) -> Any:
        with api.make(service.url) as client:
            for place, _ in enumerate(api.open(client)):
                if place == 3:
                    return {"said": place}

    async def ask_later(state: Any) -> Any:
        async with api.amake(service.url) as client, api.aopen(client) as stream:
            async for _ in stream:
                return {"said": 1}

    run(one_node(graphs, ask_later if later else ask), later=later)
    told = seen()
    (call,) = told.of("chat")
    assert (call.status.status_code.name, "error.type" in call.attributes) == ("UNSET", False)
    counted = told.sums("gen_ai.client.token.usage", "gen_ai.token.type")
    wanted = {} if api.left is None else {("input",): api.left[0], ("output",): api.left[1]}
    assert counted == wanted
    assert told.violations() == []


def test_a_stream_that_nobody_ends_is_over_with_its_node(
    watch: Any, graphs: Any, service: Any, api: Any
) -> None:
    seen, kept = watch(), []

    def ask(state: Any) -> Any:
        client = api.make(service.url)
        stream = api.open(client)
        kept.extend((client, stream))
        return {"said": str(next(stream))[:0]}

    run(one_node(graphs, ask), later=False)
    told = seen()
    (call,) = told.of("chat")
    (node,) = told.of("invoke_node")
    assert call.end_time <= node.end_time
    kept[1].close()
    kept[0].close()
    assert len(seen().of("chat")) == 1


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_an_error_in_the_middle_is_the_calls(
    watch: Any, graphs: Any, service: Any, api: Any, *, later: bool
) -> None:
    seen = watch()
    failing = {"error": {"type": "overloaded_error", "message": "canary"}}
    service.events = [
        *api.events[:3],
        {"type": "error", **failing} if isinstance(api, Anthropic) else failing,
    ]
    node = (ask_all_later if later else ask_all)(api, service.url)
    with pytest.raises((openai.APIError, anthropic.APIError)):
        run(one_node(graphs, node), later=later)
    told = seen()
    (call,) = told.of("chat")
    assert call.status.status_code.name == "ERROR"
    assert call.attributes["error.type"].startswith(("openai.", "anthropic."))
    assert len(told.points("gen_ai.client.operation.duration")) == 1
    assert "canary" not in told.text()
    assert told.violations() == []


@pytest.mark.parametrize("spans", ["auto", "on", "off"])
def test_a_client_that_traces_itself_is_left_to_and_still_measured(
    watch: Any, graphs: Any, service: Any, spans: str
) -> None:
    seen = watch(OTEL_STREAM_MODEL_SPANS=spans)
    api = Anthropic()
    api.own, service.events = None, api.events
    run(one_node(graphs, ask_all(api, service.url)), later=False)
    told = seen()
    scopes = sorted(call.instrumentation_scope.name for call in told.of("chat"))
    theirs = "com.anthropic.sdk.python"
    assert scopes == ([theirs, "otel_stream"] if spans == "on" else [theirs])
    assert {told.above(call) for call in told.of("chat")} == {"invoke_node node"}
    assert told.sums("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 100, ("output",): 20}
