"""A conversation is as large as a page can lay out; the newest of it stays."""

from types import SimpleNamespace
from typing import Any

from otel_stream.view.messages import conversation


def run(*messages: Any) -> Any:
    parts = [
        SimpleNamespace(type="messages", data=[one, {}], node="n", step=1, seq=n, span_id="s")
        for n, one in enumerate(messages)
    ]
    return SimpleNamespace(parts=parts, states=[])


def test_short_messages_are_whole_with_chunks_put_together() -> None:
    chunks = [{"type": "AIMessageChunk", "id": "1", "content": text} for text in ("one ", "two")]
    (told,) = conversation(run(*chunks))["messages"]
    assert (told["role"], told["text"], "size" in told) == ("ai", "one two", False)


def test_of_megabytes_the_newest_is_there_and_what_is_missing_is_said() -> None:
    many = [{"type": "ai", "id": str(n), "content": str(n % 10) * 90_000} for n in range(40)]
    told = conversation(run(*many, {"type": "human", "id": "last", "content": "and now?"}))["messages"]
    assert len(told) == 41
    assert sum(len(one["text"]) for one in told) <= 500_000
    assert [one.get("size", len(one["text"])) for one in told] == [*[90_000] * 40, 8]
    assert (told[-1]["text"], told[0]["text"]) == ("and now?", "")
    (one,) = conversation(run({"type": "ai", "id": "1", "content": "x" * 3_000_000}))["messages"]
    assert (len(one["text"]), one["size"]) == (100_000, 3_000_000)
