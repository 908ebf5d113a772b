"""Chunks of other clients' messages: they add up, and to the same as LangChain's."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_stream import StreamPart
from otel_stream.adapters import client_streams
from otel_stream.adapters.chunks import MessageChunk, ToolCallChunk

texts = st.text(max_size=3)
calls = st.builds(
    ToolCallChunk, index=st.integers(0, 2), id=st.none() | st.just("i"), name=st.none(), args=texts
)
pieces = st.lists(
    st.builds(
        MessageChunk,
        id=st.just("1"),
        content=texts,
        reasoning=texts,
        refusal=texts,
        tool_calls=st.lists(calls, max_size=2, unique_by=lambda call: call.index).map(tuple),
    ),
    min_size=1,
    max_size=6,
)


@given(pieces)
def test_our_chunks_add_up_to_what_langchains_add_up_to(found: list[MessageChunk]) -> None:
    own, theirs = found[0], client_streams.as_part(found[0])
    for chunk in found[1:]:
        own, theirs = own + chunk, theirs + client_streams.as_part(chunk)
    assert own.content == theirs.content
    assert own.reasoning == theirs.additional_kwargs.get("reasoning_content", "")
    assert {c.index: c.args for c in own.tool_calls} == {
        c["index"]: c["args"] or "" for c in theirs.tool_call_chunks
    }


@given(pieces, st.data())
def test_it_does_not_matter_in_which_groups_chunks_are_joined(found: list[MessageChunk], data: Any) -> None:
    cut = data.draw(st.integers(0, len(found)))

    def total(some: list[MessageChunk]) -> MessageChunk:
        whole = MessageChunk(id="1", content="")
        for chunk in some:
            whole += chunk
        return whole

    assert total(found[:cut]) + total(found[cut:]) == total(found)


@given(pieces)
def test_a_chunk_can_be_written_as_json(found: list[MessageChunk]) -> None:
    for chunk in found:
        for shown in (chunk, client_streams.as_part(chunk)):
            written = json.loads(StreamPart("messages", (), (shown, {})).to_json())
            assert (written["data"][0]["id"], written["data"][0]["content"]) == ("1", chunk.content)
