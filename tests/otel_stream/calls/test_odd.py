"""What services and programs say oddly: it is told as far as it goes, and breaks no node."""

import hashlib
from typing import Any

import pytest

import engine
from otel_stream.adapters import content
from tests.otel_stream.calls.conftest import CAPTURE, one_node
from tests.otel_stream.calls.test_clients import ANTHROPIC, OPENAI, Anthropic, OpenAI, ask_all, run

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
