"""What services and programs say oddly: it is told as far as it goes, and breaks no node."""

import asyncio
import gc
import hashlib
import json
from typing import Any

import pytest

import engine
from otel_stream.adapters import anthropic as of_anthropic
from otel_stream.adapters import content
from otel_stream.adapters import openai as of_openai
from tests.otel_stream.calls.conftest import CAPTURE, one_node
from tests.otel_stream.calls.services import Answers
from tests.otel_stream.calls.test_clients import (
    ANTHROPIC,
    ANTHROPIC_ASKS,
    OPENAI,
    OPENAI_ASKS,
    Anthropic,
    OpenAI,
    api,
    ask_all,
    completion,
    run,
)
from tests.otel_stream.calls.test_requests import COMPLETION, Api

__all__ = ["api"]

DIGEST = f"urn:sha256:{hashlib.sha256(b'secret').hexdigest()}"
FILE = {"type": "uri", "modality": "document", "uri": DIGEST}


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (None, []),
        ("", []),
        ([], []),
        (b"secret", [FILE]),
        (memoryview(b"secret"), [FILE]),
        ([b"secret", "word"], [FILE, {"type": "text", "content": "word"}]),
        (7, [{"type": "unknown"}]),
        ([None], [{"type": "unknown"}]),
    ],
)
def test_content_of_any_kind_is_parts(given: Any, parts: Any) -> None:
    assert content.parts(given) == parts


def test_bytes_that_a_tool_returns_go_by_their_digest() -> None:
    assert content.by_reference({"type": "text", "text": "x"}) == {"type": "text", "text": "x"}
    assert content.by_reference([b"secret", bytearray(b"secret")]) == [FILE, FILE]


def odd_openai() -> list[Any]:
    """Usage in every chunk, and not always in numbers; choices without a place, or without anything said."""
    usage = {"prompt_tokens": "many", "completion_tokens": 2.5, "total_tokens": None}
    events = [{**one, "usage": usage} for one in OPENAI[:-2]]
    last = {"delta": None, "finish_reason": "stop"}
    odd = [{**OPENAI[0], "choices": [{**last, "index": place}]} for place in (None, 1)]
    return [*events, *odd, OPENAI[-2], "[DONE]"]


def odd_anthropic() -> list[Any]:
    """Counts that are none, deltas of a kind that nobody knows, and no reason to stop."""
    told = {**ANTHROPIC[0]["message"], "usage": {"input_tokens": "few", "output_tokens": None}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "novel_delta", "novel": 1}}
    end = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 20}}
    return [{"type": "message_start", "message": told}, *ANTHROPIC[1:4], delta, end, ANTHROPIC[-1]]


@pytest.mark.parametrize("shown", [False, True], ids=["quiet", "content"])
@pytest.mark.parametrize(
    ("api", "events", "counts"),
    [(OpenAI(), odd_openai(), (100, 20)), (Anthropic(), odd_anthropic(), (0, 20))],
    ids=["openai", "anthropic"],
)
def test_what_a_service_says_oddly_breaks_no_node(
    watch: Any, service: Any, api: Any, events: Any, counts: Any, caplog: Any, *, shown: bool
) -> None:
    seen = watch(**({CAPTURE: "SPAN_ONLY"} if shown else {}))
    service.events = events
    run(one_node(engine, ask_all(api, service.url)), later=False)
    told = seen()
    (call,) = told.of("chat")
    assert (call.status.status_code.name, call.end_time > call.start_time) == ("UNSET", True)
    usage = [call.attributes.get(f"gen_ai.usage.{kind}_tokens") for kind in ("input", "output")]
    assert usage == list(counts)
    assert [one.getMessage() for one in caplog.records if one.name.startswith("otel_stream")] == []
    assert told.violations() == []


#: A character in two halves, as JSON may have it, and as a service may cut it.
HALVES = "\ud83d", "\ude00"


def cut_openai() -> list[Any]:
    said = [completion({"content": half}) for half in HALVES]
    search = {"id": "call-1", "type": "function"}
    pieces = [
        {"index": 0, **search, "function": {"name": "search", "arguments": f'{{"q":"{HALVES[0]}'}},
        {"index": 0, "function": {"arguments": f'{HALVES[1]}"}}'}},
    ]
    return [OPENAI[0], *said, *(completion({"tool_calls": [one]}) for one in pieces), *OPENAI[-3:]]


def cut_anthropic() -> list[Any]:
    said = [{"type": "text_delta", "text": half} for half in HALVES]
    pieces = [f'{{"q":"{HALVES[0]}', f'{HALVES[1]}"}}']
    asked = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    places = dict(zip((2, 3, 6, 7), (*said, *asked), strict=True))
    return [{**one, "delta": places[n]} if n in places else one for n, one in enumerate(ANTHROPIC)]


@pytest.mark.parametrize(
    ("api", "events"),
    [(OpenAI(), cut_openai()), (Anthropic(), cut_anthropic())],
    ids=["openai", "anthropic"],
)
def test_what_is_cut_within_a_character_is_whole_again(
    watch: Any, graphs: Any, service: Any, api: Any, events: Any
) -> None:
    seen = watch(**{CAPTURE: "SPAN_AND_EVENT"})
    service.events = events
    run(one_node(graphs, ask_all(api, service.url)), later=False)
    told = seen()
    (call,) = told.of("chat")
    (message,) = json.loads(call.attributes["gen_ai.output.messages"])
    text, asked = message["parts"]
    assert (text["content"], asked["arguments"]) == ("\U0001f600", {"q": "\U0001f600"})
    assert told.violations() == []


@pytest.mark.parametrize("capture", ["NO_CONTENT", "SPAN_AND_EVENT"])
def test_an_image_however_big_is_its_digest(watch: Any, capture: str) -> None:
    seen, image = watch(**{CAPTURE: capture}), "QUJD" * 3_000_000
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    openai = Api("openai")

    def ask(state: Any) -> Any:
        with openai.client(answers.url, later=False) as client:
            openai.ask(client, messages=[{"role": "user", "content": [url, url]}])

    with Answers(COMPLETION) as answers:
        one_node(engine, ask).invoke({})
    told = seen()
    (call,) = told.of("chat")
    asked = call.attributes.get("gen_ai.input.messages", "")
    assert asked.count("urn:sha256:") == (2 if capture == "SPAN_AND_EVENT" else 0)
    assert len(told.text()) < 100_000


@pytest.mark.parametrize("later", [False, True], ids=["sync", "async"])
def test_a_stream_that_is_left_to_the_collector_is_over_with_its_node(
    watch: Any, graphs: Any, service: Any, api: Any, caplog: Any, *, later: bool
) -> None:
    seen = watch()

    def ask(state: Any) -> Any:
        with api.make(service.url) as client:
            around: list[Any] = [iter(api.open(client))]
            around.append(around)  # which only the collector finds
            next(around[0])
            del around
            gc.collect()

    async def ask_later(state: Any) -> Any:
        async with api.amake(service.url) as client:
            stream = await self_standing(api, client)
            around: list[Any] = [aiter(stream)]
            around.append(around)
            await anext(around[0])
            del around, stream
            gc.collect()
            await asyncio.sleep(0)  # the loop closes it

    run(one_node(graphs, ask_later if later else ask), later=later)
    told = seen()
    (call,), (node,) = told.of("chat"), told.of("invoke_node")
    assert call.end_time <= node.end_time
    assert (call.status.status_code.name, "error.type" in call.attributes) == ("UNSET", False)
    said = [one.getMessage() for one in caplog.records if one.name.startswith(("otel_stream", "asyncio"))]
    # A client's own generators lie within each other, and the collector has the loop close them in any order.
    assert [one for one in said if "generator is already running" not in one] == []
    assert told.violations() == []


async def self_standing(api: Any, client: Any) -> Any:
    """Return a stream that no context manager ends."""
    if isinstance(api, OpenAI):
        return of_openai.stream_messages(await client.chat.completions.create(**OPENAI_ASKS))
    return of_anthropic.stream_messages(await client.messages.create(**ANTHROPIC_ASKS, stream=True))
