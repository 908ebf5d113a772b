"""Calls of the openai and anthropic clients that are not streamed, against servers that speak like theirs."""

import asyncio
import json
from typing import Any

import anthropic
import openai
import pytest

from otel_stream import ConfigError
from otel_stream.adapters import anthropic as of_anthropic
from otel_stream.adapters import openai as of_openai
from tests.otel_stream.calls.conftest import CAPTURE, LATEST, one_node
from tests.otel_stream.calls.services import Answers
from tests.otel_stream.calls.test_clients import ANTHROPIC_ASKS, CONFIG, COUNTS, OPENAI_ASKS

CALL = {"id": "call-1", "type": "function", "function": {"name": "search", "arguments": '{"q":"rain"}'}}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-fake-2026",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": COUNTS,
}
REFUSED = {
    **COMPLETION,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "refusal": "I will not."},
            "finish_reason": "content_filter",
        }
    ],
}
RESPONSE = {
    "id": "resp-1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-fake-2026",
    "status": "completed",
    "incomplete_details": None,
    "output": [
        {
            "type": "message",
            "id": "msg-1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc-1",
            "call_id": "call-1",
            "name": "search",
            "arguments": '{"q":"rain"}',
            "status": "completed",
        },
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 120,
    },
}
MESSAGE = {
    "id": "msg-1",
    "type": "message",
    "role": "assistant",
    "model": "claude-fake-2026",
    "content": [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call-1", "name": "search", "input": {"q": "rain"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 50,
        "output_tokens": 20,
        "cache_read_input_tokens": 40,
        "cache_creation_input_tokens": 10,
    },
}
#: Of both services, in the shapes that they have in common.
FULL = (429, {"retry-after": "0.01"}, {"error": {"message": "canary: slow down", "type": "rate_limit_error"}})

ASKED = {
    "openai": {name: value for name, value in OPENAI_ASKS.items() if not name.startswith("stream")},
    "responses": {
        "model": "gpt-fake",
        "input": "Weather?",
        "instructions": "Be brief.",
        "max_output_tokens": 64,
    },
    "anthropic": dict(ANTHROPIC_ASKS),
}
ANSWERS = {"openai": COMPLETION, "responses": RESPONSE, "anthropic": MESSAGE}
APIS = list(ASKED)


class Api:
    """One of the ways to ask: which client, and which of its methods."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.provider = "anthropic" if name == "anthropic" else "openai"

    def client(self, url: str, *, later: bool, **more: Any) -> Any:
        if self.name == "anthropic":
            kind: Any = anthropic.AsyncAnthropic if later else anthropic.Anthropic
            more = {"open_telemetry": False, **more}
        else:
            kind = openai.AsyncOpenAI if later else openai.OpenAI
        made = kind(api_key="k", base_url=url, **{"max_retries": 0, **more})
        tell = of_anthropic.tell_calls if self.name == "anthropic" else of_openai.tell_calls
        return tell(tell(made))  # once, however often it is asked for

    def ask(self, client: Any, **more: Any) -> Any:
        where = {"openai": "chat.completions", "responses": "responses", "anthropic": "messages"}[self.name]
        for name in where.split("."):
            client = getattr(client, name)
        return client.create(**{**ASKED[self.name], **more})


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> Api:
    return Api(request.param)


def asking(api: Api, url: str, *, later: bool, asked: Any = None, **more: Any) -> Any:
    def node(state: Any) -> Any:
        with api.client(url, later=False, **more) as client:
            return {"said": api.ask(client, **(asked or {})).id}

    async def node_later(state: Any) -> Any:
        async with api.client(url, later=True, **more) as client:
            return {"said": (await api.ask(client, **(asked or {}))).id}

    return node_later if later else node


def run(graph: Any, *, later: bool) -> Any:
    return asyncio.run(graph.ainvoke({}, CONFIG)) if later else graph.invoke({}, CONFIG)


@pytest.mark.parametrize("latest", [False, True], ids=["before", "since"])
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_a_call_is_told_attribute_by_attribute(
    watch: Any, graphs: Any, api: Api, *, later: bool, latest: bool
) -> None:
    seen = watch(**(LATEST if latest else {}))
    with Answers(ANSWERS[api.name]) as service:
        run(one_node(graphs, asking(api, service.url, later=later)), later=later)
    told = seen()
    (call,) = told.of("chat")
    wrote = "cache_write" if latest else "cache_creation"
    openais = {"gen_ai.usage.reasoning.output_tokens": 5, "gen_ai.request.model": "gpt-fake"}
    own = {
        "openai": {
            **openais,
            "openai.api.type": "chat_completions",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.seed": 7,
            "gen_ai.request.stop_sequences": ("END",),
            "gen_ai.output.type": "json",
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.response.finish_reasons": ("tool_calls",),
        },
        "responses": {
            **openais,
            "openai.api.type": "responses",
            "gen_ai.response.id": "resp-1",
            "gen_ai.response.finish_reasons": ("completed",),
        },
        "anthropic": {
            "gen_ai.request.model": "claude-fake",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_k": 3,
            "gen_ai.request.stop_sequences": ("END",),
            "gen_ai.response.id": "msg-1",
            "gen_ai.response.finish_reasons": ("tool_use",),
            f"gen_ai.usage.{wrote}.input_tokens": 10,
        },
    }
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": api.provider,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.conversation.id": "thread-7",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.response.model": f"{'claude' if api.name == 'anthropic' else 'gpt'}-fake-2026",
        "server.address": "127.0.0.1",
        "server.port": int(service.url.rpartition(":")[2]),
        **own[api.name],
    }
    assert (call.kind.name, told.above(call)) == ("CLIENT", "invoke_node node")
    assert told.violations() == []


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_content_of_a_call(watch: Any, api: Api, *, later: bool) -> None:
    import engine

    seen = watch(**{CAPTURE: "SPAN_ONLY"})
    with Answers(ANSWERS[api.name]) as service:
        run(one_node(engine, asking(api, service.url, later=later)), later=later)
    (call,) = seen().of("chat")
    assert json.loads(call.attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Let me look."},
                {"type": "tool_call", "id": "call-1", "name": "search", "arguments": {"q": "rain"}},
            ],
            "finish_reason": "stop" if api.name == "responses" else "tool_call",
        }
    ]
    asked = json.loads(call.attributes["gen_ai.input.messages"])
    assert asked[-1] == {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}


def test_a_refusal_is_what_was_said(watch: Any) -> None:
    import engine

    seen, api = watch(**{CAPTURE: "SPAN_ONLY"}), Api("openai")
    with Answers(REFUSED) as service:
        run(one_node(engine, asking(api, service.url, later=False)), later=False)
    (call,) = seen().of("chat")
    (said,) = json.loads(call.attributes["gen_ai.output.messages"])
    assert said["parts"] == [{"type": "text", "content": "I will not."}]
    assert (said["finish_reason"], call.status.status_code.name) == ("content_filter", "UNSET")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_what_a_service_refuses_is_a_failed_call(
    watch: Any, graphs: Any, api: Api, *, later: bool, streamed: bool
) -> None:
    seen = watch()
    with Answers(FULL) as service, pytest.raises(Exception, match="429"):
        run(one_node(graphs, asking(api, service.url, later=later, asked={"stream": streamed})), later=later)
    told = seen()
    (call,) = told.of("chat")
    assert call.attributes["error.type"] == f"{api.provider}.RateLimitError"
    assert (call.status.status_code.name, call.end_time > call.start_time) == ("ERROR", True)
    durations = told.sums("gen_ai.client.operation.duration", "error.type")
    assert list(durations) == [(f"{api.provider}.RateLimitError",)]
    assert "canary" not in told.text()
    assert told.violations() == []


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_retries_of_the_client_are_one_call(watch: Any, api: Api, *, later: bool) -> None:
    import engine

    seen = watch()
    with Answers(FULL, FULL, ANSWERS[api.name]) as service:
        run(one_node(engine, asking(api, service.url, later=later, max_retries=3)), later=later)
    told = seen()
    (call,) = told.of("chat")
    assert (len(service.asked), call.status.status_code.name) == (3, "UNSET")
    assert told.sums("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 100, ("output",): 20}


def test_a_raw_response_is_told_and_handed_on(watch: Any) -> None:
    import engine

    seen, api = watch(), Api("openai")

    def node(state: Any) -> Any:
        with api.client(service.url, later=False) as client:
            raw = client.chat.completions.with_raw_response.create(**ASKED["openai"])
            return {"said": raw.parse().choices[0].message.content}

    with Answers(COMPLETION) as service:
        assert one_node(engine, node).invoke({}) == {"said": "Let me look."}
    (call,) = seen().of("chat")
    assert call.attributes["gen_ai.usage.output_tokens"] == 20


def test_an_answer_that_nobody_understands_reaches_the_node_all_the_same(
    watch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import engine

    seen, api = watch(), Api("openai")

    def node(state: Any) -> Any:
        with api.client(service.url, later=False) as client:
            return {"said": client.chat.completions.create(**ASKED["openai"]).model_extra}

    with Answers({"choices": 7, "usage": "none", "novel": "canary"}) as service:
        assert one_node(engine, node).invoke({})["said"]["novel"] == "canary"
    (call,) = seen().of("chat")
    assert call.end_time is not None
    assert "canary" not in caplog.text


def test_what_is_no_call_of_a_model_and_what_is_asked_outside_of_nodes_is_left_alone(watch: Any) -> None:
    import engine

    seen, api = watch(), Api("openai")

    def node(state: Any) -> Any:
        with api.client(service.url, later=False) as client:
            return {"said": client.moderations.create(input="?").id}

    with Answers({"id": "m", "model": "m", "results": []}) as service:
        assert one_node(engine, node).invoke({}) == {"said": "m"}
    with Answers(COMPLETION) as service, api.client(service.url, later=False) as client:
        assert api.ask(client).id == "chatcmpl-1"
    assert seen().of("chat") == []


@pytest.mark.parametrize("spans", ["auto", "on", "off"])
def test_a_client_that_traces_itself_is_left_to_and_still_measured(watch: Any, spans: str) -> None:
    import engine

    seen, api = watch(OTEL_STREAM_MODEL_SPANS=spans), Api("anthropic")
    with Answers(MESSAGE) as service:
        run(one_node(engine, asking(api, service.url, later=False, open_telemetry=None)), later=False)
    told = seen()
    scopes = sorted(call.instrumentation_scope.name for call in told.of("chat"))
    theirs = "com.anthropic.sdk.python"
    assert scopes == ([theirs, "otel_stream"] if spans == "on" else [theirs])
    assert told.sums("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 100, ("output",): 20}


@pytest.mark.parametrize("spans", ["auto", "on", "off"])
def test_a_client_that_logfire_has_marked_is_left_to_it(
    watch: Any, api: Api, monkeypatch: pytest.MonkeyPatch, spans: str
) -> None:
    import engine

    kind = anthropic.Anthropic if api.name == "anthropic" else openai.OpenAI
    monkeypatch.setattr(kind, "_is_instrumented_by_logfire", True, raising=False)
    seen = watch(OTEL_STREAM_MODEL_SPANS=spans)
    with Answers(ANSWERS[api.name]) as service:
        run(one_node(engine, asking(api, service.url, later=False)), later=False)
    told = seen()
    assert len(told.of("chat")) == (1 if spans == "on" else 0)
    assert told.sums("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 100, ("output",): 20}


def test_what_is_no_client_is_an_error_that_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"tell_calls: 7 is no client of openai; give the client itself"):
        of_openai.tell_calls(7)
