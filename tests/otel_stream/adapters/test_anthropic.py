"""Streams of the real ``anthropic`` client, talking to a fake service, as messages."""

from collections.abc import Callable
from typing import Any, TypedDict

import anthropic
import pytest
from anyio import to_thread
from langchain_core.messages import AIMessageChunk

from engine import START, StateGraph
from otel_stream.adapters.anthropic import stream_messages
from otel_stream.testing import Recording, arecord, expect


class State(TypedDict, total=False):
    events: list[Any]
    final: Any


QUESTION: Any = {"model": "toy", "max_tokens": 9, "messages": [{"role": "user", "content": "why?"}]}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
        {"type": "content_block_stop", "index": index},
    ]


def started(**usage: int) -> dict[str, Any]:
    message = {"id": "m-1", "type": "message", "role": "assistant", "content": [], "model": "toy"}
    counted = {"input_tokens": 3, "output_tokens": 1, **usage}
    return {
        "type": "message_start",
        "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": counted},
    }


def ended(reason: str) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def text_of(*pieces: str, index: int = 0) -> list[dict[str, Any]]:
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


HELLO = [started(), {"type": "ping"}, *text_of("hel", "lo"), *ended("end_turn")]
TOOL = [
    started(cache_read_input_tokens=10),
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "s"},
    ),
    *text_of("let me add", index=1),
    *block(
        2,
        {"type": "tool_use", "id": "call-1", "name": "add", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"a":'},
        {"type": "input_json_delta", "partial_json": " 1}"},
    ),
    *ended("tool_use"),
]


def graph(node: Callable[..., Any]) -> Any:
    return StateGraph(State).add_node("ask", node).add_edge(START, "ask").compile()


def joined(recording: Recording) -> Any:
    found: list[Any] = [chunk for chunk, _ in recording.data("messages")]
    total = found[0]
    for chunk in found[1:]:
        total = total + chunk
    return total


def client(service: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="none", base_url=service.url, max_retries=0)


def aclient(service: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="none", base_url=service.url, max_retries=0)


async def test_a_sync_stream_of_events_is_passed_on_unchanged_and_shown(service: Any) -> None:
    service.events = HELLO

    def ask(state: State) -> Any:
        with client(service) as model:
            return {"events": [*stream_messages(model.messages.create(**QUESTION, stream=True))]}

    recording = await arecord(graph(ask), {})
    with client(service) as model:
        assert recording.result["events"] == [*model.messages.create(**QUESTION, stream=True)]
    recording.only("messages").expect(
        *[expect.message(text, "ask", id="m-1") for text in ("", "hel", "lo", "")]
    )
    whole = joined(recording)
    assert isinstance(whole, AIMessageChunk)
    assert (whole.content, whole.response_metadata) == ("hello", {"finish_reason": "end_turn"})
    assert whole.usage_metadata == {"input_tokens": 3, "output_tokens": 7, "total_tokens": 10}


async def test_an_async_stream_of_events_is_passed_on_unchanged_and_shown(service: Any) -> None:
    service.events = HELLO

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            stream = await model.messages.create(**QUESTION, stream=True)
            return {"events": [event.type async for event in stream_messages(stream)]}

    recording = await arecord(graph(ask), {})
    assert recording.result["events"] == [e["type"] for e in HELLO if e["type"] != "ping"]
    recording.expect_among(expect.joined_message("hello", "ask", id="m-1"))


async def test_thoughts_text_and_tool_calls_add_up_and_cached_tokens_count_as_read(service: Any) -> None:
    service.events = TOOL

    def ask(state: State) -> Any:
        with client(service) as model:
            return {"events": [*stream_messages(model.messages.create(**QUESTION, stream=True))]}

    whole = joined(await arecord(graph(ask), {}))
    assert (whole.content, whole.additional_kwargs) == ("let me add", {"reasoning_content": "hmm"})
    assert [(c["name"], c["args"], c["id"]) for c in whole.tool_calls] == [("add", {"a": 1}, "call-1")]
    assert whole.usage_metadata["input_tokens"] == 13


# -- the client's own helper -------------------------------------------------------------------------


def take_text(stream: Any) -> Any:
    return {"events": [*stream.text_stream]}


def take_message(stream: Any) -> Any:
    return {"final": stream.get_final_message().content[0].text}


def take_rest(stream: Any) -> Any:
    first = next(stream).type
    stream.until_done()
    return {"final": stream.get_final_text(), "events": [first]}


@pytest.mark.parametrize(
    ("use", "result"),
    [
        (take_text, {"events": ["hel", "lo"]}),
        (take_message, {"final": "hello"}),
        (take_rest, {"final": "hello", "events": ["message_start"]}),
    ],
)
async def test_the_helper_keeps_its_methods_and_is_shown_whichever_is_used(
    service: Any, use: Callable[[Any], Any], result: Any
) -> None:
    service.events = HELLO

    def ask(state: State) -> Any:
        with client(service) as model, stream_messages(model.messages.stream(**QUESTION)) as stream:
            return use(stream)

    recording = await arecord(graph(ask), {})
    assert recording.result == result
    assert recording.texts() == {"m-1": "hello"}


async def test_the_asynchronous_helper_keeps_its_methods_too(service: Any) -> None:
    service.events = HELLO

    async def ask(state: State) -> Any:
        async with aclient(service) as model, stream_messages(model.messages.stream(**QUESTION)) as stream:
            words = [text async for text in stream.text_stream]
            return {"events": words, "final": await stream.get_final_text()}

    recording = await arecord(graph(ask), {})
    assert recording.result == {"events": ["hel", "lo"], "final": "hello"}
    assert recording.texts() == {"m-1": "hello"}


async def test_an_error_of_the_service_comes_through_after_what_was_said(service: Any) -> None:
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    service.events = [started(), *text_of("hel")[:2], failed]

    def ask(state: State) -> Any:
        with client(service) as model:
            return {"events": [*stream_messages(model.messages.create(**QUESTION, stream=True))]}

    recording = await arecord(graph(ask), {}, "messages")
    recording.expect(expect.joined_message("hel", "ask"), expect.end("error", error=anthropic.APIStatusError))
    with pytest.raises(anthropic.APIStatusError, match="busy"):
        recording.result  # noqa: B018


async def test_leaving_the_loop_early_closes_the_clients_stream(service: Any) -> None:
    service.events, service.endless = [started(), *text_of("word ")[:2]], True

    def ask(state: State) -> Any:
        with client(service) as model:
            for event in stream_messages(model.messages.create(**QUESTION, stream=True)):
                if event.type == "content_block_delta":
                    break
            return {"final": service.hung_up.wait(20)}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] is True
    assert recording.texts() == {"m-1": "word "}


async def test_leaving_an_async_loop_early_closes_the_clients_stream(service: Any) -> None:
    service.events, service.endless = [started(), *text_of("word ")[:2]], True

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            async with stream_messages(model.messages.stream(**QUESTION)) as stream:
                async for _ in stream.text_stream:
                    break
            return {"final": await to_thread.run_sync(service.hung_up.wait, 20)}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] is True
    assert recording.texts() == {"m-1": "word "}
