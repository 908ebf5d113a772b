"""Streams of the real ``openai`` client, talking to a fake service, as messages."""

import copy
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypedDict

import openai
import pytest
from anyio import to_thread
from langchain_core.messages import AIMessage, AIMessageChunk

from engine import START, StateGraph
from otel_stream.adapters import client_streams
from otel_stream.adapters.chunks import MessageChunk
from otel_stream.adapters.openai import stream_messages
from otel_stream.config import ConfigError
from otel_stream.testing import Recording, arecord, expect


class State(TypedDict, total=False):
    events: list[Any]
    final: Any
    messages: list[Any]


QUESTION: Any = {"model": "toy", "messages": [{"role": "user", "content": "why?"}]}


def completion(**delta: Any) -> dict[str, Any]:
    finish, index = delta.pop("finish_reason", None), delta.pop("index", 0)
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "toy",
        "choices": [choice],
    }


USAGE = {
    "id": "c-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "toy",
    "choices": [],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
HELLO = [
    completion(role="assistant", content=""),
    completion(content="hel"),
    completion(content="lo"),
    completion(finish_reason="stop"),
    USAGE,
    "[DONE]",
]


def graph(node: Callable[..., Any]) -> Any:
    return StateGraph(State).add_node("ask", node).add_edge(START, "ask").compile()


def joined(recording: Recording) -> Any:
    """The chunks of messages mode, added up."""
    found: list[Any] = [chunk for chunk, _ in recording.data("messages")]
    total = found[0]
    for chunk in found[1:]:
        total = total + chunk
    return total


def client(service: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{service.url}/v1", max_retries=0)


def aclient(service: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="none", base_url=f"{service.url}/v1", max_retries=0)


async def run_sync(service: Any, use: Callable[[Any], Any]) -> Recording:
    def ask(state: State) -> Any:
        with client(service) as model:
            return use(stream_messages(model.chat.completions.create(**QUESTION, stream=True)))

    return await arecord(graph(ask), {})


async def test_a_sync_stream_is_passed_on_unchanged_and_shown_chunk_by_chunk(service: Any) -> None:
    service.events = HELLO
    with client(service) as model:
        own = [*model.chat.completions.create(**QUESTION, stream=True)]
    recording = await run_sync(service, lambda stream: {"events": [*stream]})
    assert recording.result["events"] == own
    recording.only("messages").expect(
        *[expect.message(text, "ask", id="c-1") for text in ("", "hel", "lo", "", "")]
    )
    whole = joined(recording)
    assert isinstance(whole, AIMessageChunk)
    assert (whole.content, whole.response_metadata) == ("hello", {"finish_reason": "stop"})
    assert whole.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


async def test_an_async_stream_is_passed_on_unchanged_and_shown_chunk_by_chunk(service: Any) -> None:
    service.events = HELLO

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            stream = stream_messages(await model.chat.completions.create(**QUESTION, stream=True))
            first = await anext(stream)
            return {"events": [first, *[chunk async for chunk in stream]]}

    recording = await arecord(graph(ask), {})
    with client(service) as model:
        assert recording.result["events"] == [*model.chat.completions.create(**QUESTION, stream=True)]
    assert recording.texts() == {"c-1": "hello"}
    [metadata] = {
        frozenset((k, v) for k, v in m.items() if "ls_" in k) for _, m in recording.data("messages")
    }
    assert metadata == {("ls_provider", "openai"), ("ls_model_type", "chat")}


async def test_several_answers_to_one_question_are_several_messages(service: Any) -> None:
    service.events = [completion(content="a"), completion(content="b", index=1), completion(content="c")]
    recording = await run_sync(service, lambda stream: {"events": [*stream]})
    assert recording.texts() == {"c-1": "ac", "c-1:1": "b"}


async def test_the_pieces_of_a_tool_call_add_up_to_it(service: Any) -> None:
    call = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "add", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": text}} for text in ('{"a": ', "1}")]
    service.events = [
        completion(tool_calls=[call]),
        *[completion(tool_calls=[piece]) for piece in pieces],
        completion(finish_reason="tool_calls"),
    ]
    whole = joined(await run_sync(service, lambda stream: {"events": [*stream]}))
    assert [(c["name"], c["args"], c["id"]) for c in whole.tool_calls] == [("add", {"a": 1}, "call-1")]


async def test_refusals_and_thoughts_are_kept_apart_from_the_text(service: Any) -> None:
    service.events = [
        completion(reasoning_content="hm"),
        completion(reasoning_content="m"),
        completion(refusal="no"),
    ]
    whole = joined(await run_sync(service, lambda stream: {"events": [*stream]}))
    assert (whole.content, whole.additional_kwargs) == ("", {"reasoning_content": "hmm", "refusal": "no"})


async def test_a_server_that_gives_no_id_gets_one_for_the_whole_stream(service: Any) -> None:
    service.events = [{**completion(content=text), "id": ""} for text in "ab"]
    recording = await run_sync(service, lambda stream: {"events": [*stream]})
    assert [*recording.texts().values()] == ["ab"]


async def test_a_message_that_was_streamed_is_not_shown_again_when_the_node_returns_it(service: Any) -> None:
    service.events = HELLO
    recording = await run_sync(
        service, lambda stream: {"events": [*stream], "messages": [AIMessage("hello", id="c-1")]}
    )
    assert recording.texts() == {"c-1": "hello"}


# -- the Responses API -------------------------------------------------------------------------------


def response(status: str, **more: Any) -> dict[str, Any]:
    given = {
        "id": "r-1",
        "object": "response",
        "created_at": 1,
        "model": "toy",
        "status": status,
        "output": [],
    }
    return {**given, "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, **more}


ANSWERED: list[Any] = [
    {"type": "response.created", "response": response("in_progress")},
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {"type": "message", "id": "m-1", "role": "assistant", "status": "in_progress", "content": []},
    },
    {
        "type": "response.content_part.added",
        "item_id": "m-1",
        "output_index": 0,
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    *[
        {
            "type": "response.output_text.delta",
            "item_id": "m-1",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
            "logprobs": [],
        }
        for text in ("hel", "lo")
    ],
    {
        "type": "response.output_item.added",
        "output_index": 1,
        "item": {"type": "function_call", "id": "f-1", "call_id": "call-1", "name": "add", "arguments": ""},
    },
    {
        "type": "response.function_call_arguments.delta",
        "item_id": "f-1",
        "output_index": 1,
        "delta": '{"a": 1}',
    },
    {
        "type": "response.completed",
        "response": response(
            "completed",
            usage={
                "input_tokens": 3,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 2,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 5,
            },
        ),
    },
]


def numbered(events: list[Any]) -> list[Any]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


async def test_a_stream_of_the_responses_api_is_one_message(service: Any) -> None:
    service.events = numbered(ANSWERED)

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            stream = await model.responses.create(model="toy", input="why?", stream=True)
            return {"events": [event.type async for event in stream_messages(stream)]}

    recording = await arecord(graph(ask), {})
    assert recording.result["events"] == [event["type"] for event in ANSWERED]
    whole = joined(recording)
    assert (whole.id, whole.content, whole.response_metadata) == (
        "r-1",
        "hello",
        {"finish_reason": "completed"},
    )
    assert [(c["name"], c["args"], c["id"]) for c in whole.tool_calls] == [("add", {"a": 1}, "call-1")]
    assert whole.usage_metadata["total_tokens"] == 5


# -- the client's own helpers ------------------------------------------------------------------------


async def test_the_helper_of_the_client_keeps_its_methods_and_is_shown_to_the_end(service: Any) -> None:
    service.events = HELLO

    def ask(state: State) -> Any:
        with client(service) as model, stream_messages(model.chat.completions.stream(**QUESTION)) as stream:
            return {"final": stream.get_final_completion().choices[0].message.content}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] == "hello"
    assert recording.texts() == {"c-1": "hello"}


async def test_the_asynchronous_helper_does_so_too(service: Any) -> None:
    service.events = HELLO

    async def ask(state: State) -> Any:
        async with (
            aclient(service) as model,
            stream_messages(model.chat.completions.stream(**QUESTION)) as stream,
        ):
            return {"final": (await stream.get_final_completion()).choices[0].message.content}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] == "hello"
    assert recording.texts() == {"c-1": "hello"}


# -- ends --------------------------------------------------------------------------------------------


async def test_leaving_a_sync_loop_early_closes_the_clients_stream(service: Any) -> None:
    service.events, service.endless = [completion(content="word ")], True

    def leave(stream: Any) -> Any:
        for _ in stream:
            break
        # Still inside the node, and with the client open.
        return {"final": service.hung_up.wait(20)}

    recording = await run_sync(service, leave)
    assert recording.result["final"] is True
    assert recording.texts() == {"c-1": "word "}


async def test_leaving_an_async_loop_early_closes_the_clients_stream(service: Any) -> None:
    service.events, service.endless = [completion(content="word ")], True

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            created = await model.chat.completions.create(**QUESTION, stream=True)
            async with stream_messages(created) as stream:
                first = await anext(stream)
            return {"final": service.hung_up.wait(20), "events": [first]}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] is True
    assert recording.texts() == {"c-1": "word "}


async def test_an_async_loop_left_without_a_context_manager_closes_it_too(service: Any) -> None:
    service.events, service.endless = [completion(content="word ")], True

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            async for _ in stream_messages(await model.chat.completions.create(**QUESTION, stream=True)):
                break
            return {"final": await to_thread.run_sync(service.hung_up.wait, 20)}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] is True
    assert recording.texts() == {"c-1": "word "}


def test_outside_of_a_node_a_stream_is_just_passed_on(service: Any) -> None:
    service.events = HELLO
    with client(service) as model:
        stream = stream_messages(model.chat.completions.create(**QUESTION, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "hello"


async def test_a_stream_that_outlives_its_node_is_no_longer_shown() -> None:
    kept: list[Any] = []

    def ask(state: State) -> Any:
        kept.append(stream_messages(iter(shown)))

    def later(state: State) -> Any:
        return {"events": [*kept[0]]}

    shown = [SimpleNamespace(id="c-1", choices=[SimpleNamespace(index=0, delta=None, finish_reason=None)])]
    chain = StateGraph(State).add_node("ask", ask).add_node("later", later)
    recording = await arecord(chain.add_edge(START, "ask").add_edge("ask", "later").compile(), {})
    assert recording.result["events"] == shown
    recording.expect_none(expect.message())


async def test_a_message_tagged_nostream_is_not_shown(service: Any) -> None:
    service.events = HELLO

    def ask(state: State) -> Any:
        with client(service) as model:
            created = model.chat.completions.create(**QUESTION, stream=True)
            return {"events": [*stream_messages(created, metadata={"tags": ["nostream"]})]}

    recording = await arecord(graph(ask), {}, "messages")
    recording.expect()
    assert len(recording.result["events"]) == 5


async def test_an_event_of_an_unknown_shape_is_passed_on_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    strange = [SimpleNamespace(choices=[object()], id="x"), SimpleNamespace(choices=[object()], id="x")]

    def ask(state: State) -> Any:
        return {"events": [*stream_messages(one for one in strange)]}

    with caplog.at_level(logging.ERROR):
        recording = await arecord(graph(ask), {}, "messages")
    assert recording.result["events"] == strange
    assert len([r for r in caplog.records if "no longer shown" in r.message]) == 1


async def test_the_example_of_the_page_answers_and_is_shown(service: Any) -> None:
    service.events = HELLO
    page = (Path(__file__).parents[3] / "docs" / "messages.md").read_text()
    [code] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    example: dict[str, Any] = {}
    exec(code, example)

    async def ask(state: State) -> Any:
        async with aclient(service) as model:
            return {"final": await example["answer"]({"messages": []}, model)}

    recording = await arecord(graph(ask), {})
    assert recording.result["final"] == {"answer": "hello"}
    assert recording.texts() == {"c-1": "hello"}


def test_a_wrapped_stream_can_be_copied_and_says_what_it_lacks() -> None:
    stream = stream_messages(iter([]))
    assert copy.copy(stream) is not stream
    with pytest.raises(AttributeError, match="text_stream"):
        stream.text_stream  # type: ignore[attr-defined] # noqa: B018


def test_what_is_no_stream_is_refused_with_the_remedy() -> None:
    async def not_awaited() -> None: ...

    coroutine = not_awaited()
    with pytest.raises(ConfigError, match=r"^stream_messages: <coroutine .*> is no stream; await it first$"):
        stream_messages(coroutine)
    coroutine.close()
    with pytest.raises(ConfigError, match=r"^stream_messages: 3 is no stream; give what the client"):
        stream_messages(3)


# -- without LangChain -------------------------------------------------------------------------------


async def test_without_langchain_chunks_are_our_own_and_add_up_alike(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_streams, "_parts", lambda: client_streams._OUR_OWN)
    service.events = HELLO
    whole = joined(await run_sync(service, lambda stream: {"events": [*stream]}))
    assert whole == MessageChunk(
        id="c-1",
        content="hello",
        finish_reason="stop",
        usage={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    )


class _Both:
    """A stream with both protocols, of which one works, as wrappers of other instrumentations have them."""

    def __init__(self, items: list[Any]) -> None:
        self._items = iter(items)
        self.closed = 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self._items)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed += 1


async def test_a_wrapper_of_both_kinds_is_iterated_either_way() -> None:
    with stream_messages(_Both([1, 2])) as stream:
        assert list(stream) == [1, 2]
    async with stream_messages(_Both([1, 2])) as other:
        assert [one async for one in other] == [1, 2]
    abandoned = _Both([1, 2])
    for _ in stream_messages(abandoned):
        break
    assert abandoned.closed
